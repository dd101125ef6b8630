"""How a fold's model agrees, epoch by epoch, with the labels that it is not trained on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ray_audit import storage
from ray_audit.samples import IGNORE

WORTH_NAMING = 0.01


def class_counts(logits: Tensor, labels: Tensor) -> Tensor:
    """Elements of each class: predicted as given, given, and predicted.

    Args:
        logits: (N, K), (N, T, K) or (N, K, H, W).
        labels: (N,), (N, T) or (N, H, W) int64, `IGNORE` where unlabelled.

    Returns:
        (3, K) int64, over the labelled elements; where tiles overlap, those count twice.
    """
    class_axis = 2 if logits.ndim == 3 else 1
    num_classes = logits.shape[class_axis]
    is_labelled = labels != IGNORE
    given = labels[is_labelled]
    guess = logits.argmax(class_axis)[is_labelled]
    counted = (given[given == guess], given, guess)
    return torch.stack([torch.bincount(of, minlength=num_classes) for of in counted])


@dataclass(frozen=True)
class HeldOutEpoch:
    """Agreement with the given labels of a fold after one epoch.

    Attributes:
        accuracy: share of the labelled elements (pixels, frames, images) predicted as given, 0-1.
        iou: mean IoU of the classes that are given or predicted, 0-1.
    """

    accuracy: float
    iou: float

    @classmethod
    def of(cls, counts: npt.NDArray[np.floating]) -> "HeldOutEpoch | None":
        """From (3, K) `class_counts`; None where nothing is labelled.

        >>> HeldOutEpoch.of(np.array([[3.0, 0.0], [3.0, 1.0], [4.0, 0.0]]))
        HeldOutEpoch(accuracy=0.75, iou=0.375)
        """
        both, given, guess = counts
        if not given.sum():
            return None
        either = given + guess - both
        iou = both[either > 0] / either[either > 0]
        return cls(float(both.sum() / given.sum()), float(iou.mean()))


@dataclass(frozen=True)
class HeldOut:
    """The best epoch against the last, in the mean of the folds.

    Attributes:
        measure: `iou` of masks, else `accuracy`.
        by_epoch: its mean over the folds after each epoch.
        best_epoch: from 1, the first of the best.
        best: value after it.
        last: value after the last epoch.
        disagree: share of the labels that the models do not predict after the best epoch.
    """

    measure: str
    by_epoch: tuple[float, ...]
    best_epoch: int
    best: float
    last: float
    disagree: float

    @classmethod
    def of(cls, folds: Sequence[Sequence[HeldOutEpoch | None]], *, masks: bool) -> "HeldOut | None":
        """Over all folds; None where one of them does not say.

        Args:
            folds: of each fold its epochs in order.
            masks: whether labels belong to pixels.
        """
        measure = "iou" if masks else "accuracy"
        known = [[epoch for epoch in fold if epoch is not None] for fold in folds]
        num_epochs = max(map(len, folds), default=0)
        if not num_epochs or any(len(fold) < num_epochs for fold in known):
            return None
        values = np.mean([[getattr(epoch, measure) for epoch in fold] for fold in known], axis=0)
        best = int(values.argmax())
        disagree = 1 - float(np.mean([fold[best].accuracy for fold in known]))
        by_epoch = tuple(map(float, values))
        return cls(measure, by_epoch, best + 1, by_epoch[best], by_epoch[-1], disagree)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Which epoch was best, what the last gives, and when correcting by these does harm."""
        measure = "mean IoU" if self.measure == "iou" else "accuracy"
        best = f"{self.best:.3f} after epoch {self.best_epoch}"
        below = self.best - self.last
        against = f"Held out, by the given labels: {measure} {best}"
        if self.best_epoch == len(self.by_epoch):
            against += ", the last and best"
        elif below < WORTH_NAMING:
            against += f" at best, {self.last:.3f} after the last: no worse"
        else:
            against += (
                f" at best; the last is {below:.3f} below the best: later epochs memorise; the "
                "audit says which labels"
            )
        # Errors of model and labels together are at least what the two disagree in.
        worse = (
            f"After that epoch models disagree with {self.disagree:.1%} of the labels that they "
            f"never saw: unless {self.disagree / 2:.1%} of the labels are wrong, or more, models "
            "are worse than their labels, and correcting by them does harm"
        )
        return (against, worse) if self.disagree else (against,)

    def write(self, uri: str) -> None:
        """Keep it, with its sentences, as JSON."""
        values = asdict(self) | {"sentences": self.sentences}
        storage.write_bytes(uri, json.dumps(values, indent=2).encode())
