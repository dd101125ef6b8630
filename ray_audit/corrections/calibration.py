"""Probabilities of checkpoints that still learnt, made to say what samples that look right say.

Early checkpoints lean: towards the background, or towards the outline that some of the labels
have. On samples that nothing speaks against the lean can be measured, and taken away by a
temperature and a bias for each class (bias-corrected temperature scaling, Alexandari et al. 2020,
arXiv 1901.06852). So few numbers cannot learn the errors, and on the same samples the checkpoints'
own error is seen: where flagged samples disagree with them hardly more than these, nothing is won.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

_LEAST_P = 1e-4
_PENALTY = 1e-4
"""Of the squared distance from no change: classes that do not occur keep their place."""


@dataclass(frozen=True)
class LabelCalibration:
    """What is done to log probabilities.

    Attributes:
        scale: one over the temperature.
        bias: (K,) added to each class, nats.
    """

    scale: float
    bias: tuple[float, ...]

    def of(self, p: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities.

        Args:
            p: (K, ...) that sum to 1 over the first axis.
        """
        bias = np.reshape(self.bias, (-1, *[1] * (p.ndim - 1)))
        made: npt.NDArray[np.float32] = softmax(_log(p) * self.scale + bias, axis=0)
        return made.astype(np.float32)


def _log(p: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.log(np.maximum(p, _LEAST_P, dtype=np.float64))
    return found


def calibrate(p: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> LabelCalibration:
    """Fit temperature and biases by maximum likelihood.

    Args:
        p: (K, N) probabilities.
        labels: (N,) classes of the same elements, all labelled.

    Returns:
        The calibration; one that changes nothing where there is no element.
    """
    num_classes, num = p.shape
    nothing = np.concatenate([[1.0], np.zeros(num_classes)])
    if not num:
        return LabelCalibration(1.0, (0.0,) * num_classes)
    log_p, picked = _log(p), (labels, np.arange(num))

    def loss(theta: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        logits = theta[0] * log_p + theta[1:, None]
        log_q = log_softmax(logits, axis=0)
        gap = np.exp(log_q)
        gap[picked] -= 1.0
        gradient = np.concatenate([[float((gap * log_p).sum())], gap.sum(axis=1)]) / num
        away = theta - nothing
        value = -float(log_q[picked].mean()) + _PENALTY * float(away @ away)
        return value, gradient + 2 * _PENALTY * away

    found = minimize(loss, nothing, jac=True, method="L-BFGS-B").x
    return LabelCalibration(float(found[0]), tuple(found[1:].tolist()))


@dataclass(frozen=True)
class ExpectedGain:
    """Whether predictions are better than the labels of the flagged samples.

    Both disagree with the predictions: labels that are wrong, and right ones where the prediction
    is wrong. The latter is at least what it is on the others, and what calibrated predictions say
    of themselves: on samples that are hard, and not wrong, they are less sure.

    Attributes:
        disagree_flagged: share of the elements of flagged samples, 0-1.
        disagree_others: of the others.
        unsure_flagged: mean of 1 - p of the predicted class, over flagged samples.
    """

    disagree_flagged: float
    disagree_others: float
    unsure_flagged: float

    @property
    def wrong_before(self) -> float:
        """Estimated share of wrong labels in flagged samples, 0-1."""
        return max(0.0, self.disagree_flagged - self.wrong_after)

    @property
    def wrong_after(self) -> float:
        """Estimated share that would be wrong afterwards: of the predictions, 0-1."""
        return max(self.disagree_others, self.unsure_flagged)

    @property
    def value(self) -> float:
        """Share of the pixels of flagged samples that would be mended, less those harmed."""
        return self.disagree_flagged - 2 * self.wrong_after

    @property
    def is_clear(self) -> bool:
        """Whether at most half as many would be wrong afterwards.

        Less is what the best of many windows may promise of masks that are hard, and right.
        """
        return 0 < self.wrong_before >= 2 * self.wrong_after

    def sentence(self, num_flagged: int, num_others: int) -> str:
        """What is expected, with the numbers that it comes from."""
        return (
            f"Expected: {self.wrong_before:.1%} of the pixels of flagged masks are wrong, and "
            f"{self.wrong_after:.1%} afterwards (early checkpoints see another class in "
            f"{self.disagree_flagged:.1%} of the pixels of {num_flagged} of these masks, in "
            f"{self.disagree_others:.1%} of those of {num_others} others)"
        )
