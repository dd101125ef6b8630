"""How far checkpoints have fitted the labels that look wrong, and which loss to trust then."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MAX_SUSPICIOUS_FRACTION = 0.05
MOSTLY_FITTED = 0.8
RARELY_FITTED = 0.2

Verdict = Literal["early", "mean", "final"]


@dataclass(frozen=True)
class Memorisation:
    """Whether the last checkpoint has learnt labels that look wrong, and which loss to trust.

    Attributes:
        fitted_fraction: how far the most suspicious labels are fitted, 0-1; NaN where there are
            none.
        train_accuracy: share of all samples (dense: of labelled pixels, by image) whose given
            label the last checkpoint predicts.
        verdict: `early`, `mean` or `final`: the loss that separates best in this regime.
        reason: a sentence with the numbers.
    """

    fitted_fraction: float
    train_accuracy: float
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class FitState:
    """Sums over samples from which memorisation is judged; they add up over units.

    Attributes:
        num: samples.
        num_suspicious: the most suspicious of them.
        errors: (E,) sum over samples of the share not predicted as given, per checkpoint.
        errors_suspicious: (E,) the same over the most suspicious.
    """

    num: int
    num_suspicious: int
    errors: Floats
    errors_suspicious: Floats

    @classmethod
    def of(cls, correct: npt.NDArray[np.floating], is_suspicious: npt.NDArray[np.bool_]) -> Self:
        """Observe samples.

        Args:
            correct: (N, E) whether (dense: on which share of pixels) a checkpoint predicts the
                given label.
            is_suspicious: (N,) those of highest CSL, the upper `MAX_SUSPICIOUS_FRACTION`.
        """
        errors = 1.0 - np.asarray(correct, np.float64)
        return cls(
            len(errors),
            int(np.count_nonzero(is_suspicious)),
            errors.sum(axis=0),
            errors[is_suspicious].sum(axis=0),
        )

    def merge(self, other: Self) -> Self:
        """Both together; fold in a fixed order."""
        return type(self)(
            self.num + other.num,
            self.num_suspicious + other.num_suspicious,
            self.errors + other.errors,
            self.errors_suspicious + other.errors_suspicious,
        )

    def finish(self, dense: bool) -> Memorisation:
        """Judge how far labels are memorised. Our definition.

        With one label per sample, a suspicious label is fitted where the last checkpoint predicts
        it. A wrong mask is wrong in some of its pixels only: there, fitted is the share of the
        excess error (of suspicious over all images, at its largest) that is gone at the last
        checkpoint. From 80% the final loss says little (trust the early half, or the mean); up
        to 20% the model has not memorised, and late losses are the sharpest.

        >>> FitState.of(np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([False, True])).finish(
        ...     dense=False
        ... ).verdict
        'early'
        """
        if not self.num_suspicious:
            return Memorisation(
                float("nan"), float("nan"), "mean", "no sample stands out by its loss"
            )
        accuracy = 1.0 - float(self.errors[-1]) / self.num
        fitted = self._excess_gone() if dense else self._predicted()
        verdict: Verdict = "mean"
        if fitted >= MOSTLY_FITTED:
            verdict = "early"
        elif fitted <= RARELY_FITTED:
            verdict = "final"
        what = (
            f"{fitted:.0%} of the excess error of the most suspicious masks is gone at the last "
            f"checkpoint, which predicts {accuracy:.0%} of all labelled pixels as given"
            if dense
            else f"the last checkpoint predicts the given label of {fitted:.0%} of the most "
            f"suspicious samples and of {accuracy:.0%} of all"
        )
        return Memorisation(fitted, accuracy, verdict, what)

    def _predicted(self) -> float:
        return 1.0 - float(self.errors_suspicious[-1]) / self.num_suspicious

    def _excess_gone(self) -> float:
        excess = self.errors_suspicious / self.num_suspicious - self.errors / self.num
        max_excess = float(excess.max())
        return float(np.clip(1.0 - excess[-1] / max_excess, 0.0, 1.0)) if max_excess > 0 else 1.0
