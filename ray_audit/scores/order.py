"""Disorder of segments from the given labels alone: no model, no pixels.

Where a procedure has a usual order, a wrong or exchanged segment shows as transitions that other
videos hardly ever make. Our definition: transitions are counted over all videos, and each
video is judged by the counts of the others, so that its own errors do not vouch for themselves.
Blind to shifted boundaries, and to an error that most videos share.
"""

import numpy as np
import numpy.typing as npt

from ray_audit.scores.csl import segment_ids

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SMOOTHING = 1.0


def transition_counts(labels: npt.NDArray[np.integer], num_classes: int) -> Integers:
    """Count the transitions between the segments of one video.

    Args:
        labels: (T,) given class per frame in frame order, negative where unlabelled; unlabelled
            frames do not end a segment.
        num_classes: K.

    Returns:
        (K + 1, K + 1) int64, from row to column; index K is the start of the video as a row and
        its end as a column. Counts of videos are added.

    >>> transition_counts(np.array([0, 0, 1]), 2).tolist()
    [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    """
    counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    path = _path(labels, num_classes)
    if len(path) > 2:
        np.add.at(counts, (path[:-1], path[1:]), 1)
    return counts


def order_nll(
    labels: npt.NDArray[np.integer], counts: Integers, smoothing: float = SMOOTHING
) -> Floats:
    """How unusual the transitions into and out of a frame's segment are; high is suspicious.

    -log P(this | previous) - log P(next | this), with P from the counts of all other videos plus
    `smoothing` per transition. A constant where nothing is known (one video).

    Args:
        labels: (T,) given class per frame of ONE video in frame order; negative = unlabelled.
        counts: (K + 1, K + 1) sum of `transition_counts` over all videos, this one included.
        smoothing: pseudo-count, above 0.

    Returns:
        (T,) float64 in nats, at least 0; NaN where unlabelled.

    Raises:
        ValueError: `counts` do not include the transitions of this video.
    """
    num_classes = len(counts) - 1
    others = counts - transition_counts(labels, num_classes)
    if (others < 0).any():
        raise ValueError(
            "transition counts do not include those of the video to be scored; add the counts of "
            "all videos first, this one too"
        )
    weights = others + smoothing
    nll = -np.log(weights / weights.sum(axis=1, keepdims=True))
    path = _path(labels, num_classes)
    steps = nll[path[:-1], path[1:]]
    ids = segment_ids(labels)
    values = np.full(len(ids), np.nan)
    labelled = ids >= 0
    values[labelled] = (steps[:-1] + steps[1:])[ids[labelled]]
    return values


def order_strictness(counts: Integers) -> float:
    """How far the previous segment determines the next: 0 (not at all) to 1 (a fixed order).

    Mutual information of consecutive segments divided by the entropy of the next one, from the
    counts of all videos; the start and the end of a video are segments too. Our definition;
    below about 0.5 the order says little, and `order_nll` should not be trusted. Few videos
    bias it upwards.

    Args:
        counts: (K + 1, K + 1) sum of `transition_counts`.

    Returns:
        Fraction; NaN where nothing was counted or every next segment is the same.

    >>> order_strictness(transition_counts(np.array([0, 1, 2]), 3))
    1.0
    """
    total = counts.sum()
    if not total:
        return float("nan")
    joint = counts / total
    before, after = joint.sum(axis=1), joint.sum(axis=0)
    entropy = -_plogp(after)
    if entropy <= 0:
        return float("nan")
    information = _plogp(joint.ravel()) - _plogp(before) - _plogp(after)
    return float(np.clip(information / entropy, 0.0, 1.0))


def _path(labels: npt.NDArray[np.integer], num_classes: int) -> Integers:
    """Classes of the segments in order, between the start and the end (both index K)."""
    labels = np.asarray(labels)
    if labels.size and labels.max() >= num_classes:
        raise ValueError(f"label {labels.max()} with {num_classes} classes; expected 0..K-1")
    labelled = labels >= 0
    given, ids = labels[labelled], segment_ids(labels)[labelled]
    first = np.flatnonzero(np.diff(ids, prepend=-1))
    return np.concatenate([[num_classes], given[first], [num_classes]]).astype(np.int64)


def _plogp(p: Floats) -> float:
    """Sum of p log p over positive entries."""
    positive = p[p > 0]
    return float(positive @ np.log(positive))
