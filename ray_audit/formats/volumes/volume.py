"""A volume of any container: what its header says, its values, and a copy with other values."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from ray_audit import storage
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.closeable import Closeable

_WHOLE = 1e-3  # a label may lie this far from a whole number
_MOST = 0.25  # and one that was rounded to steps of a slope no farther than this


@dataclass(frozen=True)
class VolumeHeader:
    """What is known of a volume before its values are read.

    Attributes:
        shape: three sizes, in the order of the array that is customary for the container.
        num_channels: volumes along a fourth axis.
        dtype: of the stored values, in the file's byte order.
        axis: along which slices lie where nothing else is asked for.
        slope: value = stored * slope + inter.
        inter: see `slope`.
        affine: (4, 4) from array indices to millimetres, right, anterior and superior; None where
            the container says nothing of the kind.
    """

    shape: tuple[int, ...]
    num_channels: int
    dtype: np.dtype[Any]
    axis: int
    slope: float = 1.0
    inter: float = 0.0
    affine: np.ndarray | None = None

    @property
    def is_scaled(self) -> bool:
        """Whether a stored value is not the value itself."""
        return (self.slope, self.inter) != (1.0, 0.0)


class Volume(Closeable, ABC):
    """An opened volume: its header was read and held against the file's size.

    Attributes:
        name: of the container.
        uri: where it lies.
        header: what is known of it.
    """

    name: str
    uri: str
    header: VolumeHeader

    @abstractmethod
    def stored(self, channel: int = 0) -> np.ndarray:
        """Stored values of one channel, of `header.shape` and `header.dtype`; read once.

        Raises:
            SampleError, or whatever the library of a damaged file raises.
        """

    @abstractmethod
    def write(self, stored: np.ndarray, to_uri: str) -> None:
        """A copy with other values in the only channel; header and all else as they are.

        Raises:
            LabelError: the container cannot be written.
        """

    def copy(self, to_uri: str) -> None:
        """A copy, byte for byte."""
        storage.copy(self.uri, to_uri)


def read_values(volume: Volume, channel: int = 0) -> np.ndarray:
    """Stored values, with the file's address in what is wrong with them."""
    try:
        return volume.stored(channel)
    except SampleError as error:
        raise SampleError(error.error_class, f"{volume.uri}: {error}") from error


def check_inflated(claimed: int, size_bytes: int, shape: tuple[int, ...]) -> None:
    """Refuse what is compressed and would fill the memory.

    Raises:
        SampleError: `too_large`.
    """
    if storage.inflates_too_far(size_bytes, claimed):
        raise SampleError(
            "too_large",
            f"the volume of shape {shape} would inflate from {size_bytes} to {claimed} bytes, "
            "which is more than 256 MiB and 100 times as much; save it in a smaller type, or "
            "without compression",
        )


def check_claimed(claimed: int, size_bytes: int) -> None:
    """Refuse a file that is shorter than its header says.

    Raises:
        SampleError: `decode`.
    """
    if claimed > size_bytes:
        raise SampleError(
            "decode",
            f"its header claims {claimed} bytes, the file has {size_bytes}: it was cut off",
        )


def whole_values(stored: np.ndarray, header: VolumeHeader) -> np.ndarray:
    """Labels of a slice, (H, W) int32: stored integers, scaled where the header says so.

    Truth values stay what they are.

    Raises:
        SampleError: `mask_format`: a value is no whole number, or none of 32 bits.
    """
    if stored.dtype.kind == "b":
        return stored
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


def stored_numbers(labels: np.ndarray, header: VolumeHeader) -> np.ndarray:
    """Labels as the volume stores them, so that `whole_values` gives them back.

    Args:
        labels: integers, any shape.
        header: of the volume.

    Raises:
        LabelError: its type cannot hold one of them, or its scale cannot tell it.
    """
    values = (labels.astype(np.float64) - header.inter) / header.slope
    if header.dtype.kind != "f":
        values = np.rint(values)
        low, high = (0, 1) if header.dtype.kind == "b" else _limits(header.dtype)
        outside = (values < low) | (values > high)
        if outside.any():
            raise LabelError(
                f"label {labels[outside].flat[0]} does not fit the label volume's type "
                f"{header.dtype} with slope {header.slope:g} and intercept {header.inter:g}; save "
                "the volume in a wider type without a scale"
            )
    stored = values.astype(header.dtype)
    try:
        same = np.array_equal(whole_values(stored, header), labels)
    except SampleError:
        same = False
    if not same:
        raise LabelError(
            f"labels do not come back whole from the label volume's type {header.dtype} with slope "
            f"{header.slope:g} and intercept {header.inter:g}; save the volume without a scale"
        )
    return stored


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _tolerance(header: VolumeHeader) -> float:
    """How far from a whole number a label may lie: half a step, where writers round to steps.

    nibabel spreads floats over all of an integer type: 0 to 254 in 16 bits are steps of 0.004.
    """
    if header.dtype.kind == "f":
        return _WHOLE
    return max(_WHOLE, min(0.51 * abs(header.slope), _MOST))


def check_window(header: VolumeHeader, window: tuple[float, float] | None) -> None:
    """Refuse values of which nobody says what is black and what is white.

    Raises:
        SampleError: `image_format`: not unsigned values of 8 or 16 bits, and no window.
    """
    if window is None and (
        header.is_scaled or header.dtype.kind != "u" or header.dtype.itemsize > 2
    ):
        raise SampleError(
            "image_format",
            f"the volume has type {header.dtype}, slope {header.slope:g} and intercept "
            f"{header.inter:g}: give dataset.volume.window, the values that become 0 and 1 "
            "([-160, 240] for soft tissue in CT)",
        )


def windowed(
    stored: np.ndarray, header: VolumeHeader, window: tuple[float, float] | None
) -> np.ndarray:
    """A slice as an image: (H, W) uint16, 0 at the window's low end, 65535 at its high one.

    Without a window, unsigned values of 8 or 16 bits come as they are stored. NaN becomes 0.

    Raises:
        SampleError: see `check_window`.
    """
    check_window(header, window)
    if window is None:
        return stored.astype(header.dtype.newbyteorder("="))
    low, high = window
    values = stored.astype(np.float64) * header.slope + header.inter
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0)
    pixels: np.ndarray = np.rint(np.nan_to_num(scaled, nan=0.0) * 65535).astype(np.uint16)
    return pixels
