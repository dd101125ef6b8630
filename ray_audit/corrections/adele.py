"""ADELE's correction of masks, class by class, from the onset of memorisation on.

Liu et al. 2022, arXiv 2110.03740, as in the released code for SegTHOR. A class is corrected once
its training IoU has levelled off; from then on confident predictions replace its labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ray_audit.samples import IGNORE
from ray_audit.scores.early_learning import MIN_IOU, Onset, fit_onset

MIN_EPOCHS_BETWEEN = 10
CONFIDENCE = 0.5
"""Of a running mean of predictions; one epoch's own prediction is surer than it is right."""
_STABLE_EPOCHS = 3
_STABLE_WITHIN = 2
_LEVEL_EPOCHS, _LEVEL_RISE = 5, 0.01


@dataclass(frozen=True)
class AdeleRule:
    """When a predicted class replaces a label.

    Attributes:
        confidence_foreground: a foreground class must be more probable than this.
        confidence_background: the background must be more probable than this.
        gate: `pixel`: each pixel for itself, as the method's text has it; `image`: an image with
            one pixel that confident is corrected wherever its prediction differs.
        background: index of the background class.
    """

    confidence_foreground: float = CONFIDENCE
    confidence_background: float = CONFIDENCE
    gate: Literal["pixel", "image"] = "pixel"
    background: int = 0

    def __post_init__(self) -> None:
        for value in (self.confidence_foreground, self.confidence_background):
            if not 0 <= value <= 1:
                raise ValueError(f"confidence {value} of ADELE's rule: expected 0 to 1")

    def correct(
        self, labels: npt.NDArray[np.integer], p: npt.NDArray[np.floating], classes: Sequence[int]
    ) -> npt.NDArray[np.integer]:
        """New labels of one image.

        A label changes to the predicted class where all of this holds: the prediction is
        confident; the label and the prediction are the background or past their onset; and the
        predicted class is the background or present in the image's labels already.

        Args:
            labels: (H, W) given classes, or those of an earlier correction; `IGNORE` stays.
            p: (K, H, W) probabilities.
            classes: those past their onset; an image with none of them is left alone.

        Returns:
            (H, W) of the same dtype; the input is left as it is.

        Raises:
            ValueError: shapes that do not fit each other, or an unknown class.
        """
        num_classes = len(p)
        if p.shape[1:] != labels.shape or labels.ndim != 2:
            raise ValueError(
                f"probabilities of shape {p.shape} for a mask of shape {labels.shape}; expected "
                "(K, H, W) and (H, W)"
            )
        if any(not 0 <= class_ < num_classes for class_ in classes):
            raise ValueError(f"classes past onset {list(classes)}; expected 0 to {num_classes - 1}")
        present = np.unique(labels[labels != IGNORE])
        if not set(classes) & set(present.tolist()):
            return labels.copy()
        predicted = p.argmax(axis=0)
        open_classes = {self.background, *classes}
        allowed = open_classes & {self.background, *present.tolist()}
        replace = (
            self._confident(p)
            & np.isin(labels, list(open_classes))
            & np.isin(predicted, list(allowed))
        )
        return np.where(replace, predicted, labels).astype(labels.dtype)

    def _confident(self, p: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        foreground = np.delete(p, self.background, axis=0)
        top = foreground.max(axis=0) if len(foreground) else np.zeros(p.shape[1:])
        confident: npt.NDArray[np.bool_] = (top > self.confidence_foreground) | (
            p[self.background] > self.confidence_background
        )
        if self.gate == "image":
            return np.full(confident.shape, bool(confident.any()))
        return confident


@dataclass(frozen=True)
class Schedule:
    """Which classes are corrected after an epoch.

    Attributes:
        min_epochs_between: a class that was corrected waits this long.
        stable_epochs: an onset counts once as many epochs ago it was the same, within 2 epochs:
            a fit of few points says too early an onset. 0 takes each at once, as the released code.
        joins_late: a class without an onset is corrected with the others, once its IoU has risen
            by less than .01 in 5 epochs.
    """

    min_epochs_between: int = MIN_EPOCHS_BETWEEN
    stable_epochs: int = _STABLE_EPOCHS
    joins_late: bool = True

    def onsets(self, iou: npt.NDArray[np.floating]) -> list[Onset]:
        """Onset of each class, from its IoU with the labels over the epochs so far.

        Args:
            iou: (E, K), NaN where a class is neither given nor predicted.
        """
        return [fit_onset(column) for column in np.asarray(iou, np.float64).T]

    def due(
        self, iou: npt.NDArray[np.floating], last_corrected: dict[int, int], background: int = 0
    ) -> list[int]:
        """Classes to correct after the last epoch of `iou`.

        The onset is found with the epochs so far, as in the released code; unlike there it must
        have stood still. A fit that says that a class still rises has no onset: see `fit_onset` for
        when a fit is not trusted.

        Args:
            iou: (E, K) over the epochs so far.
            last_corrected: class -> epoch, from 1, of its latest correction.
            background: never due by itself; it is open to every correction.
        """
        epoch = len(iou)
        waiting = {
            index
            for index in range(np.shape(iou)[1])
            if index != background
            and epoch - last_corrected.get(index, -self.min_epochs_between)
            >= self.min_epochs_between
        }
        due = {index for index in waiting if self._is_past(iou[:, index])}
        if self.joins_late and (due or last_corrected):
            due |= {index for index in waiting if _is_level(iou[:, index])}
        return sorted(due)

    def _is_past(self, iou: npt.NDArray[np.floating]) -> bool:
        """Whether a class is past an onset that does not move any more."""
        num = len(iou)
        now = fit_onset(iou).epoch
        if now is None or num < now:
            return False
        earlier = (fit_onset(iou[: num - back]).epoch for back in range(1, self.stable_epochs + 1))
        return all(then is not None and abs(then - now) <= _STABLE_WITHIN for then in earlier)


def _is_level(iou: npt.NDArray[np.floating]) -> bool:
    """Whether a learnt class has stopped to rise, whatever the fit says."""
    known = np.nan_to_num(np.asarray(iou, np.float64), nan=-np.inf)
    if len(known) <= _LEVEL_EPOCHS or known.max() < MIN_IOU:
        return False
    return bool(known[-_LEVEL_EPOCHS:].max() - known[:-_LEVEL_EPOCHS].max() < _LEVEL_RISE)
