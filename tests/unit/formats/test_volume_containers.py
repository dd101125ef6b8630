"""Containers of volumes: read as their own tools do, and written back with all that they held."""

import base64
import gzip
import zlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ray_audit.errors import LabelError, SampleError, StorageError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.stacks.volume_masks import VolumeMasks
from ray_audit.formats.volumes.alignment import turn_between
from ray_audit.formats.volumes.volume_files import open_volume
from tests.support.media import dataset, listed
from tests.support.volumes import inflated, save_volume

# Written by SimpleITK 2.5.7 from arange(24) % 5 as (2, 3, 4) uint8, spacing 0.5, 0.75, 2, origin
# 10, -20, 30, direction (0, -1, 0, 1, 0, 0, 0, 0, 1): compressed MetaImage, and NIfTI.
BY_ITK = base64.b64decode(
    "T2JqZWN0VHlwZSA9IEltYWdlCk5EaW1zID0gMwpCaW5hcnlEYXRhID0gVHJ1ZQpCaW5hcnlEYXRhQnl0ZU9yZGVyTVNC"
    "ID0gRmFsc2UKQ29tcHJlc3NlZERhdGEgPSBUcnVlCkNvbXByZXNzZWREYXRhU2l6ZSA9IDE1ClRyYW5zZm9ybU1hdHJp"
    "eCA9IDAgMSAwIC0xIDAgMCAwIDAgMQpPZmZzZXQgPSAxMCAtMjAgMzAKQ2VudGVyT2ZSb3RhdGlvbiA9IDAgMCAwCkFu"
    "YXRvbWljYWxPcmllbnRhdGlvbiA9IEFMSQpFbGVtZW50U3BhY2luZyA9IDAuNSAwLjc1IDIKRGltU2l6ZSA9IDQgMyAy"
    "CkVsZW1lbnRUeXBlID0gTUVUX1VDSEFSCkVsZW1lbnREYXRhRmlsZSA9IExPQ0FMCnheY2BkYmZhwCQAAj4ALw=="
)
OF_ITK = (np.arange(24) % 5).reshape(2, 3, 4)
NIFTI_AFFINE_OF_ITK = [[0, 0.75, 0, -10], [-0.5, 0, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]]
LABELS = np.random.default_rng(0).integers(0, 3, (3, 5, 4)).astype(np.uint8)
NAMES = ("v.nii", "v.nii.gz", "v.mha", "packed.mha", "v.mhd", "packed.mhd", "v.npy", "v.npz")
NAMES += ("v.nrrd", "packed.nrrd", "v.nhdr", "v.tif", "packed.tif")
XYZ = (".nii", ".nii.gz", ".nrrd", ".nhdr")


def opened(path):
    return open_volume(str(path), None, UnitAccounting("test"))


def rewritten(path, change=None, template="{stem}"):
    """The file after `change` gave new masks."""
    target = path.parent / "copy"
    with VolumeMasks(opened(path)) as masks:
        masks.write(change or (lambda frame: None), str(target), f"{path.parent}/{template}")
    return target / path.name


def test_a_metaimage_of_simpleitk_has_its_values_and_its_place(tmp_path):
    path = tmp_path / "x.mha"
    path.write_bytes(BY_ITK)
    volume = opened(path)
    np.testing.assert_array_equal(volume.stored(), OF_ITK)
    nifti = tmp_path / "x.nii"
    array = OF_ITK.transpose(2, 1, 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(array, np.array(NIFTI_AFFINE_OF_ITK)), nifti)
    turned = turn_between(volume, opened(nifti))(opened(nifti).stored())
    np.testing.assert_array_equal(turned, OF_ITK)


@pytest.mark.parametrize("flips", [(0, 0, 0), (1, 0, 0), (0, 1, 1), (1, 1, 1)])
def test_labels_of_another_container_are_turned_by_the_affines(tmp_path, flips):
    path = tmp_path / "x.mha"
    path.write_bytes(BY_ITK)
    array, affine = OF_ITK.transpose(2, 1, 0).astype(np.uint8), np.array(NIFTI_AFFINE_OF_ITK, float)
    for axis in range(3):
        if flips[axis]:  # the same voxels, counted from the other end
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
            array = np.flip(array, axis)
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "y.nii")
    labels = opened(tmp_path / "y.nii")
    np.testing.assert_array_equal(turn_between(opened(path), labels)(labels.stored()), OF_ITK)
    affine[0, 3] += 0.3
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "z.nii")
    with pytest.raises(SampleError, match="do not have the same voxels"):
        turn_between(opened(path), opened(tmp_path / "z.nii"))


@pytest.mark.parametrize("name", NAMES)
def test_a_volume_in_which_nothing_changes_is_copied_byte_for_byte(tmp_path, name):
    path = save_volume(tmp_path / name, LABELS)
    assert rewritten(path).read_bytes() == path.read_bytes()
    if name.endswith((".mhd", ".nhdr")):
        raw = path.with_suffix(".raw")
        assert (tmp_path / "copy" / raw.name).read_bytes() == raw.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_only_the_voxels_that_change_are_written_anew(tmp_path, name):
    path = save_volume(tmp_path / name, LABELS)
    new = 2 - LABELS[1] if not name.endswith(XYZ) else 2 - LABELS[1].T
    copy = rewritten(path, lambda frame: new if frame == 1 else None)
    with VolumeMasks(opened(copy)) as masks, VolumeMasks(opened(path)) as before:
        for frame in range(3):
            expected = new if frame == 1 else before.mask(frame)
            np.testing.assert_array_equal(masks.mask(frame), expected)
    if name.endswith((".nii", ".nii.gz", "v.mha", "v.nrrd", ".npy")):
        old, copied = inflated(path), inflated(copy)
        assert sum(a != b for a, b in zip(old, copied, strict=True)) == (LABELS[1] != 1).sum()
    elif name.endswith((".mha", ".mhd", ".nrrd", ".nhdr")):
        assert b"kept" in copy.read_bytes()
    elif name.endswith(".tif"):
        with Image.open(path) as old, Image.open(copy) as new_file:
            for tag in (259, 262, 270):  # compression, photometric interpretation, description
                assert new_file.tag_v2[tag] == old.tag_v2[tag]


