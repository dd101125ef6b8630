"""DICOM segmentations as label volumes: frames go to the slices that they refer to."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ray_audit.errors import LabelError, RayAuditError, SampleError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.volumes.dicom_volume import (
    LABEL_MAP,
    SEGMENTATIONS,
    DicomVolume,
    first_of,
    pydicom,
)
from ray_audit.formats.volumes.volume import Volume, VolumeHeader, check_inflated

_APART_MM = 1e-2
_PARALLEL = 1e-3
_MAX_LABEL = 2**16 - 1


@dataclass(frozen=True)
class _SegmentFrame:
    """One frame: which segment (0 of a label map), and which slice of the image."""

    segment: int
    place: int


class DicomSegmentation(Volume):
    """A segmentation in the grid of its image: 0, or the number of the segment.

    Slices without a frame are empty: writers leave those out. Each frame goes to the slice whose
    SOPInstanceUID it refers to or, where it refers to none, to that at its position.

    Args:
        uri: of the file.
        image: the series or multi-frame file that was segmented.
        tally: counts what is read.

    Raises:
        SampleError: it is none, is of fractions, or is not of this image; segments overlap.
        StorageError: it cannot be read.
    """

    name = "DICOM segmentation"

    def __init__(self, uri: str, image: DicomVolume, tally: UnitAccounting) -> None:
        self.uri = uri
        content = tally.read_bytes(uri)
        try:
            tags = pydicom().dcmread(io.BytesIO(content))
            num = int(tags.get("NumberOfFrames", 1) or 1)
            check_inflated(num * int(tags.Rows) * int(tags.Columns), len(content), (num,))
            self._values = _values(uri, tags, image)
        except (RayAuditError, MemoryError):
            raise
        except Exception as error:  # pydicom raises many kinds
            raise SampleError("decode", f"{uri}: no readable segmentation: {error}") from error
        self.header = VolumeHeader(
            image.header.shape, 1, self._values.dtype, 0, affine=image.header.affine
        )

    def stored(self, channel: int = 0) -> np.ndarray:
        """See `Volume.stored`."""
        return self._values

    def write(self, stored: np.ndarray, to_uri: str) -> None:
        """See `Volume.write`.

        Raises:
            LabelError: always.
        """
        raise LabelError(f"{self.uri}: labels in DICOM files are not written back")


def is_segmentation(uri: str, tally: UnitAccounting) -> bool:
    """Whether a DICOM file is a segmentation; a damaged one is none.

    Raises:
        StorageError: it cannot be read.
    """
    content = io.BytesIO(tally.read_bytes(uri))
    try:
        tags = pydicom().dcmread(content, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    except (RayAuditError, MemoryError):
        raise
    except Exception:  # pydicom raises many kinds; reading it says what is wrong
        return False
    return str(tags.get("SOPClassUID", "")) in SEGMENTATIONS


def _values(uri: str, tags: Any, image: DicomVolume) -> np.ndarray:
    kind = str(tags.get("SegmentationType", "none"))
    is_map = str(tags.get("SOPClassUID", "")) == LABEL_MAP
    if not is_map and kind != "BINARY":
        raise SampleError(
            "mask_format",
            f"{uri} is a segmentation of type {kind}; expected BINARY or a label map. What is a "
            "segment among fractions is for you to say: save it with a threshold",
        )
    shape = image.header.shape
    if (int(tags.Rows), int(tags.Columns)) != shape[1:]:
        raise SampleError(
            "mask_size",
            f"the segmentation {uri} has {tags.Rows} rows and {tags.Columns} columns, its image "
            f"{shape[1]} and {shape[2]}",
        )
    frames = list(_frames(uri, tags, image, is_map))
    pixels = np.asarray(tags.pixel_array).reshape(len(frames), *shape[1:])
    highest = max([frame.segment for frame in frames], default=0)
    highest = max(highest, int(pixels.max(initial=0)) if is_map else 0)
    values = np.zeros(shape, np.uint8 if highest < 256 else np.uint16)
    for frame, found in zip(frames, pixels, strict=True):
        here, slice_values = found != 0, values[frame.place]
        new = found if is_map else np.full_like(slice_values, frame.segment)
        twice = here & (slice_values != 0) & (slice_values != new)
        if twice.any():
            raise SampleError(
                "mask_format",
                f"segments {slice_values[twice][0]} and {new[twice][0]} of {uri} overlap in "
                f"{int(twice.sum())} pixels of slice {frame.place}: a pixel has one class; save "
                "the segments as one label volume, in which one of them wins",
            )
        slice_values[here] = new[here]
    return values


def _frames(uri: str, tags: Any, image: DicomVolume, is_map: bool) -> Iterator[_SegmentFrame]:
    shared = first_of(tags.get("SharedFunctionalGroupsSequence"))
    groups = list(tags.get("PerFrameFunctionalGroupsSequence") or [])
    if len(groups) != int(tags.get("NumberOfFrames", 1) or 1):
        raise SampleError("mask_format", f"{uri} says nothing of some of its frames")
    by_reference, by_position = image.slices()

    def found(group: str, place: Any) -> Any:
        for holder in (place, shared):
            item = first_of(holder.get(group)) if holder is not None else None
            if item is not None:
                return item
        return None

    for number, group in enumerate(groups):
        segment = found("SegmentIdentificationSequence", group)
        label = 0 if is_map else int(segment.ReferencedSegmentNumber)
        if not (is_map or 0 < label <= _MAX_LABEL):
            raise SampleError("mask_format", f"{uri}: frame {number} is of segment {label}")
        turned = found("PlaneOrientationSequence", group)
        axes = None if turned is None else turned.get("ImageOrientationPatient")
        place = by_reference.get(_reference(group))
        at = found("PlanePositionSequence", group)
        position = None if at is None else at.get("ImagePositionPatient")
        if place is None and position is not None:
            place = _nearest(by_position, position)
        if place is None:
            raise SampleError(
                "mask_size",
                f"frame {number} of {uri} is of no slice of {image.uri}: it refers to another "
                "image, and lies at none of its positions",
            )
        _check_place(uri, number, image, place, position, axes)
        yield _SegmentFrame(label, place)


def _reference(group: Any) -> tuple[str, int]:
    """SOPInstanceUID of what a frame was drawn upon, and the frame's number in it, from 1."""
    derived = first_of(group.get("DerivationImageSequence"))
    source = None if derived is None else first_of(derived.get("SourceImageSequence"))
    if source is None:
        return "", 0
    number = source.get("ReferencedFrameNumber", 1)
    number = number if isinstance(number, (int, str)) else (list(number) or [1])[0]
    return str(source.get("ReferencedSOPInstanceUID", "")), int(number or 1)


def _nearest(positions: np.ndarray | None, position: Any) -> int | None:
    if positions is None:
        return None
    apart = np.linalg.norm(positions - np.asarray(position, float), axis=1)
    place = int(apart.argmin())
    return place if apart[place] <= _APART_MM else None


def _check_place(
    uri: str, number: int, image: DicomVolume, place: int, position: Any, axes: Any
) -> None:
    """Refuse a frame that lies elsewhere, or turned, against the slice that it refers to."""
    positions = image.slices()[1]
    if positions is None or position is None:
        return
    is_there = np.allclose(positions[place], np.asarray(position, float), rtol=0, atol=_APART_MM)
    own = image.axes
    if axes is not None and own is not None:
        is_there &= np.allclose(
            own, np.reshape(np.asarray(axes, float), (2, 3)), rtol=0, atol=_PARALLEL
        )
    if not is_there:
        raise SampleError(
            "mask_size",
            f"frame {number} of {uri} lies elsewhere than slice {place} of {image.uri}, or turned "
            "against it; resample the segmentation to the image",
        )
