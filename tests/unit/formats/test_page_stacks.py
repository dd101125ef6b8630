"""TIFF and GIF files of several pages as volumes: each page a slice, as it is stored."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from ray_audit.errors import LabelError, SampleError, SpecificationError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.stacks.volume_masks import VolumeMasks
from ray_audit.formats.volumes.alignment import turn_between
from ray_audit.formats.volumes.volume_files import open_volume
from tests.support.media import cut, dataset, listed
from tests.support.volumes import save_volume
from tests.unit.formats.test_volumes import read

SHAPE = (4, 6, 5)  # pages, rows, columns
GREY = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
LABELS = np.random.default_rng(1).integers(0, 3, SHAPE).astype(np.uint8)


def save_pages(path, pages, palette=False, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [Image.fromarray(page) for page in pages]
    for picture in pictures if palette else ():
        picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
    return path


def opened(path):
    return open_volume(str(path), None, UnitAccounting("test"))


def masks_of(path):
    with VolumeMasks(opened(path)) as masks:
        return np.stack([masks.mask(frame) for frame in masks.frames.tolist()])


def stacks(folder, values=GREY, suffix=".tif", volume=None):
    for name in ("a", "b"):
        save_pages(folder / f"raw/{name}-volume{suffix}", values)
        save_pages(folder / f"raw/{name}-labels.tif", LABELS, compression="tiff_lzw")
    masks = {"masks": f"{folder}/raw/{{1}}-labels.tif", "match": "(.*)-volume"}
    return dataset("images", folder / f"raw/*-volume{suffix}", masks, volume=volume or {})


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_each_page_is_a_slice_with_its_own_labels(tmp_path, dtype):
    values = GREY.astype(dtype) * (257 if dtype == np.uint16 else 1)
    found = read(stacks(tmp_path, values), tmp_path)
    assert list(found) == [f"{name}-volume.tif#{k}" for name in "ab" for k in range(4)]
    for name, (pixels, mask) in found.items():
        index = int(name.rpartition("#")[2])
        assert pixels.dtype == dtype
        assert np.array_equal(pixels[:, :, 0], values[index])
        assert np.array_equal(mask, LABELS[index])


def test_frames_of_a_gif_are_slices_in_grey(tmp_path):
    found = read(stacks(tmp_path, GREY, ".gif"), tmp_path)
    assert len(found) == 8
    for name, (pixels, mask) in found.items():
        index = int(name.rpartition("#")[2])
        assert np.array_equal(pixels[:, :, 0], GREY[index])
        assert np.array_equal(mask, LABELS[index])


def test_labels_of_a_stack_that_breaks_off_are_all_lost(tmp_path):
    config = stacks(tmp_path, suffix=".gif")
    save_pages(tmp_path / "raw/a-volume.gif", GREY[:2])
    (failed,) = cut(config, tmp_path).failures
    assert (failed.shard, failed.num_samples) == ("a-volume.gif", len(LABELS))


def test_without_the_key_volume_a_file_is_one_image(tmp_path):
    config = stacks(tmp_path).model_copy(update={"volume": None})
    assert list(read(config, tmp_path)) == ["a-volume.tif", "b-volume.tif"]


def test_a_window_is_asked_for_where_values_are_no_bytes(tmp_path):
    config = stacks(tmp_path, GREY.astype(np.int32) - 100, volume={"window": [-100, 155]})
    for name, (pixels, _) in read(config, tmp_path).items():
        index = int(name.rpartition("#")[2])
        expected = np.rint(GREY[index].astype(float) / 255 * 65535)
        assert np.array_equal(pixels[:, :, 0], expected)


@pytest.mark.parametrize(
    ("values", "palette"),
    [(LABELS, True), (LABELS, False), (LABELS > 0, False), (LABELS.astype(np.uint16) * 999, False)],
)
def test_labels_of_every_mode_come_back_and_only_what_changes_is_changed(tmp_path, values, palette):
    path = save_pages(tmp_path / "m/v.tif", values, palette, compression="tiff_adobe_deflate")
    assert np.array_equal(masks_of(path), values)
    new = np.flip(values[2], 0).astype(np.int32)
    with VolumeMasks(opened(path)) as masks:
        to = str(tmp_path / "to")
        masks.write(lambda k: new if k == 2 else None, to, f"{path.parent}/{{stem}}.tif")
    expected = values.astype(np.int32)
    expected[2] = new
    assert np.array_equal(masks_of(tmp_path / "to/v.tif"), expected)
    with Image.open(path) as old, Image.open(tmp_path / "to/v.tif") as written:
        assert (written.mode, written.n_frames) == (old.mode, 4)
        assert written.getpalette() == old.getpalette()


def test_labels_in_gif_are_not_written_back(tmp_path):
    path = save_pages(tmp_path / "v.gif", GREY)
    with pytest.raises(LabelError, match="use TIFF"):
        opened(path).write(GREY, str(tmp_path / "x.gif"))
    config = dataset("images", path, {"masks": f"{tmp_path}/{{stem}}.gif"}, volume={})
    with pytest.raises(SpecificationError, match="a template of label volumes"):
        listed(config, tmp_path)


def image_j(path, text, pages=GREY):
    return save_pages(path, pages, tiffinfo={270: f"ImageJ=1.54f\n{text}\n"})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: save_pages(p, [GREY[0], GREY[1][:3]]), "page 1 has .3, 5. pixels, page 0"),
        (lambda p: save_pages(p, [GREY[0], GREY[1].astype(np.uint16)]), "page 1 holds uint16"),
        (lambda p: save_pages(p, np.stack([GREY] * 3, -1)), "mode RGB; expected grey pages"),
        (lambda p: save_pages(p, GREY, tiffinfo={274: 6}), "turned by its Orientation"),
        (lambda p: save_pages(p, GREY, tiffinfo={254: 1}), "smaller copy"),
        (lambda p: image_j(p, "images=4\nchannels=2\nslices=2"), "each channel and each time"),
        (lambda p: image_j(p, "images=900\nslices=900"), "has 4 page.s., and ImageJ says images 9"),
    ],
)
def test_what_is_no_stack_of_one_kind_of_page_is_refused(tmp_path, make, said):
    with pytest.raises(SampleError, match=said):
        opened(make(tmp_path / "v.tif")).stored()


def test_a_frame_that_claims_a_huge_canvas_is_damage_of_its_file(tmp_path):
    path = save_pages(tmp_path / "v.gif", GREY)
    content = path.read_bytes()
    at = content.rindex(b",\0\0\0\0" + bytes([5, 0, 6, 0]))  # where the last frame lies
    path.write_bytes(content[: at + 1] + b"\0\xff\0\xff" + content[at + 5 :])
    with pytest.raises(SampleError, match=r"page . cannot be read"):
        opened(path).stored()


def test_a_stack_of_imagej_is_read(tmp_path):
    path = image_j(tmp_path / "v.tif", "images=4\nslices=4\nloop=false")
    assert np.array_equal(opened(path).stored(), GREY)


def test_palette_pages_are_labels_and_no_picture(tmp_path):
    config = stacks(tmp_path)
    save_pages(tmp_path / "raw/a-volume.tif", LABELS, palette=True)
    save_pages(tmp_path / "raw/b-volume.tif", LABELS, palette=True)
    failures = cut(config, tmp_path).failures
    assert [failure.num_samples for failure in failures] == [4, 4]
    assert "palette indices, which are no grey values" in failures[0].message


def test_a_cube_of_another_container_is_not_paired_by_its_sizes_alone(tmp_path):
    cube = np.random.default_rng(0).integers(0, 3, (5, 5, 5)).astype(np.uint8)
    image = opened(save_volume(tmp_path / "v.nii", cube))
    with pytest.raises(SampleError, match=r"slices along axis 2.*v\.tif \(pages\) along axis 0"):
        turn_between(image, opened(save_volume(tmp_path / "v.tif", cube)))
    as_it_lies = turn_between(image, opened(save_volume(tmp_path / "v.npy", cube)))
    assert np.array_equal(as_it_lies(cube), cube)


def test_masks_of_frames_may_be_pages(tmp_path):
    path = save_pages(tmp_path / "m/v.tif", LABELS)
    config = dataset("video", tmp_path / "*.mp4", {"masks": f"{path.parent}/{{stem}}.tif"})
    assert config.labels.masks.endswith(".tif")
    assert np.array_equal(masks_of(path), LABELS)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_keep_their_own_tags_when_labels_change(tmp_path, compression):
    path = tmp_path / "m/v.tif"
    path.parent.mkdir()
    with tifffile.TiffWriter(path) as file:
        for index, page in enumerate(LABELS):
            extra = [(65000, "s", 0, f"page {index}", True), (65001, "H", 2, (index, 9), True)]
            words = {"description": f"d{index}", "metadata": None, "extratags": extra}
            file.write(page, contiguous=False, compression=compression, **words)
    new = np.flip(LABELS[2], 0)
    with VolumeMasks(opened(path)) as masks:
        masks.write(
            lambda k: new if k == 2 else None, str(tmp_path / "to"), f"{path.parent}/{{stem}}.tif"
        )
    with tifffile.TiffFile(path) as old, tifffile.TiffFile(tmp_path / "to/v.tif") as written:
        for index, (before, after) in enumerate(zip(old.pages, written.pages, strict=True)):
            assert np.array_equal(after.asarray(), new if index == 2 else LABELS[index])
            for tag in (254, 259, 270, 305, 65000, 65001):
                values = [p.tags[tag].value if tag in p.tags else None for p in (before, after)]
                assert values[0] == values[1], tag
