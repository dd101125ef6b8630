"""NIfTI files as nibabel describes them: header first, then bounded bytes."""

import gzip
import io
import math
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from ray_audit import storage
from ray_audit.errors import SampleError, SpecificationError

_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_COPY_BYTES = 2**20
_WHOLE = 1e-3  # a label may lie this far from a whole number
_MOST = 0.25  # and one that was rounded to steps of a slope no farther than this
_MISSING = "NIfTI files need nibabel: pip install 'ray-audit[medical]'"


@dataclass(frozen=True)
class VolumeHeader:
    """What is known of a volume before its values are read.

    Attributes:
        shape: three sizes, or four where the fourth is above 1.
        dtype: of the stored values, in the file's byte order.
        slope: value = stored * slope + inter.
        inter: see `slope`.
        affine: (4, 4) from voxels to millimetres.
        offset: byte at which the values begin.
        image: nibabel's own header.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    slope: float
    inter: float
    affine: np.ndarray
    offset: int
    image: Any

    @property
    def is_scaled(self) -> bool:
        """Whether a stored value is not the value itself."""
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def channel_bytes(self) -> int:
        """Bytes of the three first axes."""
        return math.prod(self.shape[:3]) * self.dtype.itemsize


def nibabel() -> Any:
    """The library, imported where it is first needed.

    Raises:
        SpecificationError: it is not installed.
    """
    try:
        import nibabel
    except ImportError as error:
        raise SpecificationError(_MISSING) from error
    return nibabel


def is_zipped(uri: str) -> bool:
    """Whether a file of this name is compressed."""
    return uri.lower().endswith(".gz")


def inflated(stream: IO[bytes], uri: str) -> IO[bytes]:
    """The stream of what a file holds."""
    return gzip.GzipFile(fileobj=stream) if is_zipped(uri) else stream  # type: ignore[return-value]


def read_header(stream: IO[bytes]) -> VolumeHeader:
    """Read a header from the beginning of an inflated stream.

    Raises:
        SampleError: `decode`: it is none.
    """
    nib = nibabel()
    content = stream.read(_HEADER_BYTES)
    is_second = any(content[:4] == (540).to_bytes(4, order) for order in ("little", "big"))
    kind = nib.Nifti2Header if is_second else nib.Nifti1Header
    try:
        image = kind.from_fileobj(io.BytesIO(content))
        slope, inter = image.get_slope_inter()
        shape = tuple(int(size) for size in image.get_data_shape())
        found = VolumeHeader(
            _squeezed(shape),
            image.get_data_dtype(),
            1.0 if slope is None else float(slope),
            0.0 if inter is None else float(inter),
            image.get_best_affine(),
            int(image.get_data_offset()),
            image,
        )
    except Exception as error:  # nibabel raises many kinds
        raise SampleError("decode", f"no readable NIfTI header: {error}") from error
    if bytes(image["magic"].item())[:2] != b"n+":
        raise SampleError(
            "decode",
            "the NIfTI file has its values in a file of their own (.img); save it as one file",
        )
    _check_header(found)
    return found


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Three or four axes: writers leave out trailing ones, or add them."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape + (1,) * (3 - len(shape))


def _check_header(header: VolumeHeader) -> None:
    if not 3 <= len(header.shape) <= 4 or min(header.shape) < 1 or header.dtype.kind not in "iuf":
        raise SampleError(
            "decode",
            f"the volume has shape {header.shape} and type {header.dtype}; expected three axes of "
            "numbers, or four with channels",
        )


def check_size(header: VolumeHeader, size_bytes: int, uri: str) -> None:
    """Refuse what would fill the memory, by the header alone.

    Raises:
        SampleError: `too_large`, or `decode` where a file that is not compressed is too short.
    """
    claimed = header.offset + header.channel_bytes * math.prod(header.shape[3:])
    if is_zipped(uri) and storage.inflates_too_far(size_bytes, claimed):
        raise SampleError(
            "too_large",
            f"the volume of shape {header.shape} would inflate from {size_bytes} to {claimed} "
            "bytes, which is more than 256 MiB and 100 times as much; save it in a smaller type, "
            "or as .nii",
        )
    if not is_zipped(uri) and claimed > size_bytes:
        raise SampleError(
            "decode",
            f"its header claims {claimed} bytes, the file has {size_bytes}: it was cut off",
        )


def read_stored(stream: IO[bytes], header: VolumeHeader, channel: int = 0) -> np.ndarray:
    """Stored values of the three first axes, in the file's own type.

    Args:
        stream: inflated, as `read_header` left it.
        header: from it, its size checked.
        channel: position on the fourth axis.

    Raises:
        SampleError: `decode`: the file ends before its values do.
        OSError, zlib.error: it is damaged.
    """
    stream.seek(header.offset + channel * header.channel_bytes)
    values = np.empty(header.channel_bytes, np.uint8)
    at = 0
    while at < len(values):
        chunk = stream.read(min(_COPY_BYTES, len(values) - at))
        if not chunk:
            raise SampleError("decode", f"it was cut off: {at} of {len(values)} bytes are there")
        values[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
        at += len(chunk)
    if channel == math.prod(header.shape[3:]) - 1:
        stream.read(1)  # the end of a gzip stream, where its checksum is
    return values.view(header.dtype).reshape(header.shape[:3], order="F")


def whole_values(stored: np.ndarray, header: VolumeHeader) -> np.ndarray:
    """Labels of a slice, (H, W) int32: stored integers, scaled where the header says so.

    Raises:
        SampleError: `mask_format`: a value is no whole number, or none of 32 bits.
    """
    values = stored
    if header.is_scaled:
        values = stored.astype(np.float64) * header.slope + header.inter
    if values.dtype.kind == "f":
        # Rounded, never cut off: a label that was scaled comes back a little below itself.
        rounded = np.rint(values)
        is_whole = np.abs(values - rounded) <= _tolerance(header)  # false for NaN, too
        if not is_whole.all():
            raise SampleError(
                "mask_format",
                f"the label volume holds {values[~is_whole][0]:.6g}, which is no whole number; "
                "expected class indices (was it resampled without nearest neighbours?)",
            )
        values = rounded
    limits = np.iinfo(np.int32)
    if values.size and (values.min() < limits.min or values.max() > limits.max):
        raise SampleError("mask_format", f"label {values.max()} does not fit 32 bits")
    return values.astype(np.int32)


def _tolerance(header: VolumeHeader) -> float:
    """How far from a whole number a label may lie: half a step, where writers round to steps.

    nibabel spreads floats over all of an integer type: 0 to 254 in 16 bits are steps of 0.004.
    """
    if header.dtype.kind == "f":
        return _WHOLE
    return max(_WHOLE, min(0.51 * abs(header.slope), _MOST))


def windowed(
    stored: np.ndarray, header: VolumeHeader, window: tuple[float, float] | None
) -> np.ndarray:
    """A slice as an image: (H, W) uint16, 0 at the window's low end, 65535 at its high one.

    Without a window, unsigned values of 8 or 16 bits come as they are stored. NaN becomes 0.

    Raises:
        SampleError: `image_format`: values of another type, and no window.
    """
    if window is None:
        if header.is_scaled or header.dtype.kind != "u" or header.dtype.itemsize > 2:
            raise SampleError(
                "image_format",
                f"the volume has type {header.dtype}, slope {header.slope:g} and intercept "
                f"{header.inter:g}: give dataset.volume.window, the values that become 0 and 1 "
                "([-160, 240] for soft tissue in CT)",
            )
        return stored.astype(header.dtype.newbyteorder("="))
    low, high = window
    values = stored.astype(np.float64) * header.slope + header.inter
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0)
    pixels: np.ndarray = np.rint(np.nan_to_num(scaled, nan=0.0) * 65535).astype(np.uint16)
    return pixels
