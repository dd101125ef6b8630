"""Ranks over a large dataset without a sort, and combined ranks.

Ranks come from a histogram over the floating-point format itself: its bins are the values that
agree in sign, exponent and the first 12 bits of the fraction. That is a signed logarithmic scale
that needs no known range, keeps the order, and is exact to one part in 4096.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_DROPPED_BITS = 52 - 12  # of the 52 fraction bits of a float64


@dataclass(frozen=True)
class RankHistogram:
    """How many values fell into which bin; the order of merging does not matter.

    Attributes:
        bins: (B,) int64 occupied bins, ascending in value.
        counts: (B,) int64 values in each.
    """

    bins: Integers
    counts: Integers

    @classmethod
    def empty(cls) -> Self:
        """No values yet."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    def observe(
        self, values: npt.NDArray[np.floating], times: npt.NDArray[np.integer] | None = None
    ) -> Self:
        """Add values (N,), each as many times as told, (N,), else once; NaN is left out."""
        values = np.asarray(values, np.float64)
        num = np.ones(len(values), np.int64) if times is None else np.asarray(times, np.int64)
        known = ~np.isnan(values) & (num > 0)
        return self.merge(type(self)(_bin(values[known]), num[known]))

    def merge(self, other: Self) -> Self:
        """Histogram of both sets of values."""
        bins = np.concatenate([self.bins, other.bins])
        counts = np.concatenate([self.counts, other.counts])
        found, place = np.unique(bins, return_inverse=True)
        total = np.zeros(len(found), np.int64)
        np.add.at(total, place, counts)
        return type(self)(found, total)

    @property
    def is_constant(self) -> bool:
        """Whether no two observed values differ, so that they rank nothing."""
        return len(self.bins) < 2

    def cdf(self, values: npt.NDArray[np.floating]) -> Floats:
        """Rank of each value among those observed, as a fraction.

        Args:
            values: (N,).

        Returns:
            (N,) float64, 0 to 1: share of observed values in lower bins plus half of those in its
            own. A value beyond all observed ones ranks as if it were one of them: never 0 or 1.
            NaN for NaN, and where nothing was observed.

        >>> RankHistogram.empty().observe(np.array([3.0, 1.0, 2.0, 9.0])).cdf(np.array([1.0, 9.0]))
        array([0.125, 0.875])
        """
        values = np.asarray(values, np.float64)
        ranks = np.full(values.shape, np.nan)
        known = ~np.isnan(values)
        if not len(self.bins):
            return ranks
        below = np.concatenate([[0], np.cumsum(self.counts)])
        keys = _bin(values[known])
        first = below[np.searchsorted(self.bins, keys, side="left")]
        last = below[np.searchsorted(self.bins, keys, side="right")]
        half = 0.5 / below[-1]
        ranks[known] = np.clip((first + last) / (2.0 * below[-1]), half, 1.0 - half)
        return ranks

    def num_above(self, values: npt.NDArray[np.floating]) -> Integers:
        """Observed values in higher bins than each value's, (N,) int64; NaN counts as lowest.

        >>> RankHistogram.empty().observe(np.array([3.0, 1.0, 9.0])).num_above(np.array([3.0, 9.0]))
        array([1, 0])
        """
        values = np.asarray(values, np.float64)
        keys = _bin(np.where(np.isnan(values), -np.inf, values))
        below = np.concatenate([[0], np.cumsum(self.counts)])
        above: Integers = below[-1] - below[np.searchsorted(self.bins, keys, side="right")]
        return above

    def quantile(self, fraction: float) -> float:
        """A value that about this fraction of the observed ones does not exceed; NaN of none.

        The lower edge of its bin, exact to one part in 4096.

        >>> RankHistogram.empty().observe(np.array([1.0, 2.0, 3.0, 4.0])).quantile(0.5)
        3.0
        """
        if not len(self.bins):
            return float("nan")
        below = np.cumsum(self.counts)
        place = int(np.searchsorted(below, fraction * below[-1], side="right"))
        return _lower_edge(int(self.bins[min(place, len(self.bins) - 1)]))


def rank_fraction(
    values: npt.NDArray[np.floating],
    histogram: RankHistogram,
    direction: Literal["higher", "lower"] = "higher",
) -> Floats:
    """Suspicion of each value as a rank: 0 to 1, high is suspicious whatever the score's direction.

    Args:
        values: (N,).
        histogram: of the score over the whole dataset.
        direction: which values of the score are suspicious.

    Returns:
        (N,) float64; NaN for NaN.
    """
    ranks = histogram.cdf(values)
    return ranks if direction == "higher" else 1.0 - ranks


def combine_ranks(
    ranks: npt.NDArray[np.floating], weights: npt.NDArray[np.floating] | None = None
) -> Floats:
    """Known ranks of each sample as one, (S, N) scores by samples to (N,).

    1 - the weighted geometric mean of the shares 1 - rank that are ranked higher: Fisher's way to
    combine independent tests (1925), so that one score that is sure of itself is not outvoted by
    one that knows nothing, as in the mean of ranks. NaN where no score is known.

    Args:
        ranks: (S, N), 0 to 1, high is suspicious, NaN where unknown.
        weights: (S,) of the scores, above 0; equal where absent.

    Returns:
        (N,) float64, 0 to 1, high is suspicious.

    >>> combine_ranks(np.array([[0.5, np.nan, np.nan], [0.98, 0.25, np.nan]]))
    array([0.9 , 0.25,  nan])
    """
    ranks = np.asarray(ranks, np.float64)
    weight = np.ones(len(ranks)) if weights is None else np.asarray(weights, np.float64)
    known = np.where(np.isnan(ranks), 0.0, weight[:, None])
    total = known.sum(axis=0)
    share = np.divide(known, total, out=np.zeros(known.shape), where=total > 0)
    above = np.prod(np.power(1.0 - np.nan_to_num(ranks), share), axis=0)
    return np.asarray(np.where(total > 0, 1.0 - above, np.nan))


def _bin(values: Floats) -> Integers:
    """Bin of each value: an integer that grows with it, 0 around zero."""
    bits = np.ascontiguousarray(values).view(np.int64)
    magnitude = (bits & np.int64(0x7FFF_FFFF_FFFF_FFFF)) >> _DROPPED_BITS
    return np.asarray(np.where(bits < 0, -magnitude, magnitude))


def _lower_edge(bin_index: int) -> float:
    """Value of smallest magnitude in a bin."""
    bits = np.array(abs(bin_index) << _DROPPED_BITS, np.int64)
    value = float(bits.view(np.float64))
    return -value if bin_index < 0 else value
