"""Number of wrong labels of a dataset, from one pass: confident learning's off-diagonal count.

An element is held to be wrong where another class has a larger probability than the given one,
and it is at or above that class's threshold t_k, the mean p_k over elements labelled k. The
thresholds are known only at the end, so a pass keeps how many elements lie in each bin of the other
class's probability, by given and by other class; finishing counts the bins at or above the
threshold. Only the bin in which a threshold falls is not counted exactly.

Source: Northcutt et al. 2021, with the count of Lad and Mueller 2023 (cleanlab's
`LabelInspector`). The statement of uncertainty is ours.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ray_audit.scores.confident import (
    NUM_BINS,
    TOLERANCE,
    ConfidentState,
    Floats,
    Integers,
    class_thresholds,
    expected_share_above,
    share_above,
)
from ray_audit.scores.noise_interval import Contradictions

_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class NoiseEstimate:
    """Number of wrong labels of a dataset.

    `low` and `high` hold the truth in 95 of 100 datasets whose labels the checkpoint never saw,
    unless it makes the same errors as the labels. At most all labels are wrong that it
    contradicts; at least what it contradicts beyond its own errors (`noise_interval`), or the
    count where that is lower. Both with the 95% Wilson interval of as many elements as are
    independent. None where nothing of the kind can be said.

    Attributes:
        num_labelled: elements with a label.
        num_wrong: estimated number of wrong labels among them.
        low: lower end of the interval.
        high: upper end.
        by_given: (K,) of them by given class; None where only the other class was kept.
        by_other: (K,) of them by the class that they are held to be.
        thresholds: (K,) class thresholds, 2 for a class that labels nothing.
    """

    num_labelled: int
    num_wrong: float
    low: float | None
    high: float | None
    by_given: Floats | None
    by_other: Floats
    thresholds: Floats

    @property
    def wrong_fraction(self) -> float:
        """Share of wrong labels, 0 to 1; NaN of no labels."""
        return self.num_wrong / self.num_labelled if self.num_labelled else float("nan")


@dataclass(frozen=True)
class NoiseState:
    """Counts of one pass over any part of a dataset; add them in any order.

    Attributes:
        num_bins: B.
        class_sum: (K,) float64 sum of p(given class) by given class.
        class_count: (K,) int64 elements by given class.
        places: (P,) int64 (given * K + other) * (B + 1) + bin of p(other), rising, each once:
            only those that occur, since K * K * B of them would be too many. Bin B holds 1.
        counts: (P,) int64 elements there, of those with a larger p(other) than p(given).
        contradictions: all elements by confidence, for the interval.
    """

    num_bins: int
    class_sum: Floats
    class_count: Integers
    places: Integers
    counts: Integers
    contradictions: Contradictions

    @classmethod
    def empty(cls, num_classes: int, num_bins: int = NUM_BINS) -> Self:
        """State of no elements."""
        none = np.zeros(0, np.int64)
        sums = np.zeros(num_classes), np.zeros(num_classes, np.int64)
        return cls(num_bins, *sums, none, none, Contradictions.empty())

    @classmethod
    def observe(
        cls,
        p_label: npt.NDArray[np.floating],
        p_other: npt.NDArray[np.floating],
        given: npt.NDArray[np.integer],
        other: npt.NDArray[np.integer],
        num_classes: int,
        num_bins: int = NUM_BINS,
        num_squared: int | None = None,
    ) -> Self:
        """State of a batch of images or frames.

        Args:
            p_label: (N,) probability of the given class, or its mean over checkpoints.
            p_other: (N,) probability of the best other class, likewise: see `suggested_class`.
            given: (N,) class indices, negative where unlabelled.
            other: (N,) that class; anything where p_other is 0.
            num_classes: K.
            num_bins: B.
            num_squared: see `Contradictions`; of independent elements where absent.

        Raises:
            ValueError: a class lies outside 0..K-1, or a probability outside 0..1.
        """
        kept = given >= 0
        p, rival = p_label[kept].astype(np.float64), p_other[kept].astype(np.float64)
        label, guess = given[kept].astype(np.int64), other[kept].astype(np.int64)
        is_wrong = rival > p
        _check(p, rival, label, guess[is_wrong], num_classes)
        bins = np.minimum((rival[is_wrong] * num_bins).astype(np.int64), num_bins - 1)
        # Saturated ones, of which there may be many, reach every threshold: none is a guess.
        bins[rival[is_wrong] >= 1.0 - TOLERANCE] = num_bins
        pairs = label[is_wrong] * num_classes + guess[is_wrong]
        places, counts = np.unique(pairs * (num_bins + 1) + bins, return_counts=True)
        return cls(
            num_bins,
            np.bincount(label, weights=p, minlength=num_classes).astype(np.float64),
            np.bincount(label, minlength=num_classes),
            places,
            counts.astype(np.int64),
            Contradictions.observe(p, rival, num_squared),
        )

    def merge(self, other: Self) -> Self:
        """State of both parts."""
        if (self.num_bins, len(self.class_sum)) != (other.num_bins, len(other.class_sum)):
            raise ValueError(
                f"states of {len(self.class_sum)} classes and {self.num_bins} bins, and of "
                f"{len(other.class_sum)} and {other.num_bins}: they cannot be added"
            )
        both = np.concatenate([self.places, other.places])
        places, where = np.unique(both, return_inverse=True)
        counts = np.zeros(len(places), np.int64)
        np.add.at(counts, where, np.concatenate([self.counts, other.counts]))
        return type(self)(
            self.num_bins,
            self.class_sum + other.class_sum,
            self.class_count + other.class_count,
            places,
            counts,
            self.contradictions.merge(other.contradictions),
        )

    def finish(self, *, is_held_out: bool = False) -> NoiseEstimate:
        """Estimate; which share of a threshold's bin counts says `expected_share_above`.

        Against the exact count it differs by at most the elements of those bins.

        Args:
            is_held_out: the checkpoint never saw the labels, and its own errors are among what it
                contradicts. Where it is surest it errs least, and contradicts what is wrong, but
                less of it: what is easy to see is seldom labelled wrongly. So where the share there
                is lower, the estimate is the geometric mean of both.
        """
        num_classes = len(self.class_sum)
        thresholds = class_thresholds(self.class_sum, self.class_count)
        given, guess, bins, sure = self._confident(thresholds)
        by_class = [
            np.bincount(classes, weights=sure, minlength=num_classes).astype(np.float64)
            for classes in (given, guess)
        ]
        if is_held_out and sure.sum():
            share = float(sure.sum()) / float(self.class_count.sum())
            factor = min(1.0, self.contradictions.surest_share() / share) ** 0.5
            sure, by_class = factor * sure, [factor * counts for counts in by_class]
        certain = share_above(thresholds[guess], bins, self.num_bins) == 1.0
        least = float(self.counts[certain].sum())
        low, high = self._interval(least, float(sure.sum()))
        return NoiseEstimate(
            num_labelled=int(self.class_count.sum()),
            num_wrong=float(sure.sum()),
            low=low,
            high=high,
            by_given=by_class[0],
            by_other=by_class[1],
            thresholds=thresholds,
        )

    def _confident(self, thresholds: Floats) -> tuple[Integers, Integers, Integers, Floats]:
        """Given and other class, bin, and number at or above the threshold, of each place."""
        pairs, bins = np.divmod(self.places, self.num_bins + 1)
        given, guess = np.divmod(pairs, len(self.class_sum))
        share = expected_share_above(thresholds[guess], bins, self.num_bins)
        return given, guess, bins, self.counts * share

    def confident_pairs(self) -> tuple[Integers, Integers, Floats]:
        """Given class, other class and the count that `finish` adds up: (P,), each pair once."""
        thresholds = class_thresholds(self.class_sum, self.class_count)
        given, guess, _, sure = self._confident(thresholds)
        num_classes = len(self.class_sum)
        keys, where = np.unique(given * num_classes + guess, return_inverse=True)
        sums = np.bincount(where.reshape(-1), sure, len(keys))
        return *np.divmod(keys, num_classes), np.asarray(sums, np.float64)

    def _interval(self, least: float, num_wrong: float) -> tuple[float, float]:
        """Ends of the interval; `least` are the issues whatever lies in the thresholds' bins."""
        found = self.contradictions
        total, effect = int(found.counts.sum()), found.design_effect
        count, _ = _wilson(least, total, effect)
        _, high = _wilson(float(found.counts[1].sum()), total, effect)
        return min(count, found.least_share() * total, num_wrong), max(high, num_wrong)


