"""Correction during training, for any loop: told of each batch, it answers with the labels to use.

    corrector = EarlyLearningCorrection(num_classes=4)          # or RefurbishFlagged(...)
    for epoch in range(num_epochs):
        for sample_ids, images, given in batches:
            labels = corrector.labels(sample_ids, given)
            logits = model(images)
            ...                                                  # loss on `labels`, step
            corrector.observe(sample_ids, labels, logits)
        report = corrector.end_epoch()

Nothing here needs Ray. Predictions are those of the training pass itself, in train mode, as in
ADELE's released code. There labels change at the end of an epoch, by its predictions. Here the
end of an epoch decides which classes (or samples) are due; their labels change as samples come by
in the next one, by a running mean of each image's predictions, and are used from the one after.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ray_audit.corrections.adele import AdeleRule, Schedule
from ray_audit.corrections.extent import MAX_CHANGED_FRACTION, ChangeCounts, refusal
from ray_audit.corrections.refurbish import flagged, refurbish
from ray_audit.samples import IGNORE
from ray_audit.scores.early_learning import iou_from_counts
from ray_audit.scores.mixture import wrong_share
from ray_audit.training.sample_store import SampleStore

Labels = npt.NDArray[np.integer]

LEARNT_IOU = 0.5
"""Below this IoU with the given labels a model is hardly better than they are."""
_LEAST_AVERAGED = 3
PREDICTION_DECAY = 0.8
"""About the last five epochs' predictions: single epochs move by far more than they learn."""


@dataclass(frozen=True)
class EpochReport:
    """What happened to the labels in one epoch.

    Attributes:
        epoch: from 1.
        changes: elements changed during it.
        num_refused: samples whose correction the guards refused.
        due: classes (ADELE) or samples (refurbishing) that the next epoch corrects.
        without_onset: ADELE: foreground classes that have not been due so far, and why.
        flagging: refurbishing: how many samples were held to be wrong, in the epoch that said so.
        unlearnt: ADELE: classes that are due although the model hardly agrees with their labels,
            with the IoU.
    """

    epoch: int
    changes: ChangeCounts
    num_refused: int
    due: tuple[int | str, ...]
    without_onset: dict[int, str] = field(default_factory=dict)
    flagging: str = ""
    unlearnt: dict[int, float] = field(default_factory=dict)


class _Corrector:
    """Labels as they stand, and the counting of what changes."""

    def __init__(
        self,
        num_classes: int,
        background: int | None,
        max_changed_fraction: float,
        store: SampleStore | None,
    ) -> None:
        self._num_classes = num_classes
        self._background = background
        self._max_changed_fraction = max_changed_fraction
        self._store = store or SampleStore()
        self._epoch = 0
        self._begin()

    @property
    def epoch(self) -> int:
        """Epochs that have ended."""
        return self._epoch

    def _begin(self) -> None:
        self._changes = ChangeCounts.none(self._num_classes)
        self._num_refused = 0

    def labels(self, sample_ids: Sequence[str], given: Tensor) -> Tensor:
        """The labels to train on: corrected ones where there are any, else the given ones.

        Args:
            sample_ids: N names.
            given: (N, ...) int64, -1 where unlabelled.
        """
        current = given.clone()
        for n, sample_id in enumerate(sample_ids):
            stored = self._store.get(sample_id)
            if stored is not None:
                current[n] = torch.from_numpy(stored.astype(np.int64)).to(given.device)
        return current

    def _take(
        self, sample_id: str, before: Labels, after: Labels, p: npt.NDArray[np.floating]
    ) -> None:
        why = refusal(before, after, self._background, self._max_changed_fraction)
        if why is not None:
            self._num_refused += 1
            return
        p_before, p_after = (_p_of(p, logits) for logits in (before, after))
        counts = ChangeCounts.of(before, after, p_before, p_after, self._num_classes)
        self._changes = self._changes.merge(counts)
        if counts.num_changed:
            smallest = np.int16 if self._num_classes < 2**15 else np.int32
            self._store.put(sample_id, after.astype(smallest))

    def _report(self, due: Sequence[int | str]) -> EpochReport:
        report = EpochReport(self._epoch, self._changes, self._num_refused, tuple(due))
        self._begin()
        return report


