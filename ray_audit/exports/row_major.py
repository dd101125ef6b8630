"""Regions as run lengths in row order, as CVAT and Label Studio write them."""

import numpy as np
import numpy.typing as npt

from ray_audit import rle
from ray_audit.exports.content import Row

_SIZES_BITS = (3, 4, 8, 16)
_WORD_BITS = 8
_CHANNELS = 4  # Label Studio writes each pixel as four equal bytes


def cropped(row: Row) -> npt.NDArray[np.bool_]:
    """(h, w) mask of a finding within its box."""
    size = (int(row["mask_size_px"][0]), int(row["mask_size_px"][1]))
    x0, y0, x1, y1 = row["box"]
    height = y1 - y0
    runs = rle.by_column(rle.decode_runs(row["mask_rle"], size), size[0])
    x, y = np.divmod(runs[:, 0], size[0])
    starts = (x - x0) * height + y - y0
    change = np.zeros((x1 - x0) * height + 1, np.int8)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + runs[:, 1] - runs[:, 0], -1)
    return np.cumsum(change[:-1], dtype=np.int8).astype(bool).reshape(x1 - x0, height).T


def cvat_counts(mask: npt.NDArray[np.bool_]) -> str:
    """Lengths of runs in row order, the first of pixels outside.

    >>> cvat_counts(np.array([[True, True], [False, True]]))
    '0, 2, 1, 1'
    """
    runs = rle.runs_of(mask.T)  # column by column of the transposed: row by row
    edges = np.concatenate([[0], runs.ravel(), [mask.size]])
    counts = np.diff(edges)
    return ", ".join(map(str, counts[:-1] if not counts[-1] else counts))


def label_studio_bytes(mask: npt.NDArray[np.bool_], box: list[int], size: list[int]) -> list[int]:
    """A region in Label Studio's run-length code of an RGBA image.

    The number of bytes in 32 bits, word and run sizes, then runs of equal bytes: a 1, which of the
    four sizes, the length less 1, and the byte.

    Args:
        mask: (h, w) within its box.
        box: x0, y0, x1, y1 of the mask in the image.
        size: height and width of the image.
    """
    height, width = size
    inside = rle.runs_of(mask.T)
    inside = rle.by_column(inside, mask.shape[1])  # a run ends where its row does
    y, x = np.divmod(inside[:, 0], mask.shape[1])
    starts = (y + box[1]) * width + x + box[0]
    stops = starts + (inside[:, 1] - inside[:, 0])
    joined = rle.union([np.stack([starts, stops], axis=1)])
    edges = np.concatenate([[0], joined.ravel(), [height * width]]) * _CHANNELS
    head = f"{height * width * _CHANNELS:032b}{_WORD_BITS - 1:05b}"
    head += "".join(f"{size_bits - 1:04b}" for size_bits in _SIZES_BITS)
    before = np.array([*head], np.uint8)
    return np.packbits(np.concatenate([before, _run_bits(np.diff(edges))])).tolist()


def _run_bits(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Bits of runs of 0 and 255 by turns; one that is too long for its code becomes several."""
    limit = 1 << _SIZES_BITS[-1]
    num = -(-lengths // limit)
    byte = np.repeat(np.arange(len(lengths)) % 2 * 255, num)
    part = np.full(len(byte), limit)
    ends = np.cumsum(num) - 1
    part[ends[num > 0]] = (lengths - (num - 1) * limit)[num > 0]
    sizes = np.array(_SIZES_BITS)
    which = np.searchsorted(1 << sizes, part)
    code = ((4 | which) << sizes[which] | (part - 1)) << _WORD_BITS | byte
    widths = 3 + sizes[which] + _WORD_BITS
    place = np.arange(widths.max(initial=0))
    wide = (code[:, None] >> np.maximum(widths[:, None] - 1 - place, 0)) & 1
    bits: npt.NDArray[np.uint8] = wide[place < widths[:, None]].astype(np.uint8)
    return bits
