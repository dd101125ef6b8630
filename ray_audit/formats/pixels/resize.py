"""Bilinear resize without antialias, at decode: reads only the rows and columns it needs."""

import numpy as np

FULL_SCALE = {np.dtype(np.uint8): np.float32(255), np.dtype(np.uint16): np.float32(65535)}
"""What one is, per stored depth."""


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale to [0, 1] and resize, half-pixel centres (`align_corners=False`).

    The same arithmetic as `torch.nn.functional.interpolate(mode="bilinear", antialias=False)`
    on float32, which is what happens on the device to batches that are sent as decoded.

    Args:
        pixels: (H, W, C), uint8 or uint16.
        size: height and width of the result, in pixels.

    Returns:
        (height, width, C) float32 in [0, 1].
    """
    height, width = size
    num_channels = pixels.shape[2]
    top, bottom, down = _taps(pixels.shape[0], height)
    left, right, across = _taps(pixels.shape[1], width)
    # Rows of width * C values: whole rows are picked, then single values of them, and the
    # arithmetic runs along contiguous memory. Three times as fast as an index of two axes.
    left, right = _values(left, num_channels), _values(right, num_channels)
    across = across.repeat(num_channels)
    scale = FULL_SCALE[pixels.dtype]

    def row_of(rows: np.ndarray) -> np.ndarray:
        picked = pixels.take(rows, axis=0).reshape(height, -1)
        near = picked.take(left, axis=1, mode="clip") / scale
        far = picked.take(right, axis=1, mode="clip") / scale
        near *= 1 - across
        far *= across
        near += far
        return near

    upper, lower = row_of(top), row_of(bottom)
    upper *= (1 - down)[:, None]
    lower *= down[:, None]
    upper += lower
    return upper.reshape(height, width, num_channels)


def _values(columns: np.ndarray, num_channels: int) -> np.ndarray:
    """Places of the values of columns in a row of (column, channel)."""
    places: np.ndarray = (columns[:, None] * num_channels + np.arange(num_channels)).ravel()
    return places


def _taps(num_in: int, num_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each output element its two source elements and the weight of the second."""
    # float32 throughout, as torch: float64 would give other weights in large images.
    scale = np.float32(num_in) / np.float32(num_out)
    centres = np.arange(num_out, dtype=np.float32) + np.float32(0.5)
    source = np.maximum(centres * scale - np.float32(0.5), np.float32(0))
    first = np.minimum(source.astype(np.int64), num_in - 1)
    second = np.minimum(first + 1, num_in - 1)
    return first, second, source - first.astype(np.float32)


def pays_off(shape: tuple[int, ...], itemsize: int, size: tuple[int, int] | None) -> bool:
    """Whether the resized float32 image is smaller than the decoded one.

    Args:
        shape: (H, W, ...) as decoded.
        itemsize: bytes of a decoded value.
        size: height and width asked for, or None for no resize.
    """
    return size is not None and size[0] * size[1] * 4 < shape[0] * shape[1] * itemsize
