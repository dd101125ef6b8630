"""How often a class is given and another predicted, at each checkpoint: pairs that occur alone.

Of 40,000 classes a full matrix would take 13 GB a checkpoint, however few samples there are.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassPairs:
    """Counts of pairs of classes.

    Attributes:
        num_checkpoints: E.
        num_classes: K.
        pair: (P,) int64, rising: (checkpoint * K + given class) * K + predicted class.
        count: (P,) int64 elements of each pair, above 0.
    """

    num_checkpoints: int
    num_classes: int
    pair: Integers
    count: Integers

    @classmethod
    def of(
        cls, predicted: npt.NDArray[np.integer], given: npt.NDArray[np.integer], num: int
    ) -> Self:
        """Count the predictions of some samples.

        Args:
            predicted: (N, E) class at each checkpoint; negative where a sample did not get to.
            given: (N,) given class.
            num: K.
        """
        num_checkpoints = predicted.shape[1]
        row = np.arange(num_checkpoints) * num + np.asarray(given, np.int64)[:, None]
        pair, count = np.unique((row * num + predicted)[predicted >= 0], return_counts=True)
        return cls(num_checkpoints, num, pair.astype(np.int64), count.astype(np.int64))

    @classmethod
    def of_matrices(cls, counts: npt.NDArray[np.integer]) -> Self:
        """The same counts as (E, K, K) matrices, given class by predicted."""
        flat = np.asarray(counts, np.int64).reshape(-1)
        pair = np.flatnonzero(flat)
        return cls(len(counts), counts.shape[-1], pair, flat[pair])

    def merge(self, other: Self) -> Self:
        """Both together; they must be of the same checkpoints and classes."""
        pair, place = np.unique(np.concatenate([self.pair, other.pair]), return_inverse=True)
        count = np.zeros(len(pair), np.int64)
        np.add.at(count, place, np.concatenate([self.count, other.count]))
        return type(self)(self.num_checkpoints, self.num_classes, pair, count)

    def parts(self) -> tuple[Integers, Integers, Integers]:
        """(P,) checkpoint, given and predicted class of each pair."""
        row, predicted = np.divmod(self.pair, self.num_classes)
        checkpoint, given = np.divmod(row, self.num_classes)
        return checkpoint, given, predicted

    def given(self) -> Integers:
        """(E, K) elements by given class."""
        checkpoint, given, _ = self.parts()
        return self._summed(checkpoint, given, self.count)

    def predicted(self) -> Integers:
        """(E, K) elements by predicted class."""
        checkpoint, _, predicted = self.parts()
        return self._summed(checkpoint, predicted, self.count)

    def correct(self) -> Integers:
        """(E, K) elements of each class that are predicted as given."""
        checkpoint, given, predicted = self.parts()
        same = given == predicted
        return self._summed(checkpoint[same], given[same], self.count[same])

    def matrices(self) -> Integers:
        """(E, K, K) all counts, given class by predicted: of few classes only."""
        flat = np.zeros(self.num_checkpoints * self.num_classes**2, np.int64)
        flat[self.pair] = self.count
        return flat.reshape(self.num_checkpoints, self.num_classes, self.num_classes)

    def _summed(self, checkpoint: Integers, of_class: Integers, count: Integers) -> Integers:
        sums = np.zeros((self.num_checkpoints, self.num_classes), np.int64)
        np.add.at(sums, (checkpoint, of_class), count)
        return sums
