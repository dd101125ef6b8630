"""DICOM segmentations: frames go to the slices that they refer to, whatever their order."""

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from ray_audit import storage
from ray_audit.errors import SpecificationError, StorageError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.volumes.dicom_volume import LABEL_MAP, SEGMENTATIONS
from ray_audit.formats.volumes.volume_files import open_dicom_labels, open_volume
from tests.support.media import cut, cut_listed, dataset, listed
from tests.unit.formats.test_dicom import HU, SHAPE, write_slice
from tests.unit.formats.test_volumes import read

LABELS = np.random.default_rng(3).integers(0, 3, SHAPE).astype(np.uint8)
LABELS[1] = 0  # a slice that writers leave out


def write_images(folder, order=(2, 0, 3, 1)):
    """A series whose names say nothing of the order; the UIDs of its slices."""
    uids = {}
    for number, k in enumerate(order):
        uids[k] = generate_uid()
        write_slice(folder / f"im{number}.dcm", HU[k], 2.0 * k, SOPInstanceUID=uids[k])
    return uids


def item(**values):
    header = Dataset()
    for name, value in values.items():
        setattr(header, name, value)
    return header


def frame(k, segment=None, uid=None, z=None):
    """The functional groups of one frame."""
    group = Dataset()
    if segment is not None:
        numbers = item(ReferencedSegmentNumber=segment)
        group.SegmentIdentificationSequence = Sequence([numbers])
    if uid is not None:
        source = item(ReferencedSOPInstanceUID=uid)
        derived = item(SourceImageSequence=Sequence([source]))
        group.DerivationImageSequence = Sequence([derived])
    z = 2.0 * k if z is None else z
    place = item(ImagePositionPatient=[-10, -20, z])
    group.PlanePositionSequence = Sequence([place])
    return group


