"""Medical volumes: slices with every label of a label volume, whatever its header says."""

import builtins
import gzip
import re

import nibabel as nib
import numpy as np
import pytest

from ray_audit.config import DatasetConfig
from ray_audit.errors import SpecificationError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.job import UnitContext
from ray_audit.formats.reading import unit_items
from ray_audit.formats.registry import format_of
from ray_audit.sources import group_units
from tests.support.media import cut, dataset, listed, noise, png
from tests.unit.test_hostile_files import little_memory

__all__ = ["little_memory"]
SHAPE = (5, 4, 3)
HU = np.random.default_rng(0).integers(-1024, 1500, SHAPE).astype(np.int16)
LABELS = np.random.default_rng(1).integers(0, 3, SHAPE).astype(np.uint8)
SPACING = np.diag([0.5, 0.75, 2.0, 1.0])
VOLUME = {"window": [-160, 240]}


def save(path, values, slope=None, inter=0.0, affine=SPACING, kind=nib.Nifti1Image):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = kind(values, affine)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    return path


def volumes(folder, labels=LABELS, values=HU, suffix=".nii.gz", volume=VOLUME, **more):
    for part in ("a", "b"):
        save(folder / f"images/{part}{suffix}", values)
        save(folder / f"labels/{part}{suffix}", labels)
    masks = {"masks": str(folder / f"labels/{{stem}}{suffix}")}
    return dataset("images", folder / f"images/*{suffix}", masks, volume=volume, **more)


def read(config, folder):
    """Image and mask of each slice, by its name."""
    job = UnitContext(config, None, str(folder / "index"), UnitAccounting("u"))
    units = group_units(listed(config, folder).shards, "salt")
    found = {}
    for item in (item for unit in units for item in unit_items(unit, job)):
        assert item.error is None, item.error
        found[item.sample_id] = item.image, item.mask
    return found


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_each_slice_is_a_sample_with_its_own_labels_and_windowed_values(tmp_path, axis, suffix):
    config = volumes(tmp_path, suffix=suffix, volume={"axis": axis, **VOLUME})
    found = read(config, tmp_path)
    assert list(found) == [f"{p}{suffix}#{k}" for p in "ab" for k in range(SHAPE[axis])]
    expected = np.rint(np.clip((HU.astype(np.float64) + 160) / 400, 0, 1) * 65535)
    for name, (pixels, mask) in found.items():
        index = int(name.rpartition("#")[2])
        assert pixels.dtype == np.uint16
        assert np.array_equal(pixels[:, :, 0], np.take(expected, index, axis))
        assert np.array_equal(mask, np.take(LABELS, index, axis))


@pytest.mark.parametrize("num_classes", [2, 3, 7, 50, 117, 200, 255])
@pytest.mark.parametrize("kind", ["stored", "scaled", "float"])
def test_no_label_of_a_scaled_label_volume_is_lost(tmp_path, num_classes, kind):
    values = np.arange(num_classes).reshape(1, num_classes, 1).astype(np.uint8)
    classes = [f"k{i}" for i in range(num_classes)]
    config = volumes(tmp_path, values, values.astype(np.uint8), volume=None).model_dump()
    for part in ("a", "b"):
        path = tmp_path / f"labels/{part}.nii.gz"
        if kind == "float":
            save(path, values.astype(np.float32))
        elif kind == "scaled":
            # As nibabel writes floats: over the whole range of 16 bits.
            image = nib.Nifti1Image(values.astype(np.float64), SPACING)
            image.set_data_dtype(np.int16)
            nib.save(image, path)
            assert nib.load(path).header.get_slope_inter() != (1.0, 0.0)
    found = read(DatasetConfig.model_validate(config | {"classes": classes}), tmp_path)
    for _, mask in found.values():
        assert mask.ravel().tolist() == list(range(num_classes))


def test_values_are_scaled_by_the_header_before_the_window(tmp_path):
    config = volumes(tmp_path)
    stored = np.arange(60, dtype=np.int16).reshape(SHAPE)
    for part in ("a", "b"):
        save(tmp_path / f"images/{part}.nii.gz", stored, slope=10.0, inter=-200.0)
    pixels = np.stack([value[0][:, :, 0] for value in list(read(config, tmp_path).values())[:3]], 2)
    assert np.array_equal(pixels, np.rint(np.clip((stored * 10.0 - 40) / 400, 0, 1) * 65535))


