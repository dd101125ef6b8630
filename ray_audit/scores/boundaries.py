"""Boundaries between segments that come too early or too late.

The order of segments cannot see a shifted boundary, and the loss of a whole segment hardly feels
one. But the frames between the given and the true boundary have one thing in common: the
checkpoints see the class of the neighbouring segment there, from the boundary outward and without
a gap. Needs a model that looks at neighbouring frames; one that sees single frames hardly knows
where a phase begins.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ray_audit.scores.csl import segment_ids, segment_rows

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BoundaryShifts:
    """What speaks for moving the boundaries of one video; positions count frames from 0.

    Attributes:
        score: (T,) float64, 0 to 1, high is suspicious: the probability of the neighbouring
            segment's class that is reached from the boundary up to this frame without a gap (the
            running minimum of its mean over checkpoints). 0 where the checkpoints never name
            that class, in the middle of odd segments and in a lone segment; NaN where unlabelled.
        suggested: (T,) int64 for a frame that the best shift would relabel: position of the first
            frame after the moved boundary; else -1.
        boundaries: (S - 1, 2) int64 given and suggested position of each boundary; equal where
            it should stay.
        evidence: (S - 1,) float64 sum of p(neighbour) - p(given) over the frames to be
            relabelled, each a mean over checkpoints: at most their number; 0 where it stays.
    """

    score: Floats
    suggested: Integers
    boundaries: Integers
    evidence: Floats


def boundary_shift(
    labels: npt.NDArray[np.integer],
    p_label: npt.NDArray[np.floating],
    p_other: npt.NDArray[np.floating],
    other: npt.NDArray[np.integer],
) -> BoundaryShifts:
    """Find for each boundary the shift that the checkpoints speak for most. Our definition.

    p(neighbour) is `p_other` where the best other class is that of the neighbouring segment, else
    0. From the boundary outward, into half of the segment (its other half belongs to its other
    boundary; beyond that, the whole segment is in question), the sum of p(neighbour) - p(given) is
    largest at some length: that is the shift, in the direction with the larger sum, if above 0.

    Args:
        labels: (T,) given class per frame of ONE video in frame order; negative = unlabelled.
        p_label: (T, E) probability of the given class; NaN speaks for nothing.
        p_other: (T, E) probability of the best other class.
        other: (T, E) index of that class.

    Raises:
        ValueError: the shapes do not belong together.

    >>> given, seen = np.array([0, 0, 0, 0, 0, 1]), np.array([[0], [0], [0], [1], [1], [1]])
    >>> p_label = np.where(given[:, None] == seen, 0.75, 0.25)
    >>> found = boundary_shift(given, p_label, 1 - p_label, np.array([[1]] * 5 + [[0]]))
    >>> found.boundaries.tolist(), found.evidence.tolist(), found.score.tolist()
    ([[5, 3]], [1.0], [0.0, 0.0, 0.0, 0.75, 0.75, 0.0])
    """
    labels, other = np.asarray(labels), np.asarray(other)
    p_label, p_other = np.nan_to_num(p_label), np.nan_to_num(p_other)
    if not (len(labels),) == p_label.shape[:1] == p_other.shape[:1] == other.shape[:1]:
        raise ValueError(
            f"{len(labels)} labels for p_label {p_label.shape}, p_other {p_other.shape} and other "
            f"{other.shape}; expected (T,) and three times (T, E)"
        )
    ids = segment_ids(labels)
    segments = segment_rows(ids)
    score = np.where(ids >= 0, 0.0, np.nan)
    suggested = np.full(len(labels), -1, np.int64)
    boundaries = np.array([[rows[0]] * 2 for rows in segments[1:]], np.int64).reshape(-1, 2)
    evidence = np.zeros(len(boundaries))
    for at, (before, after) in enumerate(pairwise(segments)):
        if max(len(before), len(after)) < 2:  # nothing that could move
            continue
        shifts = []
        for rows, neighbour in ((before[::-1], labels[after[0]]), (after, labels[before[0]])):
            half = rows[: len(rows) // 2]
            p = np.where(other[half] == neighbour, p_other[half], 0.0).mean(axis=1)
            score[half] = np.minimum.accumulate(p)
            shifts.append(_best_shift(p - p_label[half].mean(axis=1)))
        (early, num_early), (late, num_late) = shifts
        evidence[at] = max(early, late)
        if early >= late and num_early:
            boundaries[at, 1] = before[-num_early]
            suggested[before[-num_early:]] = before[-num_early]
        elif num_late:
            boundaries[at, 1] = after[num_late]
            suggested[after[:num_late]] = after[num_late]
    return BoundaryShifts(score, suggested, boundaries, evidence)


def _best_shift(gain: Floats) -> tuple[float, int]:
    """Largest sum of the first n gains, and that n; 0 and 0 where no sum is above 0."""
    sums = np.concatenate([[0.0], np.cumsum(gain)])
    num_frames = int(sums.argmax())
    return float(sums[num_frames]), num_frames