def write_seg(path, frames, pixels, is_map=False, **tags):
    """A segmentation of such frames, packed to bits where it is binary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = LABEL_MAP if is_map else SEGMENTATIONS[0]
    header.SOPInstanceUID = generate_uid()
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.Modality, header.SegmentationType = "SEG", "LABELMAP" if is_map else "BINARY"
    header.NumberOfFrames, header.Rows, header.Columns = len(frames), *SHAPE[1:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 if is_map else 1
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = (
        bits,
        bits,
        bits - 1,
        0,
    )
    turned = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared = item(PlaneOrientationSequence=Sequence([turned]))
    header.SharedFunctionalGroupsSequence = Sequence([shared])
    header.PerFrameFunctionalGroupsSequence = Sequence(frames)
    stacked = np.stack(pixels).astype(np.uint8)
    header.PixelData = stacked.tobytes() if is_map else pack_bits(stacked)
    for name, value in tags.items():
        setattr(header, name, value)
    header.save_as(path, enforce_file_format=True)
    return path


def binary(uids, by="uid", order=1):
    """Frames and pixels of the labels: a frame a segment and slice that has some of it."""
    frames, pixels = [], []
    for segment in (1, 2):
        for k in range(SHAPE[0])[::order]:
            if (LABELS[k] == segment).any():
                frames.append(frame(k, segment, uids[k] if by == "uid" else None))
                pixels.append(LABELS[k] == segment)
    return frames, pixels


def labels_of(folder, seg):
    with open_volume(f"{folder}/*.dcm", None, UnitAccounting("test")) as image:
        return open_dicom_labels(str(seg), image, UnitAccounting("test")).stored()


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("by", ["uid", "position"])
def test_frames_go_to_the_slices_they_refer_to_and_missing_ones_are_empty(tmp_path, by, order):
    uids = write_images(tmp_path / "scan")
    seg = write_seg(tmp_path / "seg.dcm", *binary(uids, by, order))
    assert np.array_equal(labels_of(tmp_path / "scan", seg), LABELS)


def test_a_label_map_is_read_too(tmp_path):
    uids = write_images(tmp_path / "scan")
    order = [3, 0, 2]
    frames = [frame(k, uid=uids[k]) for k in order]
    seg = write_seg(tmp_path / "seg.dcm", frames, [LABELS[k] for k in order], is_map=True)
    assert np.array_equal(labels_of(tmp_path / "scan", seg), LABELS)


def test_series_and_their_segmentations_are_cut_slice_by_slice(tmp_path):
    for name in ("p1", "p2"):
        uids = write_images(tmp_path / f"scans/{name}")
        write_seg(tmp_path / f"seg/{name}.dcm", *binary(uids))
    masks = {"masks": str(tmp_path / "seg/{stem}.dcm")}
    config = dataset("images", tmp_path / "scans/*/*.dcm", masks, volume={"window": [-1000, 1000]})
    found = read(config, tmp_path)
    assert list(found) == [f"p{v}.dcm#{k}" for v in (1, 2) for k in range(4)]
    for name, (_, mask) in found.items():
        assert np.array_equal(mask, LABELS[int(name.rpartition("#")[2])])


def test_a_file_that_the_store_does_not_give_once_is_a_failure_that_passes(tmp_path, monkeypatch):
    uids = write_images(tmp_path / "scans/p1")
    write_seg(tmp_path / "seg/p1.dcm", *binary(uids))
    masks = {"masks": str(tmp_path / "seg/{stem}.dcm")}
    config = dataset("images", tmp_path / "scans/*/*.dcm", masks, volume={"window": [-1000, 1000]})
    shards, read_bytes = listed(config, tmp_path).shards, storage.read_bytes
    for number in range(100):
        left, stage = number, ""

        def busy(uri, in_parts=False):
            nonlocal left, stage
            left -= 1
            if left == -1:
                stage = "labels" if "/seg/" in uri else "read"
                raise StorageError(f"cannot read {uri}: 503 Slow Down", may_pass=True)
            return read_bytes(uri, in_parts)

        monkeypatch.setattr(storage, "read_bytes", busy)
        result = cut_listed(shards, config, tmp_path)
        if left >= 0:  # there are no more reads than that
            break
        assert result.failures
        assert {(f.stage, f.error_class) for f in result.failures} == {(stage, "read")}, number
    assert number >= 2 * SHAPE[0]
    assert result.failures == []


def shifted(folder, uids):
    frames, pixels = binary(uids)
    frames[0].PlanePositionSequence[0].ImagePositionPatient = [-10, -21, 0]
    return write_seg(folder / "seg.dcm", frames, pixels)


def turned(folder, uids):
    header = item(ImageOrientationPatient=[0, 1, 0, 1, 0, 0])
    shared = item(PlaneOrientationSequence=Sequence([header]))
    return write_seg(
        folder / "seg.dcm", *binary(uids), SharedFunctionalGroupsSequence=Sequence([shared])
    )


def overlapping(folder, uids):
    frames = [frame(0, 1, uids[0]), frame(0, 2, uids[0])]
    return write_seg(folder / "seg.dcm", frames, [np.ones(SHAPE[1:]), LABELS[0] > 1])


def elsewhere(folder, uids):
    frames = [frame(0, 1, generate_uid(), z=77.0)]
    return write_seg(folder / "seg.dcm", frames, [LABELS[0] == 1])


def of_fractions(folder, uids):
    return write_seg(folder / "seg.dcm", *binary(uids), SegmentationType="FRACTIONAL")


def of_another_size(folder, uids):
    return write_seg(folder / "seg.dcm", *binary(uids), Rows=3)


def without_groups(folder, uids):
    frames, pixels = binary(uids)
    groups = Sequence(frames[1:])
    return write_seg(folder / "seg.dcm", frames, pixels, PerFrameFunctionalGroupsSequence=groups)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (shifted, "lies elsewhere than slice 0"),
        (turned, "or turned against it"),
        (overlapping, r"segments 1 and 2 of .*seg\.dcm overlap in \d+ pixels of slice 0"),
        (elsewhere, "is of no slice of"),
        (of_fractions, "of type FRACTIONAL; expected BINARY"),
        (of_another_size, "3 rows and 5 columns, its image 6 and 5"),
        (without_groups, "says nothing of some of its frames"),
    ],
)
def test_what_does_not_tell_one_class_for_each_pixel_fails_its_volume(tmp_path, make, said):
    uids = write_images(tmp_path / "scans/p1")
    make(tmp_path, uids)
    masks = {"masks": str(tmp_path / "{folder}seg.dcm")}
    config = dataset("images", tmp_path / "scans/*/*.dcm", masks, volume={"window": [-9, 9]})
    (failure,) = cut(config, tmp_path).failures
    assert failure.num_samples == SHAPE[0]
    assert __import__("re").search(said, failure.message), failure.message


def test_a_segmentation_goes_with_dicom_only_and_is_no_image(tmp_path):
    uids = write_images(tmp_path / "scan")
    seg = write_seg(tmp_path / "seg/p1.dcm", *binary(uids))
    nib.save(nib.Nifti1Image(HU.astype(np.int16), np.eye(4)), tmp_path / "p1.nii")
    config = dataset("images", seg, {"masks": f"{tmp_path}/seg/{{stem}}.dcm"}, volume={})
    (failure,) = cut(config, tmp_path).failures
    assert "it goes with labels.masks; narrow dataset.uri to the images" in failure.message
    config = dataset("images", tmp_path / "p1.nii", config.labels.model_dump(), volume={})
    with pytest.raises(SpecificationError, match="a template of label volumes"):
        listed(config, tmp_path)
