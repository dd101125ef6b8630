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
from ray_audit.scores.early_learning import Onset, fit_onset

MIN_EPOCHS_BETWEEN = 10


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

    confidence_foreground: float = 0.7
    confidence_background: float = 0.7
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
        if any(not 0 <= one < num_classes for one in classes):
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
    """

    min_epochs_between: int = MIN_EPOCHS_BETWEEN

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

        The onset is found with the epochs so far, as in the released code. A fit that says that
        a class still rises has no onset: see `fit_onset` for when a fit is not trusted.

        Args:
            iou: (E, K) over the epochs so far.
            last_corrected: class -> epoch, from 1, of its latest correction.
            background: never due by itself; it is open to every correction.
        """
        epoch = len(iou)
        due = []
        for index, onset in enumerate(self.onsets(iou)):
            waited = epoch - last_corrected.get(index, -self.min_epochs_between)
            is_past = onset.epoch is not None and epoch >= onset.epoch
            if index != background and is_past and waited >= self.min_epochs_between:
                due.append(index)
        return due
