"""Disorder of segments from the given labels alone: no model, no pixels.

Where a procedure has a usual order, a wrong or exchanged segment shows as transitions that other
videos hardly ever make, and often as an unusual duration. Our definition: transitions and
durations are counted over all videos, and each video is judged by the counts of the others, so
that its own errors do not vouch for themselves. Blind to shifted boundaries, and to an error that
most videos share.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ray_audit.scores.csl import segment_ids
from ray_audit.scores.durations import NUM_BINS, duration_bins, duration_nll

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SMOOTHING = 1.0
DURATION_WEIGHT = 0.3
"""What a nat of unusual duration counts beside a nat of unusual transitions."""


@dataclass(frozen=True)
class OrderStatistics:
    """In which order and for how long segments follow each other; exact counts that add up.

    Attributes:
        transitions: (K + 1, K + 1) int64, see `transition_counts`.
        durations: (K, B) int64, see `duration_counts`.
    """

    transitions: Integers
    durations: Integers

    @classmethod
    def empty(cls, num_classes: int) -> Self:
        """No videos yet."""
        transitions = np.zeros((num_classes + 1, num_classes + 1), np.int64)
        return cls(transitions, np.zeros((num_classes, NUM_BINS), np.int64))

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.durations)

    def observe(self, labels: npt.NDArray[np.integer]) -> Self:
        """Add one video: (T,) given class per frame in frame order, negative = unlabelled."""
        return self.merge(self._of(labels))

    def merge(self, other: Self) -> Self:
        """Both together."""
        return type(self)(self.transitions + other.transitions, self.durations + other.durations)

    def without(self, labels: npt.NDArray[np.integer]) -> Self:
        """What the other videos say of the one with these labels.

        Not below 0: where some of its frames have failed since, its segments are not those that
        were counted.
        """
        own = self._of(labels)
        transitions = np.maximum(self.transitions - own.transitions, 0)
        return type(self)(transitions, np.maximum(self.durations - own.durations, 0))

    def _of(self, labels: npt.NDArray[np.integer]) -> Self:
        num_classes = self.num_classes
        return type(self)(
            transition_counts(labels, num_classes), duration_counts(labels, num_classes)
        )


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


def duration_counts(labels: npt.NDArray[np.integer], num_classes: int) -> Integers:
    """Count the durations of the segments of one video.

    Args:
        labels: (T,) as in `transition_counts`.
        num_classes: K.

    Returns:
        (K, B) int64 by class and bin, see `durations.duration_bins`. Counts of videos are added.
    """
    contexts = segment_contexts(labels, num_classes)
    counts = np.zeros((num_classes, NUM_BINS), np.int64)
    np.add.at(counts, (contexts[:, 1], contexts[:, 3]), 1)
    return counts


def segment_contexts(labels: npt.NDArray[np.integer], num_classes: int) -> Integers:
    """Everything of the segments of one video that their order depends on.

    Returns:
        (S, 4) int64: class of the previous, the own and the next segment (K before the first and
        after the last), and the bin of the own duration.

    >>> segment_contexts(np.array([0, 0, 1, -1, 1]), 2).tolist()
    [[2, 0, 1, 8], [0, 1, 2, 8]]
    """
    path = _path(labels, num_classes)
    num_frames = np.bincount(_labelled_ids(labels))
    steps = np.stack([path[:-2], path[1:-1], path[2:]], axis=1)
    return np.concatenate([steps, duration_bins(num_frames)[:, None]], axis=1)


def context_nll(
    contexts: Integers,
    counts: Integers,
    durations: Integers | None = None,
    smoothing: float = SMOOTHING,
) -> Floats:
    """`order_nll` of segments from their contexts, by counts in which they have no part.

    Args:
        contexts: (M, 4), see `segment_contexts`.
        counts: (K + 1, K + 1) transitions of other videos.
        durations: (K, B) durations in other videos; left out where None.
        smoothing: pseudo-count, above 0.

    Returns:
        (M,) float64 in nats, at least 0.
    """
    nll = transition_nll(counts, smoothing)
    before, own, after, bins = contexts.T
    return steps_nll(nll[before, own], nll[own, after], own, bins, durations)


def steps_nll(
    into: Floats, out_of: Floats, classes: Integers, bins: Integers, durations: Integers | None
) -> Floats:
    """`order_nll` of segments from its terms.

    Args:
        into: (M,) of the step into each segment, in nats.
        out_of: (M,) of the step out of it.
        classes: (M,) rows of `durations`.
        bins: (M,) bin of the segment's duration.
        durations: (K, B) durations in other videos; left out where None.
    """
    values: Floats = into + out_of
    if durations is not None:
        values = values + DURATION_WEIGHT * duration_nll(classes, bins, durations)
    return values


def transition_nll(counts: Integers, smoothing: float = SMOOTHING) -> Floats:
    """-log P(column | row) of (K + 1, K + 1) counts, each with a pseudo-count, in nats."""
    weights = counts + smoothing
    nll: Floats = -np.log(weights / weights.sum(axis=1, keepdims=True))
    return nll


def order_nll(
    labels: npt.NDArray[np.integer],
    counts: Integers,
    smoothing: float = SMOOTHING,
    durations: Integers | None = None,
) -> Floats:
    """How unusual the steps into and out of a frame's segment are; high is suspicious.

    -log P(this | previous) - log P(next | this), with P from the counts of all other videos plus
    `smoothing` per transition; with `durations` also DURATION_WEIGHT times `duration_nll` of the
    segment, by the durations in all other videos. A constant where nothing is known (one video).

    Args:
        labels: (T,) given class per frame of ONE video in frame order; negative = unlabelled.
        counts: (K + 1, K + 1) sum of `transition_counts` over all videos, this one included.
        smoothing: pseudo-count, above 0.
        durations: (K, B) sum of `duration_counts` over all videos, this one included.

    Returns:
        (T,) float64 in nats, at least 0; NaN where unlabelled.

    Raises:
        ValueError: the counts do not include those of this video.
    """
    num_classes = len(counts) - 1
    others = _left_out(counts, transition_counts(labels, num_classes))
    if durations is not None:
        durations = _left_out(durations, duration_counts(labels, num_classes))
    contexts = segment_contexts(labels, num_classes)
    ids = segment_ids(labels)
    values = np.full(len(ids), np.nan)
    labelled = ids >= 0
    values[labelled] = context_nll(contexts, others, durations, smoothing)[ids[labelled]]
    return values


def _left_out(counts: Integers, own: Integers) -> Integers:
    others: Integers = counts - own
    if (others < 0).any():
        raise ValueError(
            "counts do not include those of the video to be scored; add the counts of all videos "
            "first, this one too"
        )
    return others


def _labelled_ids(labels: npt.NDArray[np.integer]) -> Integers:
    ids = segment_ids(labels)
    return ids[ids >= 0]


def _path(labels: npt.NDArray[np.integer], num_classes: int) -> Integers:
    """Classes of the segments in order, between the start and the end (both index K)."""
    labels = np.asarray(labels)
    if labels.size and labels.max() >= num_classes:
        raise ValueError(f"label {labels.max()} with {num_classes} classes; expected 0..K-1")
    labelled = labels >= 0
    given, ids = labels[labelled], segment_ids(labels)[labelled]
    first = np.flatnonzero(np.diff(ids, prepend=-1))
    return np.concatenate([[num_classes], given[first], [num_classes]]).astype(np.int64)