@pytest.mark.parametrize(
    ("dtype", "slope", "inter"), [("u1", 1, 0), ("i2", 1, -3), ("i2", 0.1, 0), ("f4", 1, 0)]
)
def test_a_scale_of_the_header_is_kept_and_undone(tmp_path, dtype, slope, inter):
    path = tmp_path / "x.nii.gz"
    stored = np.rint((np.arange(12).reshape(2, 3, 2) % 5 - inter) / slope).astype(dtype)
    image = nib.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    header = nib.Nifti1Header.from_fileobj(__import__("io").BytesIO(bytes(content)))
    header["scl_slope"], header["scl_inter"] = slope, inter
    content[: len(header.binaryblock)] = header.binaryblock
    content[352:] = stored.tobytes(order="F")
    path.write_bytes(gzip.compress(bytes(content)))
    new = np.array([[4, 3], [0, 1], [2, 4]]).reshape(2, 3)
    copy = rewritten(path, lambda frame: new if frame == 0 else None)
    assert inflated(copy)[:352] == bytes(content[:352])
    with VolumeMasks(opened(copy)) as masks:
        np.testing.assert_array_equal(masks.mask(0), new)
    np.testing.assert_allclose(nib.load(copy).get_fdata()[:, :, 0], new, atol=1e-5)


def test_a_label_that_the_type_cannot_hold_is_refused(tmp_path):
    path = save_volume(tmp_path / "v.mha", LABELS)
    with pytest.raises(LabelError, match=r"v.mha, slice 2: label 300 does not fit .* uint8"):
        rewritten(path, lambda frame: np.full((5, 4), 300) if frame == 2 else None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"NDims = 3\n", b"NDims 3\n", "no line of key and value"),
        (b"DimSize = 4 5 3", b"DimSize = 4 x 3", "DimSize = 4 x 3"),
        (b"DimSize = 4 5 3", b"DimSize = 400 500 300", "the file has"),
        (b"DimSize = 4 5 3", b"DimSize = 4 5 -3", "expected two to four axes"),
        (b"MET_UCHAR", b"MET_OTHER", "MET_OTHER"),
        (b"= LOCAL", b"= ../x.raw", "expected the name of a file beside the header"),
        (b"= LOCAL", b"= LIST", "a file a slice"),
        (b"= LOCAL", b"= s%02d.raw 1 3 1", "a file a slice"),
    ],
)
def test_headers_that_claim_what_is_not_there_are_refused(tmp_path, old, new, said):
    path = save_volume(tmp_path / "v.mha", LABELS)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(SampleError, match=said):
        opened(path)


def test_values_that_are_not_beside_their_header_are_named(tmp_path):
    path = save_volume(tmp_path / "v.mhd", LABELS)
    path.with_suffix(".raw").unlink()
    with pytest.raises(StorageError, match=r"v\.raw"):
        opened(path)


def test_packed_values_are_bounded_before_they_are_inflated(tmp_path):
    path = save_volume(tmp_path / "packed.mha", LABELS)
    content = path.read_bytes().replace(b"DimSize = 4 5 3", b"DimSize = 4000 5000 300")
    path.write_bytes(content)
    with pytest.raises(SampleError, match="would inflate") as error:
        opened(path)
    assert error.value.error_class == "too_large"
    cut = save_volume(tmp_path / "packed2.mha", LABELS).read_bytes()
    (tmp_path / "packed2.mha").write_bytes(cut[:-3])
    with pytest.raises((SampleError, zlib.error)):
        opened(tmp_path / "packed2.mha").stored()


def test_several_arrays_in_one_npz_are_refused(tmp_path):
    np.savez(tmp_path / "v.npz", a=LABELS, b=LABELS)
    with pytest.raises(SampleError, match="holds the arrays a, b; expected one"):
        opened(tmp_path / "v.npz")


@pytest.mark.parametrize("suffix", ["mhd", "nhdr"])
def test_values_beside_a_header_are_part_of_its_identity(tmp_path, suffix):
    for folder in ("i", "m"):
        save_volume(tmp_path / f"{folder}/v.{suffix}", LABELS)
    masks = {"masks": f"{tmp_path}/m/{{stem}}.{suffix}"}
    config = dataset("images", tmp_path / f"i/*.{suffix}", masks)
    (before,) = listed(config, tmp_path).shards
    for folder, name in (("i", "etag"), ("m", "label_digest")):
        raw = tmp_path / f"{folder}/v.raw"
        raw.write_bytes(raw.read_bytes()[::-1])
        (after,) = listed(config, tmp_path).shards
        assert getattr(after, name) != getattr(before, name)
        assert (after.size_bytes, after.label_uri) == (before.size_bytes, before.label_uri)


def test_a_header_that_its_library_cannot_parse_is_damage_of_the_file(tmp_path):
    path = save_volume(tmp_path / "v.npy", LABELS)
    path.write_bytes(path.read_bytes().replace(b"'shape': (3, 5, 4), }", b"'shape': (3, 5, 4(, "))
    with pytest.raises(SampleError, match=r"v\.npy") as error:
        opened(path)
    assert error.value.error_class == "decode"
