"""How far the confidence in a mask's components falls short of what is usual for their class.

The same for masks as `class_losses` for classes: some classes are drawn less surely than others,
and thin ones less than large ones, so that what is usual for a class is taken away first. Our
definition; the usual confidence is the class threshold of confident learning (Northcutt et al.
2021; Lad and Mueller 2023). A weak model is unsure of whole classes, and of some masks in a class
as much as of the others: there the shortfall is measured by how much the components of the class
differ anyway (`ComponentDoubt.deviations`).

A dataset's distribution is that of a sample of its masks, since what is usual is known only at its
end. The masks are those whose names have the least digests: the same ones in whatever order and in
whatever parts they are seen, and all of them where they are few.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ray_audit.scores.ranking import RankHistogram

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MAX_MASKS = 4096
"""At most so many are sampled: some 100 bytes a component."""
SPECK_PX = 4.0
"""Components of fewer pixels are specks: those of one class in a mask are taken together."""
_TELLING_DIFFERENCE = 2.0**-18
"""Below it lies the rounding of float32: equal masks must not part by it."""
_LEAST_SPREAD = 0.05
"""Of a class whose components are all as sure, small differences would be large deviations."""


@dataclass(frozen=True)
class ComponentSample:
    """Components of a sample of masks, and the confidence in each class; parts add up in any order.

    Attributes:
        digests: (S,) uint64 of the masks' names, rising.
        sizes: (S,) int64 components of each.
        components: (C, 3) class, sum of p(given class), pixels; of the masks one after another,
            specks of a class together.
        class_sum: (K,) sum of p(given class) over the pixels of all masks, not of the sample alone.
        class_count: (K,) their pixels.
        class_moments: (K, 3) sums over the components of all masks, each weighed by the root of its
            pixels: of 1, of its mean p(given class), and of the square of that.
    """

    digests: npt.NDArray[np.uint64]
    sizes: Integers
    components: Floats
    class_sum: Floats
    class_count: Floats
    class_moments: Floats

    @classmethod
    def of(cls, names: Sequence[str], components: Sequence[Floats], num_classes: int) -> Self:
        """Observe masks by their names and components (C, 5), see `merge_components`."""
        parts = [_with_specks_together(item) for item in components]
        every = np.concatenate([np.empty((0, 3)), *parts])
        classes = every[:, 0].astype(np.int64)
        return cls(
            np.array([_digest(name) for name in names], np.uint64),
            np.array([len(part) for part in parts], np.int64),
            every,
            np.bincount(classes, every[:, 1], num_classes).astype(np.float64),
            np.bincount(classes, every[:, 2], num_classes).astype(np.float64),
            _moments(every, num_classes),
        )._least()

    def merge(self, other: Self) -> Self:
        """Both together."""
        return type(self)(
            np.concatenate([self.digests, other.digests]),
            np.concatenate([self.sizes, other.sizes]),
            np.concatenate([self.components, other.components]),
            self.class_sum + other.class_sum,
            self.class_count + other.class_count,
            self.class_moments + other.class_moments,
        )._least()

    def _least(self) -> Self:
        order = np.argsort(self.digests, kind="stable")[:MAX_MASKS]
        starts = np.cumsum(self.sizes) - self.sizes
        rows = [np.arange(starts[i], starts[i] + self.sizes[i]) for i in order]
        kept = np.concatenate([np.empty(0, np.int64), *rows])
        return type(self)(
            self.digests[order],
            self.sizes[order],
            self.components[kept],
            self.class_sum,
            self.class_count,
            self.class_moments,
        )

    def finish(self) -> "ComponentDoubt":
        """What is usual for each class, and how masks are distributed beside it."""
        usual = self.class_sum / np.maximum(self.class_count, 1.0)
        weight, first, second = self.class_moments.T
        occurs = np.maximum(weight, 1.0)
        middle, square = first / occurs, second / occurs
        spread = np.sqrt(np.maximum(square - middle**2, 0.0))
        sample = np.repeat(np.arange(len(self.sizes)), self.sizes)
        masks = self.components, sample, len(self.sizes)
        ranks = RankHistogram.empty()
        return ComponentDoubt(
            usual,
            middle,
            spread,
            ranks.observe(_doubts(*masks, usual)),
            ranks.observe(_deviations(*masks, middle, spread)),
        )


@dataclass(frozen=True)
class ComponentDoubt:
    """What is usual for each class, and how masks are distributed beside it.

    Attributes:
        usual: (K,) mean p(given class) over the pixels of a class.
        middle: (K,) mean over the components of a class, weighed by the roots of their pixels.
        spread: (K,) their standard deviation, weighed alike.
        distribution: of the doubts of masks.
        distribution_of_deviations: of masks.
    """

    usual: Floats
    middle: Floats
    spread: Floats
    distribution: RankHistogram
    distribution_of_deviations: RankHistogram

    def of(self, components: Sequence[Floats]) -> Floats:
        """Doubt of masks of these components, each (C, 5): (N,) 0 to 1, NaN where one has none.

        The mean over pixels of what the mean p(given class) of their component lacks of the usual
        one of its class; 0 for components that have more.

        >>> sky, car = [0, 0, 90.0, 100, 0], [1, 1, 10.0, 50, 0]
        >>> told = np.array([0.8, 0.5]), np.zeros(2), np.zeros(2)
        >>> usual = ComponentDoubt(*told, RankHistogram.empty(), RankHistogram.empty())
        >>> usual.of([np.array([sky, car])]).round(2)
        array([0.1])
        """
        return _doubts(*_joined(components), self.usual)

    def deviations(self, components: Sequence[Floats]) -> Floats:
        """By how many spreads of their class the components of masks, each (C, 5), are less sure.

        The mean over components, weighed by the roots of their pixels, as errors of a mean over
        pixels fall with that root; 0 for components that are surer than the middle of their class.

        Returns:
            (N,) from 0 on, NaN where a mask has no component.

        >>> sky, car = [0, 0, 90.0, 100, 0], [1, 1, 5.0, 25, 0]
        >>> told = np.zeros(2), np.array([0.8, 0.5]), np.array([0.1, 0.05])
        >>> usual = ComponentDoubt(*told, RankHistogram.empty(), RankHistogram.empty())
        >>> usual.deviations([np.array([sky, car])]).round(2)
        array([1.])
        """
        return _deviations(*_joined(components), self.middle, self.spread)


def _joined(components: Sequence[Floats]) -> tuple[Floats, Integers, int]:
    """Rows (class, sum of p, pixels) of all masks, the mask of each row, and how many masks."""
    parts = [_with_specks_together(item) for item in components]
    sample = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return np.concatenate([np.empty((0, 3)), *parts]), sample, len(parts)


def _with_specks_together(components: Floats) -> Floats:
    """(C, 3) class, sum of p and pixels of a mask's components (D, 5); specks of a class are one.

    The noise of single pixels averages out in a structure, and not in a speck. As only what
    components lack counts, a mask that is labelled here and there would be wrong for that alone.
    """
    rows = components[:, 1:4]
    is_speck = rows[:, 2] < SPECK_PX
    classes, place = np.unique(rows[is_speck, 0], return_inverse=True)
    sums = [np.bincount(place, rows[is_speck, column], len(classes)) for column in (1, 2)]
    return np.concatenate([rows[~is_speck], np.column_stack([classes, *sums])])


def _moments(components: Floats, num_classes: int) -> Floats:
    classes, p, weight = _parted(components)
    sums = [np.bincount(classes, weight * p**power, num_classes) for power in range(3)]
    return np.stack(sums, axis=1).astype(np.float64)


def _parted(components: Floats) -> tuple[Integers, Floats, Floats]:
    """Class, mean p(given class) and weight of each component."""
    num_px = components[:, 2]
    return components[:, 0].astype(np.int64), components[:, 1] / num_px, np.sqrt(num_px)


def _doubts(components: Floats, sample: Integers, num: int, usual: Floats) -> Floats:
    classes, total, num_px = components[:, 0].astype(np.int64), components[:, 1], components[:, 2]
    return _mean(np.maximum(usual[classes] * num_px - total, 0.0), num_px, sample, num)


def _deviations(
    components: Floats, sample: Integers, num: int, middle: Floats, spread: Floats
) -> Floats:
    classes, p, weight = _parted(components)
    lacking = np.maximum(middle[classes] - p, 0.0) / (spread[classes] + _LEAST_SPREAD)
    return _mean(weight * lacking, weight, sample, num)


def _mean(weighed: Floats, weight: Floats, sample: Integers, num: int) -> Floats:
    """(num,) mean of each mask, NaN without a component; differences by rounding are ties."""
    total, known = np.bincount(sample, weighed, num), np.bincount(sample, weight, num)
    mean = np.divide(total, known, out=np.full(num, np.nan), where=known > 0)
    return np.asarray(np.round(mean / _TELLING_DIFFERENCE) * _TELLING_DIFFERENCE)


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
