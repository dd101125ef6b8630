"""DICOM series: ordered by where slices lie, values as tags say, gaps named; nothing is guessed."""

import builtins
import re

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ray_audit.corrections.write_labels import check_writable
from ray_audit.errors import LabelError, SampleError, SpecificationError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.volumes.volume_files import open_volume
from tests.support.media import cut, dataset, listed

SHAPE = (4, 6, 5)  # slices, rows, columns
HU = np.random.default_rng(0).integers(-1000, 1000, SHAPE)
LABELS = np.random.default_rng(1).integers(0, 3, SHAPE).astype(np.uint8)
SERIES = generate_uid()


def write_slice(path, pixels, z, **tags):
    """A CT slice of signed words with 12 bits stored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    result = Dataset()
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    result.SOPClassUID, result.SOPInstanceUID = CTImageStorage, generate_uid()
    result.file_meta.MediaStorageSOPClassUID = result.SOPClassUID
    result.file_meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    result.SeriesInstanceUID, result.Modality = SERIES, "CT"
    result.Rows, result.Columns = pixels.shape[-2:]
    result.SamplesPerPixel, result.PhotometricInterpretation = 1, "MONOCHROME2"
    result.BitsAllocated, result.BitsStored, result.HighBit, result.PixelRepresentation = (
        16,
        12,
        11,
        1,
    )
    result.ImagePositionPatient = [-10, -20, z]
    result.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    result.PixelSpacing = [0.75, 0.5]
    result.RescaleSlope, result.RescaleIntercept = 1, 0
    # Bits above those stored hold nothing of the value.
    result.PixelData = (pixels.astype("<i2") & 0x0FFF).tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(result, name)
        else:
            setattr(result, name, value)
    result.save_as(path, enforce_file_format=True)
    return path


def write_series(folder, order=(2, 0, 3, 1), **tags):
    """Slices 2 mm apart, in files whose names say nothing of their order."""
    for number, k in enumerate(order):
        write_slice(folder / f"im{number}.dcm", HU[k], 2.0 * k, **tags)
    return str(folder / "*.dcm")


def opened(uri):
    return open_volume(str(uri), None, UnitAccounting("test"))


def values(volume):
    return volume.stored() * volume.header.slope + volume.header.inter


def test_slices_are_ordered_by_position_and_signed_words_keep_their_sign(tmp_path):
    volume = opened(write_series(tmp_path / "p1"))
    np.testing.assert_array_equal(volume.stored(), HU)
    expected = np.array([[0, 0, -0.5, 10], [0, -0.75, 0, 20], [2, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.header.affine, expected)


def test_a_scale_of_its_own_is_applied_to_each_slice(tmp_path):
    write_series(tmp_path / "p1", RescaleSlope=2, RescaleIntercept=-1024)
    volume = opened(tmp_path / "p1/*.dcm")
    np.testing.assert_array_equal(values(volume), 2 * HU - 1024)
    write_slice(tmp_path / "p1/im0.dcm", HU[2], 4.0, RescaleSlope=0.25)
    mixed = values(opened(tmp_path / "p1/*.dcm"))
    np.testing.assert_allclose(mixed[2], HU[2] * 0.25)
    np.testing.assert_allclose(mixed[1], 2 * HU[1] - 1024)


def test_a_slice_that_is_missing_is_named_and_never_spread(tmp_path):
    write_series(tmp_path / "p1", order=(3, 0, 1))
    with pytest.raises(SampleError, match=r"im2.dcm and .*im0.dcm there are 4\.000 mm") as error:
        opened(tmp_path / "p1/*.dcm")
    assert error.value.error_class == "missing_slices"


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"SeriesInstanceUID": "1.2.3"}, "are of two series"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}, "lie in different planes"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "expected a grey image"),
        ({"PhotometricInterpretation": "YBR_FULL"}, "expected a grey image"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "whose frames are segments"),
        ({"Rows": 3}, "expected slices of one size"),
        ({"BitsStored": 99}, "99 of 16 bits"),
    ],
)
def test_what_is_no_slice_of_the_series_is_refused(tmp_path, tags, said):
    write_series(tmp_path / "p1")
    write_slice(tmp_path / "p1/im9.dcm", HU[0], 8.0, **tags)
    with pytest.raises(SampleError, match=said):
        opened(tmp_path / "p1/*.dcm")


def test_without_positions_the_numbers_of_the_instances_order_them(tmp_path):
    for number, k in enumerate((2, 0, 3, 1)):
        path = tmp_path / f"p1/im{number}.dcm"
        write_slice(path, HU[k], 0, ImagePositionPatient=None, InstanceNumber=k)
    volume = opened(tmp_path / "p1/*.dcm")
    np.testing.assert_array_equal(volume.stored(), HU)
    assert volume.header.affine is None
    write_slice(tmp_path / "p1/im0.dcm", HU[0], 0, ImagePositionPatient=None, InstanceNumber=0)
    with pytest.raises(SampleError, match="nothing tells the order"):
        opened(tmp_path / "p1/*.dcm")


def test_a_file_of_several_frames_is_a_volume(tmp_path):
    path = write_slice(tmp_path / "m.dcm", HU, 0, NumberOfFrames=4, ImagePositionPatient=None)
    np.testing.assert_array_equal(opened(path).stored(), HU)
    bits = np.random.default_rng(0).integers(0, 2, (4, 8, 8)).astype(np.uint8)
    single = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0}
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    result = write_slice(
        *(tmp_path / "b.dcm", bits, 0), NumberOfFrames=4, PixelData=packed, **single
    )
    np.testing.assert_array_equal(opened(result).stored(), bits)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_damaged_file_says_which_it_is(tmp_path, kept):
    write_series(tmp_path / "p1")
    path = tmp_path / "p1/im1.dcm"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(SampleError, match=r"im1\.dcm"):
        opened(tmp_path / "p1/*.dcm").stored()


def scan_with_labels(folder, order=(2, 0, 3, 1), axis=0, suffix=".dcm"):
    """A numbered series of four slices, or what is left of it, with its labels."""
    for number, k in enumerate(order):
        write_slice(folder / f"scans/p1/im{number}.dcm", HU[k], 2.0 * k, InstanceNumber=k + 1)
    masks = {"masks": f"{folder}/seg/{{stem}}{suffix}"}
    volume = {"window": [-1000, 1000], "axis": axis}
    config = dataset("images", folder / "scans/*/*.dcm", masks, volume=volume)
    (folder / "seg").mkdir(exist_ok=True)
    if suffix == ".dcm":
        write_slice(folder / "seg/p1.dcm", LABELS.astype(np.int64), 0, NumberOfFrames=4)
    else:
        nib.save(nib.Nifti1Image(LABELS.transpose(2, 1, 0), np.eye(4)), folder / "seg/p1.nii.gz")
    return config


@pytest.mark.parametrize(("axis", "num"), [(0, 4), (1, 6), (2, 5)])
@pytest.mark.parametrize("kept", [0.0, 0.3])
def test_with_a_slice_that_is_damaged_all_slices_of_its_series_count_as_lost(
    tmp_path, kept, axis, num
):
    config = scan_with_labels(tmp_path, axis=axis)
    path = tmp_path / "scans/p1/im1.dcm"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    (failure,) = cut(config, tmp_path).failures
    assert failure.num_samples == num


@pytest.mark.parametrize(
    ("order", "num"),
    [((3, 0, 1), 4), ((0, 3), 2)],
    ids=["one_of_four", "numbers_that_do_not_count_by_ones"],
)
def test_with_a_slice_that_is_missing_it_counts_as_lost_too(tmp_path, order, num):
    config = scan_with_labels(tmp_path, order=order)
    if num == 2:  # a third, uneven one, so that the series is refused
        write_slice(tmp_path / "scans/p1/im9.dcm", HU[0], 5.0, InstanceNumber=7)
        num = 3
    (failure,) = cut(config, tmp_path).failures
    assert (failure.error_class, failure.num_samples) == ("missing_slices", num)


def test_with_a_label_volume_that_is_damaged_all_slices_count_as_lost(tmp_path):
    config = scan_with_labels(tmp_path, suffix=".nii.gz")
    (tmp_path / "seg/p1.nii.gz").write_bytes(b"nothing")
    (failure,) = cut(config, tmp_path).failures
    assert failure.num_samples == 4


@pytest.mark.parametrize(("axis", "num"), [(0, 4), (1, 1)])
def test_of_a_series_that_tells_nothing_the_files_are_counted(tmp_path, axis, num):
    config = scan_with_labels(tmp_path, axis=axis)
    for path in tmp_path.glob("scans/p1/*"):
        path.write_bytes(b"nothing")
    (failure,) = cut(config, tmp_path).failures
    assert failure.num_samples == num
    assert ("not known: at least 1" in failure.message) == (num == 1)


def test_folders_are_volumes_with_label_volumes_in_nifti_turned_to_them(tmp_path):
    for name in ("p1", "p2"):
        write_series(tmp_path / f"scans/{name}")
        volume = opened(tmp_path / f"scans/{name}/*.dcm")
        # As dcm2niix has it: (x, y, z) with rows running to anterior.
        affine = volume.header.affine[:, [2, 1, 0, 3]].copy()
        array = LABELS.transpose(2, 1, 0)[:, ::-1]
        affine[:3, 3] += affine[:3, 1] * (SHAPE[1] - 1)
        affine[:3, 1] *= -1
        (tmp_path / "seg").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(array, affine), tmp_path / f"seg/{name}.nii.gz")
    masks = {"masks": str(tmp_path / "seg/{stem}.nii.gz")}
    config = dataset("images", tmp_path / "scans/*/*.dcm", masks, volume={"window": [-1000, 1000]})
    shards = listed(config, tmp_path).shards
    assert [shard.key for shard in shards] == ["p1.dcm", "p2.dcm"]
    result = cut(config, tmp_path)
    assert not result.failures
    assert [row["sample_id"] for row in result.rows] == [
        f"p{v}.dcm#{k}" for v in (1, 2) for k in range(4)
    ]
    path = tmp_path / "scans/p1/im1.dcm"
    path.write_bytes(path.read_bytes() + b"\0\0")
    assert listed(config, tmp_path).shards[0].etag != shards[0].etag


def test_labels_in_dicom_are_not_written_back_and_that_is_said_before(tmp_path):
    write_series(tmp_path / "scans/p1")
    config = dataset(
        "images", tmp_path / "scans/*/*.dcm", {"masks": f"{tmp_path}/seg/{{stem}}.dcm"}
    )
    write_slice(tmp_path / "seg/p1.dcm", LABELS.astype(np.int64), 0, NumberOfFrames=4)
    with pytest.raises(SpecificationError, match=r"p1\.dcm lies in DICOM.*not written back"):
        check_writable(config, listed(config, tmp_path), str(tmp_path / "to"))
    with pytest.raises(LabelError, match="not written back"):
        opened(tmp_path / "scans/p1/*.dcm").write(HU, str(tmp_path / "x"))


def test_where_0_is_white_values_stay_as_they_are_stored(tmp_path):
    path = write_slice(tmp_path / "a.dcm", HU[0], 0, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(opened(path).stored()[0], HU[0])


def test_frames_of_one_bit_are_unpacked(tmp_path):
    bits = (LABELS > 0).astype(np.uint8)
    tags = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0}
    tags |= {"NumberOfFrames": SHAPE[0], "PixelData": pack_bits(bits)}
    path = write_slice(tmp_path / "a.dcm", bits, 0, **tags)
    assert np.array_equal(opened(path).stored(), bits)


@pytest.mark.parametrize("photometric", ["PALETTE COLOR", "YBR_FULL_422", "RGB"])
def test_palettes_and_colours_are_refused_with_what_to_do(tmp_path, photometric):
    path = write_slice(tmp_path / "a.dcm", HU[0], 0, PhotometricInterpretation=photometric)
    with pytest.raises(SampleError, match=f"interpretation {photometric}.*image files or as a vid"):
        opened(path)


@pytest.mark.parametrize("names", ["IM{:06d}", "1.2.840.113619.{}", "{}.IMA"])
def test_files_whose_names_say_nothing_are_dicom_by_their_content(tmp_path, names):
    for patient in ("p1", "p2"):
        for k in range(SHAPE[0]):
            write_slice(tmp_path / f"scans/{patient}/{names.format(k)}", HU[k], 2.0 * k)
        (tmp_path / f"scans/{patient}/DICOMDIR").write_bytes(b"an index")
        save_labels(tmp_path / f"seg/{patient}.nrrd", tmp_path / f"scans/{patient}")
    masks = {"masks": str(tmp_path / "seg/{stem}.nrrd")}
    pattern = "*" if "1.2" in names else names.partition("{")[0] + "*"
    uri = tmp_path / f"scans/*/{pattern if pattern != '*' else '[0-9]*'}"
    config = dataset("images", uri, masks, volume={"window": [-1000, 1000]})
    assert [shard.key for shard in listed(config, tmp_path).shards] == ["p1.dcm", "p2.dcm"]
    result = cut(config, tmp_path)
    assert not result.failures
    assert len(result.rows) == 2 * SHAPE[0]


def test_a_series_is_what_was_listed_and_nothing_more(tmp_path):
    write_series(tmp_path / "scans/p1")
    write_slice(tmp_path / "scans/p1/scout.dcm", HU[0], 99.0)
    save_labels(tmp_path / "seg/p1.nrrd", tmp_path / "scans/p1", "im*.dcm")
    masks = {"masks": str(tmp_path / "seg/{stem}.nrrd")}
    config = dataset("images", tmp_path / "scans/*/im*.dcm", masks, volume={"window": [0, 9]})
    result = cut(config, tmp_path)
    assert not result.failures
    assert len(result.rows) == SHAPE[0]


def save_labels(path, folder, pattern="*[0-9]*"):
    """Labels of a series as NRRD, in its place: (x, y, z) in LPS."""
    import nrrd

    path.parent.mkdir(exist_ok=True)
    volume = opened(f"{folder}/{pattern}")
    lps = np.diag([-1, -1, 1, 1]) @ volume.header.affine[:, [2, 1, 0, 3]]
    header = {"space": "LPS", "space directions": lps[:3, :3].T, "space origin": lps[:3, 3]}
    nrrd.write(str(path), LABELS.transpose(2, 1, 0), header)


def test_without_pydicom_an_error_says_what_to_install(tmp_path, monkeypatch):
    write_series(tmp_path / "scans/p1")
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name == "pydicom":
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    config = dataset("images", tmp_path / "scans/*/*.dcm", {"masks": f"{tmp_path}/{{stem}}.mha"})
    with pytest.raises(SpecificationError, match=re.escape("pip install 'ray-audit[medical]'")):
        listed(config, tmp_path)
