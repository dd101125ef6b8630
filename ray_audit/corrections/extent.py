"""What a rule did to labels, whether that is safe, and how many right labels it may have harmed."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ray_audit.samples import IGNORE

Labels = npt.NDArray[Any]

MAX_CHANGED_FRACTION = 0.5


@dataclass(frozen=True)
class ChangeCounts:
    """Changed elements (pixels, frames, images) by class pair; counts add up over samples.

    Attributes:
        pairs: (K, K) int64 from the given class (row) to the new one (column).
        harmed: expected number of right labels among the changed, from the probabilities.
        num_elements: labelled elements looked at.
    """

    pairs: npt.NDArray[np.int64]
    harmed: float
    num_elements: int

    @classmethod
    def of(
        cls,
        before: Labels,
        after: Labels,
        p_given: npt.NDArray[np.floating],
        p_new: npt.NDArray[np.floating],
        num_classes: int,
    ) -> Self:
        """Count the changes of one sample.

        A changed label was right with probability p_given / (p_given + p_new), if the model's
        probabilities are calibrated and no third class is right: an estimate, not a bound.

        Args:
            before: given classes, any shape, `IGNORE` where unlabelled.
            after: classes afterwards, same shape.
            p_given: probability of the given class, same shape.
            p_new: probability of the new class, same shape.
            num_classes: K.

        >>> one = ChangeCounts.of(
        ...     np.array([0, 1]), np.array([1, 1]), np.array([0.2, 0.9]), np.array([0.6, 0.9]), 2
        ... )
        >>> one.num_changed, one.harmed
        (1, 0.25)
        """
        labelled = before != IGNORE
        changed = labelled & (before != after)
        pairs = np.zeros((num_classes, num_classes), np.int64)
        np.add.at(pairs, (before[changed], after[changed]), 1)
        given, new = p_given[changed].astype(np.float64), p_new[changed].astype(np.float64)
        total = given + new
        harmed = np.divide(given, total, out=np.full(given.shape, 0.5), where=total > 0)
        return cls(pairs, float(harmed.sum()), int(np.count_nonzero(labelled)))

    @classmethod
    def none(cls, num_classes: int) -> Self:
        """Nothing looked at."""
        return cls(np.zeros((num_classes, num_classes), np.int64), 0.0, 0)

    def merge(self, other: Self) -> Self:
        """Both together."""
        return type(self)(
            self.pairs + other.pairs,
            self.harmed + other.harmed,
            self.num_elements + other.num_elements,
        )

    @property
    def num_changed(self) -> int:
        """Elements with a new class."""
        return int(self.pairs.sum())


@dataclass(frozen=True)
class Extent:
    """How much of a mask a correction changes; adds up over the tiles of an image.

    Attributes:
        num_labelled: labelled elements.
        num_changed: those with a new class.
        foreground: labelled elements that are not background, before and after; both 0 where
            there is no background.
    """

    num_labelled: int = 0
    num_changed: int = 0
    foreground: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, before: Labels, after: Labels, background: int | None) -> Self:
        """Measure one mask, or one tile; see `refusal`."""
        labelled = before != IGNORE
        changed = int(np.count_nonzero(labelled & (before != after)))
        sizes = (0, 0)
        if background is not None:
            was = np.count_nonzero(labelled & (before != background))
            sizes = (int(was), int(np.count_nonzero(labelled & (after != background))))
        return cls(int(np.count_nonzero(labelled)), changed, sizes)

    def merge(self, other: Self) -> Self:
        """Both together."""
        return type(self)(
            self.num_labelled + other.num_labelled,
            self.num_changed + other.num_changed,
            (self.foreground[0] + other.foreground[0], self.foreground[1] + other.foreground[1]),
        )

    def refusal(self, max_changed_fraction: float) -> str | None:
        """See `refusal`."""
        if not self.num_labelled:
            return None
        changed = self.num_changed / self.num_labelled
        if changed > max_changed_fraction:
            return f"it would change {changed:.0%} of it, more than {max_changed_fraction:.0%}"
        was, is_now = self.foreground
        if 2 * is_now < was and is_now < 0.05 * self.num_labelled:
            return f"it would empty the image: foreground {was} to {is_now} px"
        return None


def refusal(
    before: Labels, after: Labels, background: int | None, max_changed_fraction: float
) -> str | None:
    """Why a corrected mask should not be taken, or None where it may.

    Two guards: a rule must not change more than a stated share of the labelled pixels; and, as
    ADELE's released code has it for PASCAL VOC, it must not empty an image: the foreground falls
    below half of what it was while the background covers more than 95%.

    Args:
        before: (H, W) given classes, `IGNORE` where unlabelled.
        after: (H, W) classes afterwards.
        background: index of the background class, or None where there is none.
        max_changed_fraction: 0-1; 1 allows everything.

    Returns:
        A sentence, or None.
    """
    return Extent.of(before, after, background).refusal(max_changed_fraction)
