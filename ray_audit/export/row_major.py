"""Regions as run lengths in row order, as CVAT and Label Studio write them."""

import numpy as np
import numpy.typing as npt

from ray_audit import rle
from ray_audit.export.content import Row

_SIZES_BITS = (3, 4, 8, 16)
_WORD_BITS = 8
_CHANNELS = 4  # Label Studio writes each pixel as four equal bytes


def cropped(row: Row) -> npt.NDArray[np.bool_]:
    """(h, w) mask of a finding within its box."""
    size = (int(row["mask_size_px"][0]), int(row["mask_size_px"][1]))
    x0, y0, x1, y1 = row["box"]
    mask = np.zeros((y1 - y0, x1 - x0), bool)
    for start, stop in rle.by_column(rle.decode_runs(row["mask_rle"], size), size[0]):
        x, y = divmod(int(start), size[0])
        mask[y - y0 : y - y0 + int(stop - start), x - x0] = True
    return mask


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
    bits = [f"{height * width * _CHANNELS:032b}", f"{_WORD_BITS - 1:05b}"]
    bits += [f"{size_bits - 1:04b}" for size_bits in _SIZES_BITS]
    for index, length in enumerate(np.diff(edges).tolist()):
        bits += _runs(length, 255 if index % 2 else 0)
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0")).tolist()


def _runs(length: int, byte: int) -> list[str]:
    bits = []
    while length:
        part = min(length, 1 << _SIZES_BITS[-1])
        which = next(i for i, size in enumerate(_SIZES_BITS) if part <= 1 << size)
        bits.append(f"1{which:02b}{part - 1:0{_SIZES_BITS[which]}b}{byte:08b}")
        length -= part
    return bits