def test_unsigned_bytes_need_no_window_and_other_values_ask_for_one(tmp_path):
    grey = (HU & 255).astype(np.uint8)
    found = read(volumes(tmp_path / "grey", values=grey, volume=None), tmp_path / "grey")
    assert np.array_equal(found["a.nii.gz#1"][0][:, :, 0], grey[:, :, 1])
    result = cut(volumes(tmp_path / "ct", volume=None), tmp_path / "ct")
    assert {failure.error_class for failure in result.failures} == {"image_format"}
    assert all("dataset.volume.window" in failure.message for failure in result.failures)
    assert sum(failure.num_samples for failure in result.failures) == 6


def test_a_channel_of_four_axes_is_chosen_and_never_guessed(tmp_path):
    both = np.stack([HU, HU[::-1]], axis=3)
    config = volumes(tmp_path, values=both, volume={"channel": 1, **VOLUME})
    expected = np.rint(np.clip((HU[::-1, :, 2].astype(float) + 160) / 400, 0, 1) * 65535)
    assert np.array_equal(read(config, tmp_path)["b.nii.gz#2"][0][:, :, 0], expected)
    for volume, said in ((VOLUME, "dataset.volume.channel"), ({"channel": 2}, "2 channel")):
        actual = cut(volumes(tmp_path, values=both, volume=volume), tmp_path)
        assert [(failure.num_samples, said in failure.message) for failure in actual.failures] == [
            (3, True)
        ] * 2


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 1, 1)])
def test_axes_of_one_may_be_left_out_or_added(tmp_path, shape):
    flat = LABELS[:, :, :1]
    config = volumes(tmp_path, flat.reshape(shape), HU[:, :, :1])
    assert np.array_equal(read(config, tmp_path)["a.nii.gz#0"][1], flat[:, :, 0])


def test_nifti_2_and_the_other_byte_order_read_alike(tmp_path):
    config = volumes(tmp_path, suffix=".nii")
    save(tmp_path / "labels/a.nii", LABELS, kind=nib.Nifti2Image)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(HU, SPACING, header), tmp_path / "images/b.nii")
    assert (tmp_path / "images/b.nii").read_bytes()[:4] == (348).to_bytes(4, "big")
    found = read(config, tmp_path)
    for index in range(3):
        first, second = found[f"a.nii#{index}"], found[f"b.nii#{index}"]
        assert np.array_equal(first[0], second[0])
        assert np.array_equal(first[1], second[1])


def test_labels_of_a_fixed_name_in_the_folder_of_their_image(tmp_path):
    for patient in ("Patient_01", "Patient_02"):
        save(tmp_path / f"train/{patient}/{patient}.nii.gz", HU)
        save(tmp_path / f"train/{patient}/GT.nii.gz", LABELS)
    config = dataset(
        "images",
        tmp_path / "train/*/Patient_*.nii.gz",
        {"masks": str(tmp_path / "train/{folder}/GT.nii.gz")},
        volume=VOLUME,
    )
    found = read(config, tmp_path)
    assert len(found) == 6
    for name, (_, mask) in found.items():
        assert np.array_equal(mask, LABELS[:, :, int(name[-1])])


def test_labels_beside_their_image_by_its_name(tmp_path):
    name = "patient0001/patient0001_2CH_ED"
    save(tmp_path / f"db/{name}.nii.gz", (HU & 255).astype(np.uint8))
    save(tmp_path / f"db/{name}_gt.nii.gz", LABELS)
    config = dataset(
        "images", tmp_path / "db/*/*_ED.nii.gz", {"masks": str(tmp_path / "db/{path}_gt.nii.gz")}
    )
    assert np.array_equal(read(config, tmp_path)[f"{name}.nii.gz#2"][1], LABELS[:, :, 2])


