"""Masks in files of arrays: written back in their type, order and shape, or refused before."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from ray_audit.corrections.write_labels import check_masks, check_writable, write_labels
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.array_masks import encode_array_mask
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.sample_ids import Owner
from tests.support import label_sets
from tests.support.corrected import corrected, rows_at
from tests.support.label_sets import listed
from tests.support.masked_videos import masked_videos
from tests.support.media import write_tar
from tests.support.published.built import labels_of
from tests.support.small_sets import picture

SHAPE = (8, 9)
MASKS = np.random.default_rng(0).integers(0, 3, (3, *SHAPE)).astype(np.uint8)
DEPTH = np.full(SHAPE, 0.5, np.float32)
TYPES = [np.uint8, np.dtype(">i2"), np.int64, np.float32]


def saved(folder, save, ending):
    for at, mask in enumerate(MASKS):
        picture(folder / f"images/i{at}.png", at, size=SHAPE[::-1])
        save(folder / f"i{at}.{ending}", mask)
    labels = {"masks": str(folder / f"{{stem}}.{ending}")}
    if ending == "npz":
        labels["variable"] = "mask"
    return label_sets.dataset("images", folder / "images/*.png", labels)


def npz(path, mask):
    np.savez_compressed(path, depth=DEPTH, mask=mask)


def changed(config, to):
    """The second mask with its rows turned round."""
    listing, _ = listed(config)
    check_writable(config, listing, str(to))
    check_masks(config, listing.shards)
    owner = Owner("i1.png")
    changes = LabelChanges(mask=lambda asked: MASKS[1][::-1] if asked == owner else None)
    written = write_labels(config, listing, changes, str(to))
    expected = [MASKS[0], MASKS[1][::-1], MASKS[2]]
    found = labels_of(written.dataset)
    assert [found[f"i{at}.png"].tolist() for at in range(3)] == [m.tolist() for m in expected]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_new_mask_in_an_npy_file_keeps_type_and_order(tmp_path, dtype, order):
    config = saved(tmp_path, lambda path, mask: np.save(path, mask.astype(dtype, order)), "npy")
    changed(config, tmp_path / "to")
    old, new = np.load(tmp_path / "i1.npy"), np.load(tmp_path / "to/labels/i1.npy")
    assert (new.dtype, new.shape) == (old.dtype, old.shape)
    assert new.flags.f_contiguous == old.flags.f_contiguous == (order == "F")
    for name in ("i0.npy", "i2.npy"):
        assert (tmp_path / "to/labels" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_other_arrays_of_an_npz_stay_as_they_were(tmp_path):
    changed(saved(tmp_path, npz, "npz"), tmp_path / "to")
    with (
        zipfile.ZipFile(tmp_path / "i1.npz") as old,
        zipfile.ZipFile(tmp_path / "to/labels/i1.npz") as new,
    ):
        assert new.namelist() == old.namelist() == ["depth.npy", "mask.npy"]
        assert new.read("depth.npy") == old.read("depth.npy")
        assert new.read("mask.npy") != old.read("mask.npy")
        kinds = [[info.compress_type for info in file.infolist()] for file in (old, new)]
        assert kinds[0] == kinds[1]


def test_truth_values_stay_truth_values():
    sink = io.BytesIO()
    np.save(sink, MASKS[0] > 0)
    new = np.load(io.BytesIO(encode_array_mask(sink.getvalue(), MASKS[1] > 0, None)))
    assert new.dtype == np.bool_
    assert np.array_equal(new, MASKS[1] > 0)


@pytest.mark.parametrize(
    ("mask", "said"),
    [(np.full(SHAPE, 300), "300 does not fit an array of type uint8"), (MASKS[0].T, r"\(9, 8\)")],
)
def test_a_mask_that_does_not_fit_the_array_is_refused(mask, said):
    sink = io.BytesIO()
    np.save(sink, MASKS[0])
    with pytest.raises(LabelError, match=said):
        encode_array_mask(sink.getvalue(), mask, None)


def test_an_npz_with_a_damaged_array_beside_its_mask_is_refused_before_any_is_written(tmp_path):
    def stored(path, mask):
        np.savez(path, depth=DEPTH, mask=mask)
        content = path.read_bytes()
        path.write_bytes(content.replace(DEPTH.tobytes(), (DEPTH + 1).tobytes()))

    config = saved(tmp_path, stored, "npz")
    listing, _ = listed(config)
    check_masks(config, [])
    with pytest.raises(SpecificationError, match=r"i0\.npz: depth\.npy beside the mask is damaged"):
        check_masks(config, listing.shards)


def test_masks_of_matlab_within_a_tar_are_refused_before_any_is_written(tmp_path):
    from scipy.io import savemat

    members, sink = [], io.BytesIO()
    savemat(sink, {"mask": MASKS[0]})
    for key in ("a", "b"):
        members += [(f"{key}.jpg", b"image"), (f"{key}.mat", sink.getvalue())]
    write_tar(tmp_path / "t.tar", members)
    config = label_sets.dataset("images", tmp_path / "t.tar", {"masks": "{key}.mat"})
    with pytest.raises(SpecificationError, match=r"t\.tar#a: masks in MATLAB and HDF5 files"):
        check_masks(config, listed(config)[0].shards)


def test_arrays_can_be_the_masks_of_the_frames_of_a_video(tmp_path):
    small = masked_videos(tmp_path, wrong=((1,), ()))
    for path in (tmp_path / "data/masks").rglob("*.png"):
        np.save(path.with_suffix(".npy"), np.asarray(Image.open(path)))
        path.unlink()
    small.values["dataset"]["labels"]["masks"] = str(tmp_path / "data/masks/{stem}/*.npy")
    done = corrected(small)
    assert {row["sample_id"] for row in rows_at(done) if row["outcome"] == "changed"} == {
        "v0.mkv#1"
    }
    pairs = [
        (np.load(path), np.load(next((tmp_path / "to").rglob(f"{path.parent.name}/{path.name}"))))
        for path in sorted((tmp_path / "data/masks").rglob("*.npy"))
    ]
    assert [at for at, (old, new) in enumerate(pairs) if not np.array_equal(old, new)] == [1]
