"""How far losses lie above what is usual for their given class, as ranks over a dataset.

Some classes are harder than others, above all to a model that has not learnt them yet: their right
labels then have higher losses than the wrong ones of easy classes. So what is usual for a class is
taken away before losses are ranked. Our definition; confident learning makes its class thresholds
for the same reason (Northcutt et al. 2021).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

USUAL_QUANTILE = 0.4
"""Below a half: more than half of a class's labels may be wrong."""
PRIOR_LABELS = 5.0
"""A class with as many labels is taken to be halfway between itself and all of them: of one label
nobody knows what would be usual."""
_BINS_PER_OCTAVE = 16
_SMALLEST_LOSS, _LARGEST_LOSS = 2.0**-30, 2.0**24
_NUM_BINS = 54 * _BINS_PER_OCTAVE + 1
_MAX_POINTS = 8192
_TELLING_DIFFERENCE = 2.0**-18
"""Nats. Below it lies the rounding of float32: equal samples of two classes must not part by it."""


@dataclass(frozen=True)
class ClassLosses:
    """Losses of part of a dataset by given class, in bins; parts add up in any order.

    Attributes:
        places: (P,) int64 class * bins + bin, 16 bins for each doubling of the loss; rising, each
            once, those that occur.
        counts: (P,) int64 losses there.
        least: (P,) the smallest of them, in nats.
        most: (P,) the largest.
        num_labels: (K,) int64 labels of each class that were given one by one: images, or segments.
    """

    places: Integers
    counts: Integers
    least: Floats
    most: Floats
    num_labels: Integers

    @classmethod
    def of(
        cls,
        losses: npt.NDArray[np.floating],
        classes: npt.NDArray[np.integer],
        num_labels: Integers,
    ) -> Self:
        """Observe losses (N,) >= 0 of given classes (N,) below K; NaN is left out."""
        values, given = np.asarray(losses, np.float64), np.asarray(classes, np.int64)
        known = ~np.isnan(values) & (given >= 0)
        values, given = values[known], given[known]
        places = given * _NUM_BINS + _bin(values)
        return cls._summed(places, np.ones(len(values), np.int64), values, values, num_labels)

    @classmethod
    def _summed(
        cls, places: Integers, counts: Integers, least: Floats, most: Floats, num_labels: Integers
    ) -> Self:
        found, where = np.unique(places, return_inverse=True)
        total = np.zeros(len(found), np.int64)
        low, high = np.full(len(found), np.inf), np.full(len(found), -np.inf)
        np.add.at(total, where, counts)
        np.minimum.at(low, where, least)
        np.maximum.at(high, where, most)
        return cls(found, total, low, high, num_labels)

    def merge(self, other: Self) -> Self:
        """Both together."""
        return self._summed(
            np.concatenate([self.places, other.places]),
            np.concatenate([self.counts, other.counts]),
            np.concatenate([self.least, other.least]),
            np.concatenate([self.most, other.most]),
            self.num_labels + other.num_labels,
        )

    def finish(self) -> "LossExcess":
        """What is usual for each class, and the distribution of what losses exceed it by."""
        given = self.places // _NUM_BINS
        if not len(given):
            return LossExcess(np.full(len(self.num_labels), np.nan), np.zeros(0), np.zeros(0))
        usual = self._usual(given)
        low, high = _rounded(self.least - usual[given]), _rounded(self.most - usual[given])
        points = np.unique(np.concatenate([low, high]))
        if len(points) > _MAX_POINTS:
            points = points[np.linspace(0, len(points) - 1, _MAX_POINTS).astype(np.int64)]
        below = np.zeros(len(points))
        for class_ in np.unique(given):
            own = given == class_
            below += _num_below(points, low[own], high[own], self.counts[own])
        return LossExcess(usual, points, below / max(1, int(self.counts.sum())))

    def _usual(self, given: Integers) -> Floats:
        """(K,) nats; that of all losses for a class without one."""
        order = np.argsort(self.places % _NUM_BINS, kind="stable")
        overall = _quantile(self.least[order], self.most[order], self.counts[order])
        usual = np.full(len(self.num_labels), overall)
        for class_ in np.unique(given):
            own = given == class_
            of_class = _quantile(self.least[own], self.most[own], self.counts[own])
            num = float(self.num_labels[class_])
            usual[class_] += num / (num + PRIOR_LABELS) * (of_class - overall)
        return usual


@dataclass(frozen=True)
class LossExcess:
    """What is usual for each class, and how losses are distributed beside it.

    Attributes:
        usual: (K,) nats.
        points: (L,) losses less what is usual for their class, rising.
        below: (L,) share of all that are lower, half of equal ones among them.
    """

    usual: Floats
    points: Floats
    below: Floats

    def ranks(self, losses: npt.NDArray[np.floating], classes: npt.NDArray[np.integer]) -> Floats:
        """Rank of each loss less what is usual for its class, 0 to 1; NaN for NaN.

        In the order of these differences, those equal that differ by rounding alone; the ranks
        themselves to a part of a bin.

        Args:
            losses: (N,) nats.
            classes: (N,) given.

        >>> easy, hard = np.array([0.1, 0.2, 0.1, 1.0]), np.array([2.0, 2.1, 2.0, 2.2])
        >>> losses, classes = np.concatenate([easy, hard]), np.repeat([0, 1], 4)
        >>> found = ClassLosses.of(losses, classes, np.array([4000, 4000])).finish()
        >>> int(found.ranks(losses, classes).argmax())
        3
        """
        if not len(self.points):
            return np.full(len(losses), np.nan)
        excess = _rounded(np.asarray(losses, np.float64) - self.usual[np.maximum(classes, 0)])
        return np.asarray(np.interp(excess, self.points, self.below))


def _rounded(excess: Floats) -> Floats:
    return np.asarray(np.round(excess / _TELLING_DIFFERENCE) * _TELLING_DIFFERENCE)


def _bin(losses: Floats) -> Integers:
    clipped = np.clip(losses, _SMALLEST_LOSS, _LARGEST_LOSS)
    return np.floor(_BINS_PER_OCTAVE * (np.log2(clipped) + 30.0)).astype(np.int64)


def _quantile(least: Floats, most: Floats, counts: Integers) -> float:
    """The value of rank `USUAL_QUANTILE` among bins in rising order, spread evenly in its bin."""
    up_to = np.cumsum(counts)
    rank = USUAL_QUANTILE * float(up_to[-1])
    at = int(np.searchsorted(up_to, rank))
    share = (rank - float(up_to[at] - counts[at])) / float(counts[at])
    return float(least[at] + share * (most[at] - least[at]))


def _num_below(points: Floats, low: Floats, high: Floats, counts: Integers) -> Floats:
    """Losses of a class below each point, half of those at it; spread evenly within a bin."""
    before = np.concatenate([[0], np.cumsum(counts)])
    at = np.searchsorted(high, points, side="left")
    inside = np.minimum(at, len(high) - 1)
    within = (at < len(high)) & (points >= low[inside])
    num, width = counts[inside], high[inside] - low[inside]
    share = np.divide(points - low[inside], width, out=np.full(len(points), 0.5), where=width > 0)
    of_bin = np.where(width > 0, 0.5 + share * (num - 1), 0.5 * num)
    return np.asarray(before[at] + np.where(within, of_bin, 0.0))
