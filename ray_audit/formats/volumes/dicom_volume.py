"""DICOM series and multi-frame files as volumes: ordered by position, values as their tags say."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ray_audit import storage
from ray_audit.errors import LabelError, RayAuditError, SampleError, SpecificationError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.volumes.volume import Volume, VolumeHeader, check_inflated

_MISSING = "DICOM files need pydicom: pip install 'ray-audit[medical]'"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNEVEN = 0.01  # of the usual gap between slices
_PARALLEL = 1e-3
GREY = ("MONOCHROME1", "MONOCHROME2")
"""Photometric interpretations of images without colours."""
PALETTE = "PALETTE COLOR"
"""Photometric interpretation of indices, which are a label's values and an image's colours."""
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
"""SOP class of segmentations whose pixels are numbers of segments."""
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", LABEL_MAP)
"""SOP classes of segmentations."""


def pydicom() -> Any:
    """The library, imported where it is first needed.

    Raises:
        SpecificationError: it is not installed.
    """
    try:
        # Before 3.0.1 this asks the network (findings/importing_pydicom_asks_the_network.sh).
        import pydicom
    except ImportError as error:
        raise SpecificationError(_MISSING) from error
    return pydicom


def is_dicom(uri: str) -> bool:
    """Whether an address is that of a DICOM file, or of the files of a series."""
    return uri.lower().endswith((".dcm", ".[dd][cc][mm]"))


@dataclass(frozen=True)
class DicomFile:
    """What the tags of a file say of its frames.

    Attributes:
        uri: where it lies.
        series: SeriesInstanceUID.
        instance: SOPInstanceUID.
        number: InstanceNumber.
        shape: frames, rows and columns.
        dtype: of the values as stored.
        bits: BitsStored.
        scale: RescaleSlope and RescaleIntercept.
        positions: (frames, 3) millimetres of the first pixel of each frame, or None.
        axes: (2, 3) where columns and rows point (first along a row), or None.
        spacing: millimetres between rows and between columns.
        photometric: PhotometricInterpretation.
    """

    uri: str
    series: str
    instance: str
    number: int | None
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    bits: int
    scale: tuple[float, float]
    positions: np.ndarray | None
    axes: np.ndarray | None
    spacing: tuple[float, float]
    photometric: str


class DicomVolume(Volume):
    """A series (a file a slice) or a multi-frame file; its array is (slice, row, column).

    Slices are ordered by where they lie along the normal of their plane, never by name, and by
    number only where no file says where it lies. Values have RescaleSlope and RescaleIntercept of
    their own slice; MONOCHROME1 stays as it is stored.

    Args:
        uri: of a file, or a pattern of the files of a series.
        tally: counts what is read.
        is_labels: whether palette indices are taken, as the values that they are.

    Raises:
        SampleError: a file is no grey image, the slices are of several series, lie unevenly, or
            one is missing.
        StorageError: a file cannot be read.
    """

    name = "DICOM"

    def __init__(self, uri: str, tally: UnitAccounting, is_labels: bool = False) -> None:
        self.uri, self._tally = uri, tally
        taken = (*GREY, PALETTE) if is_labels else GREY
        files = [read_tags(uri, tally, taken) for uri in _files_at(uri)]
        _check_one_series(files)
        self._frames, affine = _in_order(files)
        first, scales = files[0], {file.scale for file, _ in self._frames}
        # The scales of some modalities (PET) differ from slice to slice.
        self._is_mixed = len(scales) > 1
        slope, inter = (1.0, 0.0) if self._is_mixed else first.scale
        dtype = np.dtype(np.float64) if self._is_mixed else first.dtype
        shape = (len(self._frames), *first.shape[1:])
        self.header = VolumeHeader(shape, 1, dtype, 0, slope, inter, affine)
        self._values: np.ndarray | None = None

    def stored(self, channel: int = 0) -> np.ndarray:
        """See `Volume.stored`."""
        if self._values is None:
            values = np.empty(self.header.shape, self.header.dtype)
            current: tuple[str, np.ndarray] = ("", np.empty(0))
            for place, (file, frame) in enumerate(self._frames):
                if current[0] != file.uri:
                    current = file.uri, read_frames(file, self._tally)
                slope, inter = file.scale if self._is_mixed else (1, 0)
                values[place] = current[1][frame] * slope + inter
            self._values = values
        return self._values

    @property
    def axes(self) -> np.ndarray | None:
        """(2, 3) where columns and rows point; None where the files do not say."""
        return self._frames[0][0].axes

    def slices(self) -> tuple[dict[tuple[str, int], int], np.ndarray | None]:
        """Slices by SOPInstanceUID and number of the frame in it, from 1; and their positions.

        Returns:
            Index by both; (slices, 3) millimetres, or None where the files do not say.
        """
        places = {(o.instance, frame + 1): k for k, (o, frame) in enumerate(self._frames)}
        found = [None if o.positions is None else o.positions[frame] for o, frame in self._frames]
        there = [item for item in found if item is not None]
        return places, np.stack(there) if len(there) == len(found) else None

    def write(self, stored: np.ndarray, to_uri: str) -> None:
        """See `Volume.write`.

        Raises:
            LabelError: always.
        """
        raise LabelError(f"{self.uri}: labels in DICOM files are not written back")


def _files_at(uri: str) -> list[str]:
    if not storage.has_wildcard(uri):
        return [uri]
    return [item.uri for item in storage.list_objects(uri)]


def num_slices_of_rest(uri: str, axis: int, tally: UnitAccounting) -> int | None:
    """Slices along an axis that a series would have of which files are damaged or missing.

    A file that tells nothing counts as one slice, and so does each number that is left out between
    the InstanceNumbers of files of one frame, where those count by ones. None where nothing tells.
    """
    if not storage.has_wildcard(uri):
        return None
    files, num_silent = list[DicomFile](), 0
    for name in _files_at(uri):
        try:
            files.append(read_tags(name, tally))
        except SampleError:
            num_silent += 1
    if axis:
        return files[0].shape[axis] if files else None
    return sum(file.shape[0] for file in files) + max(num_silent, _num_left_out(files))


def _num_left_out(files: Sequence[DicomFile]) -> int:
    numbers = [file.number for file in files if file.number is not None and file.shape[0] == 1]
    if len(numbers) < len(files) or len(set(numbers)) < len(numbers):
        return 0
    steps = Counter(np.diff(sorted(numbers)).tolist())
    is_by_ones = steps and steps.most_common(1)[0][0] == 1
    return sum(num * (step - 1) for step, num in steps.items()) if is_by_ones else 0


def read_tags(uri: str, tally: UnitAccounting, taken: tuple[str, ...] = GREY) -> DicomFile:
    """Read what comes before the pixels of a file.

    Raises:
        SampleError: it is no DICOM file, or its photometric interpretation is none of `taken`.
    """
    return tags_in(uri, tally.read_bytes(uri), taken)


def tags_in(uri: str, content: bytes, taken: tuple[str, ...] = GREY) -> DicomFile:
    """As `read_tags`, of a file that was read already."""
    try:
        tags = pydicom().dcmread(io.BytesIO(content), stop_before_pixels=True)
        found = _described(uri, tags, taken)
    except (RayAuditError, MemoryError):
        raise
    except Exception as error:  # pydicom raises many kinds
        raise SampleError("decode", f"{uri}: no readable DICOM file: {error}") from error
    num_bytes = found.dtype.itemsize * int(np.prod(found.shape)) // (8 if found.bits == 1 else 1)
    check_inflated(num_bytes * (1 if found.photometric in GREY else 3), len(content), found.shape)
    return found


def _described(uri: str, tags: Any, taken: tuple[str, ...]) -> DicomFile:
    if str(tags.get("SOPClassUID", "")) in SEGMENTATIONS:
        raise SampleError(
            "image_format",
            f"{uri} is a DICOM segmentation, whose frames are segments and no slices of an image: "
            "it goes with labels.masks; narrow dataset.uri to the images",
        )
    photometric = str(tags.get("PhotometricInterpretation", "none"))
    rows, columns = int(tags.get("Rows", 0)), int(tags.get("Columns", 0))
    if photometric not in taken or rows < 1 or columns < 1:
        of_colour = "of colour and palette images save the frames as image files or as a video"
        advice = f"a grey image ({', '.join(GREY)}): {of_colour}"
        raise SampleError(
            "image_format",
            f"{uri} has photometric interpretation {photometric}, {rows} rows and {columns} "
            f"columns; expected {advice if taken == GREY else ', '.join(taken)}",
        )
    allocated, signed = int(tags.BitsAllocated), int(tags.get("PixelRepresentation", 0))
    bits = int(tags.get("BitsStored", allocated))
    if allocated not in (1, 8, 16, 32) or not 1 <= bits <= allocated:
        raise SampleError("image_format", f"{uri} has {bits} of {allocated} bits a pixel")
    dtype = np.dtype(f"{'i' if signed else 'u'}{max(1, allocated // 8)}")
    num = int(tags.get("NumberOfFrames", 1) or 1)
    if num < 1:
        raise SampleError("image_format", f"{uri} has {num} frames")
    positions, axes, spacing, scale = _places(tags, num)
    series, number = str(tags.get("SeriesInstanceUID", "")), tags.get("InstanceNumber")
    return DicomFile(
        uri,
        series,
        str(tags.get("SOPInstanceUID", "")),
        None if number is None else int(number),
        (num, rows, columns),
        dtype,
        bits,
        scale,
        positions,
        axes,
        spacing,
        photometric,
    )


def _places(
    tags: Any, num: int
) -> tuple[np.ndarray | None, np.ndarray | None, tuple[float, float], tuple[float, float]]:
    """Positions, axes, spacing and scale: at the top, in shared groups, or in those of frames."""
    shared = first_of(tags.get("SharedFunctionalGroupsSequence"))
    frames = list(tags.get("PerFrameFunctionalGroupsSequence") or [])[:num]

    def found(group: str, tag: str, place: Any) -> Any:
        for holder in (place, shared):
            item = first_of(holder.get(group)) if holder is not None else None
            if item is not None and item.get(tag) is not None:
                return item.get(tag)
        return tags.get(tag)

    places: Sequence[Any] = frames if len(frames) == num else [None] * num
    points = [found("PlanePositionSequence", "ImagePositionPatient", place) for place in places]
    axes = found("PlaneOrientationSequence", "ImageOrientationPatient", places[0])
    spacing = found("PixelMeasuresSequence", "PixelSpacing", places[0]) or (1.0, 1.0)
    transform = "PixelValueTransformationSequence"
    scales = {
        (
            float(found(transform, "RescaleSlope", place) or 1),
            float(found(transform, "RescaleIntercept", place) or 0),
        )
        for place in places
    }
    if len(scales) > 1:
        raise SampleError("image_format", "its frames have different rescale slopes: save a series")
    is_placed = axes is not None and all(point is not None for point in points)
    is_placed &= num == 1 or len(frames) == num
    return (
        np.array(points, float).reshape(num, 3) if is_placed else None,
        np.array(axes, float).reshape(2, 3) if is_placed else None,
        (float(spacing[0]), float(spacing[1])),
        scales.pop(),
    )


def first_of(sequence: Any) -> Any:
    """The first item of a DICOM sequence; None where there is none."""
    return sequence[0] if sequence else None


def _check_one_series(files: Sequence[DicomFile]) -> None:
    first = files[0]
    for file in files[1:]:
        if file.series != first.series:
            raise SampleError(
                "image_format",
                f"{first.uri} and {file.uri} are of two series ({first.series}, {file.series}); "
                "put each series into a folder of its own",
            )
        if file.shape != first.shape or file.dtype != first.dtype:
            raise SampleError(
                "image_format",
                f"{first.uri} has {first.shape} {first.dtype} pixels, {file.uri} {file.shape} "
                f"{file.dtype}; expected slices of one size and type",
            )


def _in_order(
    files: Sequence[DicomFile],
) -> tuple[list[tuple[DicomFile, int]], np.ndarray | None]:
    """Frames by where they lie, and the affine of (slice, row, column).

    Raises:
        SampleError: `missing_slices`: they lie unevenly; or nothing says their order.
    """
    frames = [(file, frame) for file in files for frame in range(file.shape[0])]
    if any(file.positions is None or file.axes is None for file in files):
        return _by_number(files, frames), None
    axes, spacing = files[0].axes, files[0].spacing
    assert axes is not None
    turns = np.stack([file.axes for file in files if file.axes is not None])
    if not np.allclose(turns, axes, rtol=0, atol=_PARALLEL):
        raise SampleError("image_format", f"the slices of {files[0].uri} lie in different planes")
    points = np.concatenate([file.positions for file in files if file.positions is not None])
    along = points @ np.cross(axes[0], axes[1])
    order = np.argsort(along, kind="stable")
    points, along = points[order], along[order]
    frames = [frames[place] for place in order.tolist()]
    step = np.cross(axes[0], axes[1])
    if len(frames) > 1:
        _check_even(frames, along)
        step = (points[-1] - points[0]) / (len(points) - 1)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 3] = step, points[0]
    lps[:3, 1], lps[:3, 2] = axes[1] * spacing[0], axes[0] * spacing[1]
    affine: np.ndarray = _LPS_TO_RAS @ lps
    return frames, affine


def _by_number(
    files: Sequence[DicomFile], frames: list[tuple[DicomFile, int]]
) -> list[tuple[DicomFile, int]]:
    numbers = [file.number for file in files]
    if len(files) > 1 and (None in numbers or len(set(numbers)) < len(numbers)):
        raise SampleError(
            "image_format",
            f"nothing tells the order of the slices beside {files[0].uri}: they have neither "
            "ImagePositionPatient nor an InstanceNumber each",
        )
    return sorted(frames, key=lambda frame: (frame[0].number or 0, frame[1]))


def _check_even(frames: list[tuple[DicomFile, int]], along: np.ndarray) -> None:
    gaps = np.diff(along)
    usual = float(gaps.min())  # of a volume with holes: the others are larger
    at = int(gaps.argmax()) if usual > 0 else int(gaps.argmin())
    if usual <= 0 or abs(gaps[at] - usual) > _UNEVEN * usual:
        here, behind = frames[at][0].uri, frames[at + 1][0].uri
        raise SampleError(
            "missing_slices",
            f"between {here} and {behind} there are {gaps[at]:.3f} mm, between others "
            f"{usual:.3f} mm: slices are missing, there twice, or of several volumes; what lies "
            "behind would be put at a wrong place",
        )


def read_frames(file: DicomFile, tally: UnitAccounting) -> np.ndarray:
    """(frames, rows, columns) of a file, as stored.

    Raises:
        SampleError: the pixels cannot be decoded, or are others than the tags say.
    """
    return frames_in(file, tally.read_bytes(file.uri))


def frames_in(file: DicomFile, content: bytes) -> np.ndarray:
    """As `read_frames`, of a file that was read already."""
    try:
        tags = pydicom().dcmread(io.BytesIO(content))
        pixels = np.asarray(tags.pixel_array).reshape(file.shape)
    except (RayAuditError, MemoryError):
        raise
    except Exception as error:  # pydicom and its plug-ins raise many kinds
        raise SampleError("decode", f"{file.uri}: its pixels cannot be read: {error}") from error
    if file.bits == 1:
        return pixels.astype(np.uint8)
    # Bits above those stored may hold anything (overlays); the sign is the highest one stored.
    values = pixels.astype(np.int64) & ((1 << file.bits) - 1)
    if file.dtype.kind == "i":
        sign = 1 << (file.bits - 1)
        values = (values ^ sign) - sign
    return values.astype(file.dtype)
