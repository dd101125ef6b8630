"""Confident learning over pixels, frames or images, exact and in one pass.

The method of cleanlab's pixel filter (Lad and Mueller 2023; Northcutt et al. 2021): the class
threshold t_k is the mean p_k over elements labelled k; the number of issues is that of elements
whose predicted class is not the given one and has p >= its threshold; that many elements of
lowest p(given class) are flagged, except those whose given class is the predicted one. So
thresholds set the count, self-confidence the order. Elements with a negative label count nowhere,
and a given class that ties for the largest probability counts as predicted.

`find_issues` holds all probabilities and p(given class) of each element. `ConfidentState` needs
one pass, merges, and keeps histograms: see `finish` for how far the two may differ.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from ray_audit.scores import compiled
from ray_audit.scores.elements import Elements, Scratch, elements, samples

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NUM_BINS = 1000
THRESHOLD_FLOOR = 2e-6
ABSENT_THRESHOLD = 2.0
TOLERANCE = 1e-6

_NO_PROBABILITY = "a probability is below 0 or not a number; expected numbers of 0 to 1"
_UNLABELLED = 2.0  # above every probability
_CHUNK = 1 << 16  # elements at a time: temporaries stay in the cache


@dataclass(frozen=True)
class Scan:
    """What one pass over all M elements keeps of them.

    Attributes:
        p_label: (M,) probability of the given class; 2 where unlabelled.
        is_wrong: (M,) whether another class has a larger one.
        p_predicted: (W,) the largest probability of those.
        predicted: (W,) its class.
        class_sum: (K,) sum of p(given class) by given class.
        class_count: (K,) elements by given class.
    """

    p_label: npt.NDArray[np.floating]
    is_wrong: npt.NDArray[np.bool_]
    p_predicted: npt.NDArray[np.floating]
    predicted: npt.NDArray[np.integer]
    class_sum: Floats
    class_count: Integers

    @classmethod
    def of(cls, labels: npt.NDArray[np.integer], p: npt.NDArray[np.floating]) -> Self:
        """Scan labels (N, ...) and probabilities (N, K, ...)."""
        num_classes = p.shape[1]
        small = np.uint8 if num_classes <= 256 else np.int32
        class_sum, class_count = np.zeros(num_classes), np.zeros(num_classes, np.int64)
        p_label = np.full(labels.size, _UNLABELLED, p.dtype)
        is_wrong = np.zeros(labels.size, bool)
        tops, classes = [np.zeros(0, p.dtype)], [np.zeros(0, small)]
        start, scratch = 0, Scratch.of(labels, p)
        for given, p_KM in samples(labels, p):
            here = slice(start, start + len(given))
            for part in elements(given, p_KM, scratch):
                p_label[here][part.place] = part.p_label
                wrong = (
                    part.wrong + part.place.start
                    if isinstance(part.place, slice)
                    else (part.place[part.wrong])
                )
                is_wrong[here][wrong] = True
                tops.append(part.p_predicted)
                classes.append(part.predicted.astype(small))
                _add_classes(class_sum, class_count, part, scratch)
            start += len(given)
        return cls(
            p_label, is_wrong, np.concatenate(tops), np.concatenate(classes), class_sum, class_count
        )

    @property
    def thresholds(self) -> Floats:
        """(K,) class thresholds."""
        return class_thresholds(self.class_sum, self.class_count)


def find_issues(
    labels: npt.NDArray[np.integer], p: npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """Flag the elements that confident learning holds to be mislabelled.

    Equal to `cleanlab.segmentation.filter.find_label_issues(downsample=1)` up to ties in p(given
    class), of which the earlier are flagged first, and for (M, K) input to
    `find_label_issues_batched`.

    Args:
        labels: (N, ...) class indices, negative where unlabelled.
        p: (N, K, ...) class probabilities, best from a model that has not seen the labels.

    Returns:
        (N, ...) bool.
    """
    scan = Scan.of(labels, p)
    confident = scan.p_predicted >= (scan.thresholds - TOLERANCE)[scan.predicted]
    flags = _lowest(scan.p_label, int(np.count_nonzero(confident)))
    flags &= scan.is_wrong
    return flags.reshape(labels.shape)


def class_thresholds(class_sum: Floats, class_count: Integers) -> Floats:
    """Mean p_k over elements labelled k, (K,); 2 for a class that labels nothing."""
    mean = np.asarray(class_sum, np.float64) / np.maximum(class_count, 1)
    return np.where(class_count > 0, np.maximum(mean, THRESHOLD_FLOOR), ABSENT_THRESHOLD)


def share_above(thresholds: Floats, bins: Integers, num_bins: int) -> Floats:
    """Share of each bin of [0, 1] that lies at or above a threshold; the two broadcast.

    A bin `num_bins` holds what is 1, which is above every threshold of a class that has labels.
    """
    place = (thresholds - TOLERANCE) * num_bins
    share = np.clip(bins + 1 - place, 0.0, 1.0)
    return np.asarray(np.where(thresholds > 1.0 + TOLERANCE, 0.0, share))


def expected_share_above(thresholds: Floats, bins: Integers, num_bins: int) -> Floats:
    """The same as is to be expected: within a bin, elements are taken to be spread evenly.

    Not so in the last: probabilities pile up at 1, of which an even spread would leave nothing
    above a threshold that is nearly 1. All of it counts.
    """
    share = share_above(thresholds, bins, num_bins)
    return np.asarray(np.where((bins == num_bins - 1) & (share > 0.0), 1.0, share))


@dataclass(frozen=True)
class ConfidentState:
    """Histograms of one pass over any part of a dataset; add them in any order.

    Attributes:
        class_sum: (K,) float64 sum of p(given class) by given class.
        class_count: (K,) int64 elements by given class.
        off_diagonal: (K, B) int64 elements whose prediction is not their label, by predicted
            class and bin of its probability.
        p_label: (B,) int64 elements by bin of p(given class).
    """

    class_sum: Floats
    class_count: Integers
    off_diagonal: Integers
    p_label: Integers

    @classmethod
    def empty(cls, num_classes: int, num_bins: int = NUM_BINS) -> Self:
        """State of no elements."""
        return cls(
            np.zeros(num_classes),
            np.zeros(num_classes, np.int64),
            np.zeros((num_classes, num_bins), np.int64),
            np.zeros(num_bins, np.int64),
        )

    def merge(self, other: Self) -> Self:
        """State of both parts."""
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def finish(self) -> "Cutoff":
        """Thresholds, number of issues and the p(given class) below which elements are flagged.

        Against the exact form, the number differs at most by the off-diagonal elements whose
        probability shares a bin with its class's threshold, and the flagged fraction by those
        and the elements of the bin in which the cutoff falls: see `expected_share_above`.
        """
        num_bins = len(self.p_label)
        thresholds = class_thresholds(self.class_sum, self.class_count)
        share = expected_share_above(thresholds[:, None], np.arange(num_bins), num_bins)
        num_issues = float((self.off_diagonal * share).sum())
        below = np.concatenate([[0], np.cumsum(self.p_label)])
        full = int(np.searchsorted(below, num_issues, side="right")) - 1
        if full >= num_bins:
            return Cutoff(thresholds, num_issues, num_bins, 0.0)
        return Cutoff(
            thresholds, num_issues, full, (num_issues - below[full]) / float(self.p_label[full])
        )


@dataclass(frozen=True)
class Cutoff:
    """Which elements are flagged, once the whole dataset is known.

    Attributes:
        thresholds: (K,) class thresholds.
        num_issues: estimated number of mislabelled elements.
        num_full_bins: bins of p(given class) that are flagged whole.
        last_fraction: share of the next bin that is flagged.
    """

    thresholds: Floats
    num_issues: float
    num_full_bins: int
    last_fraction: float

    def num_flagged(self, wrong_p_label: Integers) -> Floats:
        """Flagged elements of each sample, from its histogram as `observe` gives it.

        Args:
            wrong_p_label: (..., B) elements whose prediction is not their label, by bin of
                p(given class).

        Returns:
            (...) float64, with fractions from the bin of the cutoff.
        """
        flagged = wrong_p_label[..., : self.num_full_bins].sum(axis=-1).astype(np.float64)
        if self.last_fraction:
            flagged = flagged + self.last_fraction * wrong_p_label[..., self.num_full_bins]
        return np.asarray(flagged)


def clc(num_flagged: npt.NDArray[np.floating], num_labelled: npt.NDArray[np.integer]) -> Floats:
    """1 - share of labelled pixels flagged by confident learning: 0-1, low is suspicious.

    Source: Lad and Mueller 2023 (cleanlab's `num_pixel_issues`).

    Args:
        num_flagged: (N,) from `Cutoff.num_flagged` or by counting `find_issues`.
        num_labelled: (N,) labelled pixels.

    Returns:
        (N,) float64, NaN where nothing is labelled.
    """
    total = np.asarray(num_labelled, np.float64)
    share = np.divide(num_flagged, total, out=np.full(total.shape, np.nan), where=total > 0)
    return np.asarray(1.0 - share)


def observe(
    labels: npt.NDArray[np.integer], p: npt.NDArray[np.floating], num_bins: int = NUM_BINS
) -> tuple[ConfidentState, Integers]:
    """One pass over a batch.

    Args:
        labels: (N, ...) class indices, negative where unlabelled.
        p: (N, K, ...) class probabilities.
        num_bins: B.

    Returns:
        The batch's state, and per sample the histogram (N, B) int64 of p(given class) over
        elements whose prediction is not their label, for `Cutoff.num_flagged`. Bin of p:
        min(floor(p * B), B - 1).
    """
    state = ConfidentState.empty(p.shape[1], num_bins)
    wrong_p_label = np.zeros((len(labels), num_bins), np.int64)
    scratch = Scratch.of(labels, p)
    for n, (given, p_KM) in enumerate(samples(labels, p)):
        own = wrong_p_label if labels.ndim == 1 else wrong_p_label[n : n + 1]
        loop = compiled.loop_for(given, p_KM, num_bins)
        if loop is None:
            _count(state, given, p_KM, own, scratch)
            continue
        arrays = (state.class_sum, state.class_count, state.off_diagonal, state.p_label, own)
        given = np.ascontiguousarray(given)
        if not loop(given, p_KM, len(scratch.top), p.dtype.type(num_bins), *arrays):
            raise ValueError(_NO_PROBABILITY)
    return state, wrong_p_label


def _count(
    state: ConfidentState,
    given: npt.NDArray[np.integer],
    p_KM: npt.NDArray[np.floating],
    own: Integers,
    scratch: Scratch,
) -> None:
    """Count one sample into `state`, and into its histogram (1, B) or that of each row."""
    for part in elements(given, p_KM, scratch):
        low = _add(state, part, scratch)[part.wrong]
        if len(own) == 1:
            own[0] += np.bincount(low, minlength=own.shape[1])
        else:  # rows are samples of one element each
            rows = np.arange(len(own))[part.place]
            own[rows[part.wrong], low] = 1


def _add(state: ConfidentState, part: Elements, scratch: Scratch) -> Integers:
    """Count a chunk into `state`; the bin of p(given class) of each element."""
    num_classes, num_bins = state.off_diagonal.shape
    _add_classes(state.class_sum, state.class_count, part, scratch)
    places = part.predicted * num_bins + _bin(part.p_predicted, num_bins)
    counts = np.bincount(places, minlength=num_classes * num_bins)
    state.off_diagonal[:] += counts.reshape(num_classes, num_bins)
    num = len(part.p_label)
    low = _bin(part.p_label, num_bins, scratch.scaled[:num], scratch.index[:num])
    state.p_label[:] += np.bincount(low, minlength=num_bins)
    return low


def _add_classes(
    class_sum: Floats, class_count: Integers, part: Elements, scratch: Scratch
) -> None:
    num_classes, num = len(class_sum), len(part.labels)
    index, weight = scratch.index[:num], scratch.weight[:num]
    index[:], weight[:] = part.labels, part.p_label  # what bincount would make of them
    class_count += np.bincount(index, minlength=num_classes)
    class_sum += np.bincount(index, weights=weight, minlength=num_classes)


def _bin(
    p: npt.NDArray[np.floating],
    num_bins: int,
    scaled: npt.NDArray[np.floating] | None = None,
    bins: Integers | None = None,
) -> Integers:
    """min(floor(p * B), B - 1) of each, in the arrays that are given."""
    scaled = np.multiply(p, p.dtype.type(num_bins), out=scaled)
    np.minimum(scaled, p.dtype.type(num_bins - 1), out=scaled)
    if scaled.size and not scaled.min() > -1:
        raise ValueError(_NO_PROBABILITY)
    bins = np.empty(p.shape, np.int64) if bins is None else bins
    bins[...] = scaled
    return bins


def _lowest(values: npt.NDArray[np.floating], num: int) -> npt.NDArray[np.bool_]:
    """Mark the `num` lowest values of 0 to 2; of equal ones the earlier.

    Only the values of one bin are ever sorted out: a copy of all would double the memory.
    """
    if num == 0:
        return np.zeros(len(values), bool)
    pieces = [values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK)]
    histogram = np.zeros(NUM_BINS, np.int64)
    for piece in pieces:
        histogram += np.bincount(_bin(piece, NUM_BINS), minlength=NUM_BINS)
    below = np.cumsum(histogram)
    last_bin = int(np.searchsorted(below, num))
    inside = np.concatenate([piece[_bin(piece, NUM_BINS) == last_bin] for piece in pieces])
    rank = num - 1 - int(below[last_bin] - histogram[last_bin])
    cutoff = np.partition(inside, rank)[rank]
    lowest: npt.NDArray[np.bool_] = values < cutoff
    num_ties = rank + 1 - int(np.count_nonzero(inside < cutoff))
    lowest[np.flatnonzero(values == cutoff)[:num_ties]] = True
    return lowest
