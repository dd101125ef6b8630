"""How far the confidence in a mask's components falls short of what is usual for their class.

The same for masks as `class_losses` for classes: some classes are drawn less surely than others,
and thin ones less than large ones, so that what is usual for a class is taken away first. Our
definition; the usual confidence is the class threshold of confident learning (Northcutt et al.
2021; Lad and Mueller 2023).

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
_TELLING_DIFFERENCE = 2.0**-18
"""Below it lies the rounding of float32: equal masks must not part by it."""


@dataclass(frozen=True)
class ComponentSample:
    """Components of a sample of masks, and the confidence in each class; parts add up in any order.

    Attributes:
        digests: (S,) uint64 of the masks' names, rising.
        sizes: (S,) int64 components of each.
        components: (C, 3) class, sum of p(given class), pixels; of the masks one after another.
        class_sum: (K,) sum of p(given class) over the pixels of all masks, not of the sample alone.
        class_count: (K,) their pixels.
    """

    digests: npt.NDArray[np.uint64]
    sizes: Integers
    components: Floats
    class_sum: Floats
    class_count: Floats

    @classmethod
    def of(cls, names: Sequence[str], components: Sequence[Floats], num_classes: int) -> Self:
        """Observe masks by their names and components (C, 5), see `merge_components`."""
        parts = [item[:, 1:4] for item in components]
        every = np.concatenate([np.empty((0, 3)), *parts])
        classes = every[:, 0].astype(np.int64)
        return cls(
            np.array([_digest(name) for name in names], np.uint64),
            np.array([len(part) for part in parts], np.int64),
            every,
            np.bincount(classes, every[:, 1], num_classes).astype(np.float64),
            np.bincount(classes, every[:, 2], num_classes).astype(np.float64),
        )._least()

    def merge(self, other: Self) -> Self:
        """Both together."""
        return type(self)(
            np.concatenate([self.digests, other.digests]),
            np.concatenate([self.sizes, other.sizes]),
            np.concatenate([self.components, other.components]),
            self.class_sum + other.class_sum,
            self.class_count + other.class_count,
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
        )

    def finish(self) -> "ComponentDoubt":
        """What is usual for each class, and how the doubts of masks are distributed."""
        usual = self.class_sum / np.maximum(self.class_count, 1.0)
        sample = np.repeat(np.arange(len(self.sizes)), self.sizes)
        doubts = _doubts(self.components, sample, len(self.sizes), usual)
        return ComponentDoubt(usual, RankHistogram.empty().observe(doubts))


@dataclass(frozen=True)
class ComponentDoubt:
    """What is usual for each class, and how masks are distributed beside it.

    Attributes:
        usual: (K,) mean p(given class) over the pixels of a class.
        distribution: of the doubts of masks.
    """

    usual: Floats
    distribution: RankHistogram

    def of(self, components: Sequence[Floats]) -> Floats:
        """Doubt of masks of these components, each (C, 5): (N,) 0 to 1, NaN where one has none.

        The mean over pixels of what the mean p(given class) of their component lacks of the usual
        one of its class; 0 for components that have more.

        >>> sky, car = [0, 0, 90.0, 100, 0], [1, 1, 10.0, 50, 0]
        >>> usual = ComponentDoubt(np.array([0.8, 0.5]), RankHistogram.empty())
        >>> usual.of([np.array([sky, car])]).round(2)
        array([0.1])
        """
        parts = [item[:, 1:4] for item in components]
        sample = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return _doubts(np.concatenate([np.empty((0, 3)), *parts]), sample, len(parts), self.usual)


def _doubts(components: Floats, sample: Integers, num: int, usual: Floats) -> Floats:
    classes, total, num_px = components[:, 0].astype(np.int64), components[:, 1], components[:, 2]
    lacking = np.maximum(usual[classes] * num_px - total, 0.0)
    lacks, pixels = np.bincount(sample, lacking, num), np.bincount(sample, num_px, num)
    doubts = np.divide(lacks, pixels, out=np.full(num, np.nan), where=pixels > 0)
    return np.asarray(np.round(doubts / _TELLING_DIFFERENCE) * _TELLING_DIFFERENCE)


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
