"""NRRD as pynrrd and Slicer write it."""

import bz2

import nibabel as nib
import nrrd
import numpy as np
import pytest

from ray_audit.errors import SampleError, SpecificationError, StorageError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.volumes.alignment import turn_between
from ray_audit.formats.volumes.volume_files import open_volume
from tests.support.media import dataset, listed
from tests.unit.test_hostile_files import little_memory

__all__ = ["little_memory"]
VALUES = np.random.default_rng(0).integers(0, 5, (4, 3, 6)).astype(np.uint8)
PLACED = {
    "space": "left-posterior-superior",
    "space directions": np.diag([0.5, 0.75, 2.0]),
    "space origin": [10.0, -20, 30],
}


def save(path, values=VALUES, **header):
    nrrd.write(str(path), values, {**PLACED, **header})
    return path


def opened(path):
    return open_volume(str(path), None, UnitAccounting("test"))


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_values_of_every_type_come_as_pynrrd_reads_them(tmp_path, dtype, encoding):
    path = save(tmp_path / "v.nrrd", VALUES.astype(dtype), encoding=encoding)
    expected, _ = nrrd.read(str(path))
    actual = opened(path).stored()
    assert actual.dtype == expected.dtype
    assert np.array_equal(actual, expected)


def test_big_endian_values_and_bytes_before_them_are_read(tmp_path):
    values = VALUES.astype(">i2")
    head = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 4 3 6\nendian: big\nencoding: raw\n"
    body = values.tobytes(order="F")
    for skip, before in ((b"byte skip: 5\n", b"12345"), (b"byte skip: -1\n", b"any"), (b"", b"")):
        (tmp_path / "v.nrrd").write_bytes(head + skip + b"\n" + before + body)
        assert np.array_equal(opened(tmp_path / "v.nrrd").stored(), VALUES)


def test_its_place_is_that_of_the_same_volume_in_nifti(tmp_path):
    volume = opened(save(tmp_path / "v.nrrd"))
    affine = np.diag([-0.5, -0.75, 2.0, 1.0])
    affine[:3, 3] = [-10, 20, 30]
    assert np.array_equal(volume.header.affine, affine)
    flipped = affine.copy()
    flipped[:3, 3] += affine[:3, 0] * 3
    flipped[:3, 0] *= -1
    nib.save(nib.Nifti1Image(VALUES[::-1], flipped), tmp_path / "v.nii")
    labels = opened(tmp_path / "v.nii")
    assert np.array_equal(turn_between(volume, labels)(labels.stored()), VALUES)


@pytest.mark.parametrize("axis", [0, 3])
def test_channels_are_an_axis_that_does_not_run_through_space(tmp_path, axis):
    values = np.stack([VALUES, VALUES + 1], axis)
    rows = [*np.eye(3)]
    rows.insert(axis, np.full(3, np.nan))
    kinds = ["domain"] * 3
    kinds.insert(axis, "list")
    header = {"space directions": np.array(rows), "kinds": kinds}
    volume = opened(save(tmp_path / "v.nrrd", values, **header))
    assert (volume.header.shape, volume.header.num_channels) == ((4, 3, 6), 2)
    assert np.array_equal(volume.stored(1), VALUES + 1)
    assert np.array_equal(volume.header.affine, np.diag([-1.0, -1, 1, 1]) + place([-10, 20, 30]))


def place(point):
    offset = np.zeros((4, 4))
    offset[:3, 3] = point
    return offset


def test_one_slice_has_a_third_axis_of_one(tmp_path):
    nrrd.write(str(tmp_path / "v.nrrd"), VALUES[:, :, 0])
    volume = opened(tmp_path / "v.nrrd")
    assert np.array_equal(volume.stored()[:, :, 0], VALUES[:, :, 0])
    assert volume.header.affine is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"sizes: 4 3 6", b"sizes: 4 3 600", "cut off"),
        (b"sizes: 4 3 6", b"sizes: 4 3 -6", "sizes"),
        (b"type: uint8", b"type: block", "'block'"),
        (b"encoding: raw", b"encoding: ascii", "encoding ascii"),
        (b"NRRD000", b"NRRX000", "no readable NRRD header"),
        (b"encoding: raw", b"encoding: raw\ndata file: ../x.raw", "beside the header"),
        (b"encoding: raw", b"encoding: raw\ndata file: LIST", "beside the header"),
    ],
)
def test_headers_that_say_what_is_not_read_are_refused(tmp_path, old, new, said):
    path = save(tmp_path / "v.nrrd", encoding="raw")
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(SampleError, match=said):
        opened(path).stored()


@pytest.mark.parametrize("packing", ["gzip", "bzip2"])
def test_packed_values_that_are_damaged_say_so(tmp_path, packing):
    path = save(tmp_path / "v.nrrd", encoding=packing)
    content = bytearray(path.read_bytes())
    content[-9] ^= 0xFF  # in the checksum, or right before it
    path.write_bytes(content)
    with pytest.raises(SampleError, match=r"damaged|cut off"):
        opened(path).stored()


def test_values_that_are_not_beside_their_header_are_named(tmp_path):
    path = save(tmp_path / "v.nhdr", encoding="raw", **{"data file": "v.raw"})
    (tmp_path / "v.raw").unlink()
    with pytest.raises(StorageError, match=r"v\.raw"):
        opened(path)


@pytest.mark.parametrize("packing", ["gzip", "bzip2"])
def test_packed_values_are_bounded_before_they_are_inflated(tmp_path, packing, little_memory):
    head = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 40000 40000 4\nencoding: {packing}\n\n"
    (tmp_path / "v.nrrd").write_bytes(head.encode() + bz2.compress(bytes(10**6)))
    with pytest.raises(SampleError, match="inflate"):
        opened(tmp_path / "v.nrrd")


def test_without_pynrrd_an_error_says_what_to_install(tmp_path, monkeypatch):
    config = dataset("images", save(tmp_path / "v.nrrd"), {"masks": f"{tmp_path}/{{stem}}.nrrd"})
    monkeypatch.setitem(__import__("sys").modules, "nrrd", None)
    with pytest.raises(SpecificationError, match=r"pip install 'ray-audit\[medical\]'"):
        listed(config, tmp_path)
