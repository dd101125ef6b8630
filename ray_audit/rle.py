"""Masks as runs, and as COCO's compressed run-length counts (column-major), in numpy alone.

A position is x * H + y. Runs are an (R, 2) int64 array of first position and position after the
last: sorted, apart from each other. So a small region of a huge image never becomes an image.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Runs = npt.NDArray[np.int64]
Size = tuple[int, int]
Box = tuple[int, int, int, int]

_BITS = 5
_MORE, _SIGN, _LOW = 0x20, 0x10, 0x1F
_FIRST_CHARACTER = 48
_MAX_CHARACTERS = 13  # of one count: 64 bits


def encode(mask: npt.NDArray[np.bool_]) -> str:
    """COCO counts of an (H, W) mask, as pycocotools writes them.

    >>> encode(np.array([[False, True], [False, True]]))
    '22'
    """
    return encode_runs(runs_of(mask), (mask.shape[0], mask.shape[1]))


def decode(counts: str, size: Size) -> npt.NDArray[np.bool_]:
    """(H, W) mask of COCO counts.

    Raises:
        ValueError: the counts are no run-length code of a mask of this size.
    """
    flat = np.zeros(size[0] * size[1], bool)
    for start, stop in decode_runs(counts, size):
        flat[start:stop] = True
    return flat.reshape(size[1], size[0]).T


def runs_of(mask: npt.NDArray[np.bool_]) -> Runs:
    """Runs of an (H, W) mask."""
    return runs_at(np.flatnonzero(np.asarray(mask, bool).T))


def runs_at(positions: npt.NDArray[np.integer]) -> Runs:
    """Runs of sorted, distinct positions.

    >>> runs_at(np.array([3, 4, 5, 9])).tolist()
    [[3, 6], [9, 10]]
    """
    positions = np.asarray(positions, np.int64)
    first = np.flatnonzero(np.diff(positions, prepend=-2) != 1)
    last = np.append(first[1:], len(positions))[: len(first)] - 1
    return np.stack([positions[first], positions[last] + 1], axis=1)


def encode_runs(runs: Runs, size: Size) -> str:
    """COCO counts of runs in an image of `size` (height, width)."""
    edges = np.concatenate([[0], runs.ravel(), [size[0] * size[1]]])
    counts = np.diff(edges)
    if len(counts) > 1 and not counts[-1]:
        counts = counts[:-1]
    # From the fourth on, COCO writes the difference from the last but one.
    values = counts.copy()
    values[3:] -= counts[1:-2]
    return _characters(values)


def _characters(values: Runs) -> str:
    """5 bits a character, low ones first, with a sign bit and a bit for "more follows"."""
    lengths = np.arange(1, _MAX_CHARACTERS)
    limits = np.int64(1) << (_BITS * lengths - 1)
    # n characters hold -2^(5n-1) to 2^(5n-1) - 1.
    magnitude = np.where(values < 0, -values - 1, values)
    num = np.searchsorted(limits, magnitude, side="right") + 1
    place = np.arange(num.max())
    low = (values[:, None] >> (_BITS * place)) & _LOW
    more = np.where(place < num[:, None] - 1, _MORE, 0)
    characters = (low + more + _FIRST_CHARACTER)[place < num[:, None]]
    text: str = characters.astype(np.uint8).tobytes().decode("ascii")
    return text


def decode_runs(counts: str, size: Size) -> Runs:
    """Runs of COCO counts in an image of `size` (height, width).

    Raises:
        ValueError: the counts are no run-length code of a mask of this size.
    """
    values = _values(counts)
    for parity in (1, 2):
        values[parity::2] = np.cumsum(values[parity::2])
    edges = np.cumsum(values)
    if (values < 0).any() or int(edges[-1]) != size[0] * size[1]:
        raise ValueError(
            f"run-length counts of {int(edges[-1])} px for an image of {size[0]} x {size[1]} "
            "(height x width): counts and size do not belong together"
        )
    return edges[: len(edges) // 2 * 2].reshape(-1, 2)


def _values(counts: str) -> Runs:
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - _FIRST_CHARACTER
    is_last = codes < _MORE
    if not len(codes) or not is_last[-1] or codes.min() < 0 or codes.max() >= 2 * _MORE:
        raise ValueError(f"{counts[:40]!r} is no compressed run-length code")
    ends = np.flatnonzero(is_last)
    starts = np.append(0, ends[:-1] + 1)
    place = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    values: Runs = np.add.reduceat((codes & _LOW) << (_BITS * place), starts)
    negative = (codes[ends] & _SIGN) > 0
    return values - np.where(negative, np.int64(1) << (_BITS * (ends - starts + 1)), 0)


def area(runs: Runs) -> int:
    """Pixels."""
    return int((runs[:, 1] - runs[:, 0]).sum())


def box(runs: Runs, height: int) -> Box:
    """x0, y0, x1, y1 (exclusive) of runs that are not empty.

    >>> box(np.array([[11, 13]]), height=10)
    (1, 1, 2, 3)
    """
    columns = by_column(runs, height)
    top, bottom = columns[:, 0] % height, (columns[:, 1] - 1) % height + 1
    left, right = columns[0, 0] // height, columns[-1, 0] // height + 1
    return int(left), int(top.min()), int(right), int(bottom.max())


def first_pixel(runs: Runs, height: int) -> tuple[int, int]:
    """x, y of the first pixel in row order of runs that are not empty."""
    starts = by_column(runs, height)[:, 0]
    y = starts % height
    return int((starts[y == y.min()] // height).min()), int(y.min())


def by_column(runs: Runs, height: int) -> Runs:
    """The same pixels in runs that end where a column ends."""
    first, last = runs[:, 0] // height, (runs[:, 1] - 1) // height
    num = last - first + 1
    place = np.arange(num.sum()) - np.repeat(np.cumsum(num) - num, num)
    top = (np.repeat(first, num) + place) * height
    starts = np.maximum(np.repeat(runs[:, 0], num), top)
    stops = np.minimum(np.repeat(runs[:, 1], num), top + height)
    return np.stack([starts, stops], axis=1)


def union(several: Sequence[Runs]) -> Runs:
    """Pixels that lie in any of them."""
    runs = np.concatenate([np.empty((0, 2), np.int64), *several])
    runs = runs[np.lexsort((runs[:, 1], runs[:, 0]))]
    reach = np.maximum.accumulate(runs[:, 1])
    first = np.flatnonzero(np.append(True, runs[1:, 0] > reach[:-1])[: len(runs)])
    last = np.append(first[1:], len(runs))[: len(first)] - 1
    return np.stack([runs[first, 0], reach[last]], axis=1)


def iou(left: Runs, right: Runs) -> float:
    """Intersection over union, 0 to 1; 0 where both are empty."""
    whole = area(union([left, right]))
    return (area(left) + area(right) - whole) / whole if whole else 0.0


def touch(left: Runs, right: Runs, height: int) -> bool:
    """Whether a pixel of one is, or is a 4-neighbour of, a pixel of the other."""
    # A step up or down does not lead into the next column.
    starts = left[:, 0] - (left[:, 0] % height != 0)
    stops = left[:, 1] + (left[:, 1] % height != 0)
    tall = np.stack([starts, stops], axis=1)
    return any(_meet(run, right) for run in (tall, left - height, left + height))


def _meet(left: Runs, right: Runs) -> bool:
    place = np.searchsorted(right[:, 1], left[:, 0], side="right")
    found = place < len(right)
    return bool((right[place[found], 0] < left[found, 1]).any())