def estimate_pixels(state: ConfidentState) -> NoiseEstimate:
    """The same for pixels, from the state that CLC is finished from; no counts by given class.

    Without an interval: pixels of an image are right or wrong together.
    """
    thresholds = class_thresholds(state.class_sum, state.class_count)
    counts = state.off_diagonal
    num_bins = counts.shape[1]
    sure = counts * expected_share_above(thresholds[:, None], np.arange(num_bins), num_bins)
    return NoiseEstimate(
        num_labelled=int(state.class_count.sum()),
        num_wrong=float(sure.sum()),
        low=None,
        high=None,
        by_given=None,
        by_other=sure.sum(axis=1),
        thresholds=thresholds,
    )


def wilson_interval(num: float, total: float, normal: float = _NORMAL_95) -> tuple[float, float]:
    """Interval of a count `num` of `total` independent elements, as counts.

    Source: Wilson 1927. It stays inside 0 to `total`, and is no point at either end.

    >>> low, high = wilson_interval(10, 100)
    >>> round(low, 2), round(high, 2)
    (5.52, 17.44)
    """
    if total == 0:
        return 0.0, 0.0
    share, square = num / total, normal**2
    centre = share + square / (2 * total)
    spread = normal * np.sqrt(share * (1 - share) / total + square / (4 * total**2))
    scale = total / (1 + square / total)
    return max(float(scale * (centre - spread)), 0.0), min(float(scale * (centre + spread)), total)


def _wilson(num: float, total: int, effect: float) -> tuple[float, float]:
    """The interval where `effect` elements count as one."""
    low, high = wilson_interval(num / effect, total / effect)
    return low * effect, high * effect


def _check(p: Floats, rival: Floats, label: Integers, guess: Integers, num_classes: int) -> None:
    for name, classes in (("given", label), ("other", guess)):
        if classes.size and not 0 <= classes.min() <= classes.max() < num_classes:
            raise ValueError(
                f"{name} classes {classes.min()} to {classes.max()} with {num_classes} classes; "
                "expected 0..K-1"
            )
    for name, values in (("p_label", p), ("p_other", rival)):
        # A mean of float32 ones may be a little above 1; NaN is neither above nor below.
        if values.size and not (values.min() >= 0.0 and values.max() <= 1.0 + TOLERANCE):
            raise ValueError(
                f"{name} from {values.min()} to {values.max()}; expected probabilities, 0 to 1"
            )