@pytest.mark.parametrize("part", ["images", "labels"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_damaged_volume_is_a_row_of_errors_and_no_other_is_lost(tmp_path, part, kept, suffix):
    config = volumes(tmp_path, suffix=suffix)
    path = tmp_path / f"{part}/b{suffix}"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    result = cut(config, tmp_path)
    assert {row["sample_id"] for row in result.rows} == {f"a{suffix}#{k}" for k in range(3)}
    (failure,) = result.failures
    assert failure.shard == f"b{suffix}"
    assert failure.num_samples in (1, 3)
    if part == "images":  # the labels say how many there are
        assert failure.num_samples == 3


def test_a_flipped_byte_is_found_by_the_checksum(tmp_path):
    config = volumes(tmp_path)
    path = tmp_path / "labels/a.nii.gz"
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # of the checksum itself
    path.write_bytes(content)
    result = cut(config, tmp_path)
    assert [failure.shard for failure in result.failures] == ["a.nii.gz"]


def header_bytes(shape, dtype=np.uint8):
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(4)


@pytest.mark.parametrize("part", ["images", "labels"])
def test_sizes_are_bounded_by_the_header_before_anything_is_inflated(tmp_path, part, request):
    config = volumes(tmp_path)
    claim = header_bytes((2000, 2000, 2000))
    (tmp_path / f"{part}/b.nii.gz").write_bytes(gzip.compress(claim + bytes(2**20)))
    request.getfixturevalue("little_memory")
    result = cut(config, tmp_path)
    assert [(failure.shard, failure.error_class) for failure in result.failures] == [
        ("b.nii.gz", "too_large")
    ]
    assert len(result.rows) == 3


def test_slices_above_max_px_are_refused(tmp_path):
    result = cut(volumes(tmp_path, max_px=19), tmp_path)
    assert [failure.error_class for failure in result.failures] == ["too_large"] * 2


@pytest.mark.parametrize(
    ("labels", "affine", "said"),
    [
        (LABELS[:, :, :2], SPACING, "expected the same"),
        (LABELS, np.diag([-0.5, 0.75, 2.0, 1.0]), "another affine"),
        (LABELS + 0.4, SPACING, "no whole number"),
    ],
)
def test_labels_that_are_not_those_of_the_image_are_failures(tmp_path, labels, affine, said):
    config = volumes(tmp_path)
    save(tmp_path / "labels/b.nii.gz", labels, affine=affine)
    result = cut(config, tmp_path)
    assert sum(failure.num_samples for failure in result.failures) == 3
    assert all(
        failure.shard == "b.nii.gz" and said in failure.message for failure in result.failures
    )
    assert len(result.rows) == 3


def test_a_label_outside_the_classes_fails_its_slice_alone(tmp_path):
    odd = LABELS.copy()
    odd[0, 0, 1] = 9
    result = cut(volumes(tmp_path, odd), tmp_path)
    assert {failure.sample_id for failure in result.failures} == {"a.nii.gz#1", "b.nii.gz#1"}
    assert {failure.error_class for failure in result.failures} == {"label_outside"}


def test_slices_of_a_volume_without_labels_are_filtered(tmp_path):
    config = volumes(tmp_path)
    (tmp_path / "labels/b.nii.gz").unlink()
    result = cut(config, tmp_path)
    assert result.filtered == {f"b.nii.gz#{k}": "unlabelled" for k in range(3)}
    assert len(result.rows) == 3


def test_a_table_of_labels_does_not_go_with_volumes(tmp_path):
    volumes(tmp_path)
    (tmp_path / "t.csv").write_text("image,label\na,0\n")
    config = dataset("images", tmp_path / "images/*.nii.gz", {"images": str(tmp_path / "t.csv")})
    with pytest.raises(SpecificationError, match=r"labels\.images does not go with a\.nii\.gz"):
        listed(config, tmp_path)


def test_the_key_volume_is_refused_where_there_are_none(tmp_path):
    (tmp_path / "x.png").write_bytes(png(noise(4, 5)))
    config = dataset(
        "images", tmp_path / "*.png", {"masks": str(tmp_path / "{stem}_m.png")}, volume=VOLUME
    )
    with pytest.raises(SpecificationError, match=r"dataset\.volume goes with volumes"):
        listed(config, tmp_path)
    with pytest.raises(ValueError, match="low < high"):
        volumes(tmp_path, volume={"window": [240, -160]})
    with pytest.raises(ValueError, match="volume goes with kind images"):
        dataset("video", "x.mp4", {"frames": "t.csv"}, volume=VOLUME)


def test_without_nibabel_an_error_says_what_to_install(tmp_path, monkeypatch):
    config = volumes(tmp_path)
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name == "nibabel":
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    said = re.escape("pip install 'ray-audit[medical]'")
    with pytest.raises(SpecificationError, match=said):
        listed(config, tmp_path)
    assert format_of("x.nii").name == "NIfTI"  # the rest goes on without it
