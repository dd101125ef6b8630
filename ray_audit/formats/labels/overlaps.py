"""Which label holds where two rows of a table claim one frame or one time."""

import heapq
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ray_audit.config import Overlap


def chosen_frames(owners: np.ndarray, frames: np.ndarray, overlap: Overlap) -> np.ndarray:
    """Positions of the rows that hold, of rows sorted by owner, frame and row.

    Args:
        owners: (R,) owner of each row.
        frames: (R,) its frame.
        overlap: first or last row of a frame; drop: none where there are several.
    """
    same = (owners[1:] == owners[:-1]) & (frames[1:] == frames[:-1])
    is_first = np.concatenate([[True], ~same])[: len(frames)]
    is_last = np.concatenate([~same, [True]])[: len(frames)]
    kept = {"first": is_first, "last": is_last, "drop": is_first & is_last}[overlap]
    positions: np.ndarray = np.flatnonzero(kept)
    return positions


def disjoint(
    owners: np.ndarray, starts: np.ndarray, ends: np.ndarray, rows: np.ndarray, overlap: Overlap
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Segments cut so that none overlap, of segments sorted by owner and start.

    Args:
        owners: (R,) owner of each segment.
        starts: (R,) float64.
        ends: (R,) float64, exclusive.
        rows: (R,) row in the table.
        overlap: first: the earlier row holds where several claim a time; last: the later one;
            drop: none.

    Returns:
        For each piece, ascending by owner and start: position of its segment, start and end.
    """
    pieces: list[tuple[int, float, float]] = []
    bounds = np.flatnonzero(np.diff(owners)) + 1
    for group in np.split(np.arange(len(owners)), bounds):
        clash = starts[group[1:]] < np.maximum.accumulate(ends[group])[:-1]
        if clash.any():
            pieces += _cut(group, starts, ends, rows, overlap)
        else:
            pieces += [(int(k), float(starts[k]), float(ends[k])) for k in group]
    positions = np.array([piece[0] for piece in pieces], np.int64)
    new_starts, new_ends = (np.array([piece[at] for piece in pieces]) for at in (1, 2))
    return positions, new_starts, new_ends


def _cut(
    group: np.ndarray, starts: np.ndarray, ends: np.ndarray, rows: np.ndarray, overlap: Overlap
) -> Iterator[tuple[int, float, float]]:
    """The pieces of one owner: which segment holds between each two neighbouring edges."""
    edges = np.unique(np.concatenate([starts[group], ends[group]])).tolist()
    sign = -1 if overlap == "last" else 1
    active: list[tuple[int, int]] = []  # a heap of rows; one that ended leaves when it surfaces
    waiting = group.tolist()
    pending: tuple[int, float, float] | None = None
    at = 0
    for begin, end in pairwise(edges):
        while at < len(waiting) and starts[waiting[at]] <= begin:
            heapq.heappush(active, (sign * int(rows[waiting[at]]), waiting[at]))
            at += 1
        if overlap == "drop":
            active = [index for index in active if ends[index[1]] > begin]
        while active and ends[active[0][1]] <= begin:
            heapq.heappop(active)
        holds = active[0][1] if active and (overlap != "drop" or len(active) == 1) else None
        if pending is not None and (holds != pending[0] or pending[2] != begin):
            yield pending
            pending = None
        if holds is not None:
            pending = (holds, begin if pending is None else pending[1], end)
    if pending is not None:
        yield pending
