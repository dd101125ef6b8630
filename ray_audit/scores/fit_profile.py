"""How far each checkpoint has fitted the labels, by how large their losses are. Our definition.

The default ranking is chosen by it, before any sample is ranked: so it must be small, and add up
over a dataset in any order.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SUSPICIOUS_FRACTION = 0.05
_BINS_PER_OCTAVE = 8
_SMALLEST_LOSS = 2.0**-30
_LOSS_UNIT, _LARGEST_LOSS = 2.0**-8, 32.0
"""Of sums of squares, which are whole numbers, so that they add up in any order."""
_LAST_PART = 4
"""The last quarter of the checkpoints stands for the end: at a constant rate single ones swing."""


@dataclass(frozen=True)
class FitProfile:
    """Samples, and how many of their given labels each checkpoint misses, by bin of mean loss.

    Attributes:
        bins: (B,) int64 occupied bins, ascending: eight for each doubling of the loss.
        counts: (B,) int64 samples.
        missed: (B, E) int64 samples whose given label a checkpoint does not predict.
        moments: (3, 3) int64 sums over samples that passed the last two checkpoints: of the
            products of 1 and the losses at the last one and at the one before, in 1/256 nat.
    """

    bins: Integers
    counts: Integers
    missed: Integers
    moments: Integers

    @classmethod
    def of(
        cls,
        csl: npt.NDArray[np.floating],
        correct: npt.NDArray[np.floating],
        reached: npt.NDArray[np.bool_] | None = None,
        losses: npt.NDArray[np.floating] | None = None,
    ) -> Self:
        """Observe samples.

        Args:
            csl: (N,) mean loss over checkpoints, in nats.
            correct: (N, E) whether a checkpoint predicts the given label.
            reached: (N, E) which checkpoints a sample passed; None: all.
            losses: (N, E) in nats; None: unknown.
        """
        moments = np.zeros((3, 3), np.int64) if losses is None else _moments(losses, reached)
        correct = carried_back(np.asarray(correct), reached)
        loss = np.maximum(np.asarray(csl, np.float64), _SMALLEST_LOSS)
        of_sample = np.floor(_BINS_PER_OCTAVE * np.log2(loss)).astype(np.int64)
        missed = (correct < 0.5).astype(np.int64)
        return cls._summed(of_sample, np.ones(len(loss), np.int64), missed, moments)

    @classmethod
    def _summed(
        cls, of_row: Integers, counts: Integers, missed: Integers, moments: Integers
    ) -> Self:
        bins, place = np.unique(of_row, return_inverse=True)
        num = np.zeros(len(bins), np.int64)
        np.add.at(num, place, counts)
        total = np.zeros((len(bins), missed.shape[1]), np.int64)
        np.add.at(total, place, missed)
        return cls(bins, num, total, moments)

    def merge(self, other: Self) -> Self:
        """Both together; the order does not matter."""
        return self._summed(
            np.concatenate([self.bins, other.bins]),
            np.concatenate([self.counts, other.counts]),
            np.concatenate([self.missed, other.missed]),
            self.moments + other.moments,
        )

    @property
    def agreement(self) -> float:
        """Share of all given labels that the last quarter of the checkpoints predicts."""
        missed = float(self._at_the_end(self.missed).sum(axis=0).mean())
        return 1.0 - missed / float(self.counts.sum())

    @property
    def gain(self) -> float:
        """That share less the mean one of the first half of the checkpoints."""
        num = self.missed.shape[1]
        first = float(self.missed[:, : (num + 1) // 2].sum(axis=0).mean())
        return self.agreement - (1.0 - first / float(self.counts.sum()))

    @property
    def settled(self) -> float:
        """Correlation of losses at the last two checkpoints: near 1 if the training came to rest.

        At a rate that stays high each checkpoint is sure of other things. NaN with one checkpoint,
        and where losses are equal.

        >>> losses = np.array([[2.0, 0.5, 0.4], [2.0, 3.0, 2.9], [2.0, 1.0, 1.1]])
        >>> round(FitProfile.of(losses.mean(axis=1), losses < 1.0, None, losses).settled, 2)
        1.0
        """
        num = float(self.moments[0, 0])
        if not num:
            return float("nan")
        mean = self.moments[0].astype(np.float64) / num
        spread = self.moments / num - np.outer(mean, mean)
        both = float(spread[1, 1] * spread[2, 2])
        return float(spread[1, 2]) / both**0.5 if both > 0 else float("nan")

    @property
    def fitted(self) -> float:
        """The same of the labels with the highest 5% of losses: near 0 unless memorised.

        Of the bin in which these begin the share that is needed counts.

        >>> correct = np.array([[0, 1], [1, 1]])
        >>> FitProfile.of(np.array([4.0, 0.1]), correct).fitted
        1.0
        """
        num_suspicious = SUSPICIOUS_FRACTION * float(self.counts.sum())
        above = np.append(np.cumsum(self.counts[::-1])[::-1][1:], 0)
        share = np.clip((num_suspicious - above) / self.counts, 0.0, 1.0)
        missed = share @ self._at_the_end(self.missed).mean(axis=1)
        return float(1.0 - missed / num_suspicious)

    def _at_the_end(self, values: Integers) -> Integers:
        num = values.shape[1]
        last: Integers = values[:, num - max(1, num // _LAST_PART) :]
        return last


def _moments(losses: npt.NDArray[np.floating], reached: npt.NDArray[np.bool_] | None) -> Integers:
    found = np.zeros((3, 3), np.int64)
    if losses.shape[1] < 2:
        return found
    last = np.asarray(losses if reached is None else losses[reached[:, -2]], np.float64)[:, -2:]
    units = np.rint(np.clip(last[:, ::-1], 0.0, _LARGEST_LOSS) / _LOSS_UNIT).astype(np.int64)
    columns = np.column_stack([np.ones(len(units), np.int64), units])
    found += columns.T @ columns
    return found


def carried_back(values: np.ndarray, reached: np.ndarray | None) -> np.ndarray:
    """Each gap of (N, E) filled from the next checkpoint that was reached; the last always is.

    >>> carried_back(np.array([[np.nan, 0.5, np.nan, 1.0]]), np.array([[False, True, False, True]]))
    array([[0.5, 0.5, 1. , 1. ]])
    """
    if reached is None:
        return values
    place = np.where(reached, np.arange(reached.shape[1]), reached.shape[1] - 1)
    following = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    return np.take_along_axis(values, following, axis=1)
