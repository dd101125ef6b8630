"""Which class is right, where a checkpoint never saw the label: Bayes' rule with the mistakes made.

Such a checkpoint predicts labels, mistakes among them: r(j) = sum over y of q(y) T(y, j), with q
the class of the sample and T(y, j) how often y is given as j. So q is solved for, and the label at
hand weighs in: P(y | sample, given g) is proportional to q(y) T(y, g).

T is estimated from confident learning's counts of pairs (Northcutt et al. 2021), one added to each
(Laplace), scaled to the estimated share of wrong labels. Of a sample only its given class and the
best other one are known; what is left is spread evenly over the rest. With mistakes that are alike
between all classes, q(y) is then r(y) less what mistakes add to every class.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_SMALLEST = 1e-9
"""Of a determinant: below, labels tell next to nothing of classes."""


@dataclass(frozen=True)
class Mistakes:
    """How often a class is given as another; pairs that were not seen have the least of it.

    Attributes:
        keys: (P,) int64 given * K + right of the pairs that were seen, rising.
        counts: (P,) how often.
        least: expected number of wrong labels for each count, the one that is added too.
        num_right: (K,) labels of each class that are right.
        num_true: (K,) samples that belong to each class.
    """

    keys: Integers
    counts: Floats
    least: float
    num_right: Floats
    num_true: Floats

    @classmethod
    def of(
        cls, given: Integers, right: Integers, counts: Floats, class_count: Integers, share: float
    ) -> Self:
        """From counts of pairs.

        Args:
            given: (P,) class that was given; each pair once.
            right: (P,) class that it is held to be, another one.
            counts: (P,) labels of the pair.
            class_count: (K,) labels of each class.
            share: of all labels, that are wrong, 0-1.
        """
        num_classes, total = len(class_count), float(class_count.sum())
        order = np.argsort(given * num_classes + right)
        given, right, counts = given[order], right[order], counts[order].astype(np.float64)
        num_pairs = num_classes * (num_classes - 1)
        least = share * total / max(float(counts.sum()) + num_pairs, 1.0)
        wrong, taken = (
            least * (num_classes - 1 + np.bincount(classes, counts, num_classes))
            for classes in (given, right)
        )
        num_right = np.maximum(class_count - wrong, 1.0)
        return cls(given * num_classes + right, counts, least, num_right, num_right + taken)

    def given_as(self, true: Integers, given: Integers) -> Floats:
        """T: probability (N,) that a sample of one class is given as another one."""
        key = given * len(self.num_true) + true
        place = np.minimum(np.searchsorted(self.keys, key), max(len(self.keys) - 1, 0))
        seen = np.zeros(len(key))
        if len(self.keys):
            seen = np.where(self.keys[place] == key, self.counts[place], 0.0)
        num = np.where(true == given, self.num_right[given], self.least * (1.0 + seen))
        return np.asarray(num / self.num_true[true], np.float64)

    def _given_by_all(self) -> Floats:
        """(K,) T summed over the classes that samples belong to, by given class."""
        given, true = np.divmod(self.keys, len(self.num_true))
        seen = np.bincount(given, self.counts / self.num_true[true], len(self.num_true))
        even = (1.0 / self.num_true).sum() - 1.0 / self.num_true
        return np.asarray(self.num_right / self.num_true + self.least * (even + seen), np.float64)

    def posterior(
        self, p_given: Floats, p_other: Floats, given: Integers, other: Integers
    ) -> tuple[Floats, Floats]:
        """Probabilities (N,) that the given class is right, and that the other one is.

        Args:
            p_given: (N,) probability of the given class, by a checkpoint that never saw the label.
            p_other: (N,) probability of the best other class.
            given: (N,) class indices.
            other: (N,) class indices, never the given ones.
        """
        num_rest = max(len(self.num_true) - 2, 1)
        by_all = self._given_by_all()
        as_given = [self.given_as(given, given), self.given_as(other, given)]
        as_other = [self.given_as(given, other), self.given_as(other, other)]
        rest_given, rest_other = (
            np.maximum(by_all[classes] - pair[0] - pair[1], 0.0) / num_rest
            for classes, pair in ((given, as_given), (other, as_other))
        )
        q_given, q_other = _solved(
            np.stack([as_given[0] - rest_given, as_given[1] - rest_given]),
            np.stack([as_other[0] - rest_other, as_other[1] - rest_other]),
            p_given - rest_given,
            p_other - rest_other,
        )
        weights = q_given * as_given[0], q_other * as_given[1]
        rest = np.maximum(1.0 - q_given - q_other, 0.0) * rest_given
        total = np.maximum(weights[0] + weights[1] + rest, _SMALLEST)
        return weights[0] / total, weights[1] / total


def _solved(
    first: Floats, second: Floats, of_first: Floats, of_second: Floats
) -> tuple[Floats, Floats]:
    """Two shares (N,) whose sums by (2, N) factors are given: each 0 to 1, both up to 1."""
    (a, b), (c, d) = first, second
    scale = a * d - b * c
    known = np.abs(scale) > _SMALLEST
    scale = np.where(known, scale, 1.0)
    x = np.where(known, (of_first * d - of_second * b) / scale, of_first)
    y = np.where(known, (of_second * a - of_first * c) / scale, of_second)
    # What would be less than nothing is nothing, and the other one is all that is seen.
    x_alone = of_first / np.where(np.abs(a) > _SMALLEST, a, 1.0)
    y_alone = of_second / np.where(np.abs(d) > _SMALLEST, d, 1.0)
    x, y = np.where(y < 0, x_alone, x), np.where(x < 0, y_alone, y)
    x, y = np.clip(x, 0.0, 1.0), np.clip(y, 0.0, 1.0)
    total = np.maximum(x + y, 1.0)
    return x / total, y / total