class EarlyLearningCorrection(_Corrector):
    """ADELE (Liu et al. 2022): corrects masks class by class, each from its own onset on.

    Args:
        num_classes: K.
        rule: when a prediction replaces a label.
        schedule: how the onset is found, and how long a corrected class waits.
        max_changed_fraction: a correction that changes more of an image is refused.
        store: where corrected labels are kept; in memory where absent.
        prediction_decay: share of the running mean of an image's predictions that stays in an
            epoch, 0 to below 1; 0 corrects by the epoch's own prediction, as the released code.
        prediction_store: where the means are kept, in float16: 2 bytes per class and pixel of
            each image; in memory where absent. The means of one batch are held at a time.
    """

    def __init__(
        self,
        num_classes: int,
        rule: AdeleRule | None = None,
        schedule: Schedule | None = None,
        max_changed_fraction: float = MAX_CHANGED_FRACTION,
        store: SampleStore | None = None,
        prediction_decay: float = PREDICTION_DECAY,
        prediction_store: SampleStore | None = None,
    ) -> None:
        if not 0 <= prediction_decay < 1:
            raise ValueError(f"prediction_decay {prediction_decay}: expected 0 to below 1")
        self._decay = prediction_decay
        self._predictions = prediction_store or SampleStore()
        self._num_averaged = 0
        self._rule = rule or AdeleRule()
        super().__init__(num_classes, self._rule.background, max_changed_fraction, store)
        self._schedule = schedule or Schedule()
        self._iou: list[npt.NDArray[np.float64]] = []
        self._last_corrected: dict[int, int] = {}
        self._due: list[int] = []
        self._confusion = np.zeros((num_classes, num_classes), np.int64)

    def observe(self, sample_ids: Sequence[str], labels: Tensor, logits: Tensor) -> None:
        """Take a batch's predictions; correct the classes that are due.

        Args:
            sample_ids: N names.
            labels: (N, H, W) int64, those that were trained on.
            logits: (N, K, H, W).
        """
        p_NKHW = torch.softmax(logits.detach().float(), dim=1).cpu().numpy()
        labels_NHW = labels.cpu().numpy()
        labelled = labels_NHW != IGNORE
        pairs = labels_NHW * self._num_classes + p_NKHW.argmax(axis=1)
        counts = np.bincount(pairs[labelled], minlength=self._num_classes**2)
        self._confusion += counts.reshape(self._confusion.shape)
        for sample_id, before, p in zip(sample_ids, labels_NHW, p_NKHW, strict=True):
            mean = self._averaged(sample_id, p)
            if self._due:
                self._take(sample_id, before, self._rule.correct(before, mean, self._due), mean)

    def _averaged(self, sample_id: str, p_KHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The running mean of an image's predictions, this one in it."""
        if not self._decay:
            return p_KHW
        stored = self._predictions.get(sample_id)
        if stored is not None and stored.shape == p_KHW.shape:
            p_KHW = self._decay * stored.astype(np.float32) + (1 - self._decay) * p_KHW
        self._predictions.put(sample_id, p_KHW.astype(np.float16))
        return p_KHW

    def state(self) -> dict[str, Any]:
        """What a resumed training needs beside the labels in the store, as plain values."""
        return {
            "epoch": self._epoch,
            "iou": [row.tolist() for row in self._iou],
            "last_corrected": dict(self._last_corrected),
            "due": list(self._due),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave at the end of an epoch.

        The running means begin anew: they are as large as the data, and are not kept. Nothing is
        corrected until they are means of some epochs again: what was due is decided anew then.
        """
        self._epoch = state["epoch"]
        self._num_averaged = 0
        self._iou = [np.array(row, np.float64) for row in state["iou"]]
        self._last_corrected = dict(state["last_corrected"])
        self._due = list(state["due"])
        if self._decay:
            for index in self._due:
                del self._last_corrected[index]
            self._due = []

    def end_epoch(self) -> EpochReport:
        """Close an epoch: learn its IoU, and decide which classes the next one corrects."""
        self._epoch += 1
        confusion = self._confusion
        self._iou.append(
            iou_from_counts(np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1))
        )
        self._confusion = np.zeros_like(confusion)
        background = self._rule.background
        self._num_averaged += 1
        self._due = []
        if not self._decay or self._num_averaged >= _LEAST_AVERAGED:
            self._due = self._schedule.due(np.stack(self._iou), self._last_corrected, background)
        self._last_corrected |= dict.fromkeys(self._due, self._epoch)
        without = {
            index: onset.reason
            for index, onset in enumerate(self._schedule.onsets(np.stack(self._iou)))
            if index not in {background, *self._last_corrected}
        }
        now = self._iou[-1]
        unlearnt = {index: float(now[index]) for index in self._due if now[index] < LEARNT_IOU}
        return replace(self._report(self._due), without_onset=without, unlearnt=unlearnt)


class RefurbishFlagged(_Corrector):
    """Replaces labels of flagged samples by confident predictions, after a warm-up.

    Our reading of "Detecting and refurbishing" (Islam et al. 2026), whose thresholds are not
    published. At the end of the epochs from `first_epoch` on the most suspicious samples are
    flagged, by what is handed to `end_epoch` (loss on the given labels, VoG). Only these change,
    and they stay flagged: a set that is chosen anew each epoch lets the mended fall out and moves
    on to right ones.

    Args:
        num_classes: K.
        flagged_fraction: of the samples that have a score; `auto`: as many as form a group of
            higher losses of their own, see `scores.mixture`, and none where there is none.
        confidence: a new class must be more probable than this.
        first_epoch: from 1; earlier ones flag nothing.
        background: index of a class that must not take over an image, or None.
        max_changed_fraction: a correction that changes more of a sample is refused.
        store: where corrected labels are kept; in memory where absent.
    """

    def __init__(
        self,
        num_classes: int,
        flagged_fraction: float | Literal["auto"] = "auto",
        confidence: float = 0.8,
        first_epoch: int = 10,
        background: int | None = None,
        max_changed_fraction: float = 1.0,
        store: SampleStore | None = None,
    ) -> None:
        super().__init__(num_classes, background, max_changed_fraction, store)
        self._flagged_fraction = flagged_fraction
        self._confidence = confidence
        self._first_epoch = first_epoch
        self._due: frozenset[str] = frozenset()

    def observe(self, sample_ids: Sequence[str], labels: Tensor, logits: Tensor) -> None:
        """Take a batch's predictions; refurbish its flagged samples.

        Args:
            sample_ids: N names.
            labels: (N, ...) int64, those that were trained on.
            logits: (N, K, ...).
        """
        for n, sample_id in enumerate(sample_ids):
            if sample_id in self._due:
                p = torch.softmax(logits[n].detach().float(), dim=0).cpu().numpy()
                before = labels[n].cpu().numpy()
                self._take(sample_id, before, refurbish(before, p, self._confidence).labels, p)

    def state(self) -> dict[str, Any]:
        """What a resumed training needs beside the labels in the store, as plain values."""
        return {"epoch": self._epoch, "due": sorted(self._due)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave at the end of an epoch."""
        self._epoch = state["epoch"]
        self._due = frozenset(state["due"])

    def end_epoch(self, suspicion: dict[str, float]) -> EpochReport:
        """Close an epoch and say which samples the next one refurbishes.

        Args:
            suspicion: sample -> score, higher is more suspicious; NaN is never flagged.
        """
        self._epoch += 1
        flagging = ""
        # With a share of its own the set is full at once; a group of losses shows its members late.
        is_open = self._flagged_fraction == "auto" or not self._due
        if self._epoch >= self._first_epoch and is_open:
            # One without a score is none of those among whom the share is taken.
            names = sorted(name for name, value in suspicion.items() if not math.isnan(value))
            values = np.array([suspicion[name] for name in names])
            fraction, flagging = self._fraction_of(values)
            is_due = flagged(values, fraction).tolist()
            self._due |= frozenset(name for name, due in zip(names, is_due, strict=True) if due)
        return replace(self._report(sorted(self._due)), flagging=flagging)

    def _fraction_of(self, suspicion: npt.NDArray[np.float64]) -> tuple[float, str]:
        if self._flagged_fraction != "auto":
            return self._flagged_fraction, ""
        share = wrong_share(suspicion)
        # The share may lie a hair below that of a whole number of samples.
        return min(1.0, share.fraction + 1e-9), share.reason


def _p_of(p: npt.NDArray[np.floating], labels: Labels) -> npt.NDArray[np.floating]:
    """Probability of each element's class; that of class 0 where it has none."""
    index = np.where(labels == IGNORE, 0, labels)[None]
    found: npt.NDArray[np.floating] = np.take_along_axis(p, index, axis=0)[0]
    return found
