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
ADELE's released code. There all predictions of an epoch are kept and labels change at its end; here
nothing is kept: which classes (or samples) are due is decided at the end of an epoch, their labels
change as the samples come by in the next one, and the new labels are used from the one after.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ray_audit.corrections.adele import AdeleRule, Schedule
from ray_audit.corrections.changes import MAX_CHANGED_FRACTION, ChangeCounts, refusal
from ray_audit.corrections.refurbish import flagged, refurbish
from ray_audit.samples import IGNORE
from ray_audit.scores.early_learning import iou_from_counts
from ray_audit.training.sample_store import SampleStore

Labels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class EpochReport:
    """What happened to the labels in one epoch.

    Attributes:
        epoch: from 1.
        changes: elements changed during it.
        num_refused: samples whose correction the guards refused.
        due: classes (ADELE) or samples (refurbishing) that the next epoch corrects.
        without_onset: ADELE: foreground classes that have not been due so far, and why.
    """

    epoch: int
    changes: ChangeCounts
    num_refused: int
    due: tuple[int | str, ...]
    without_onset: dict[int, str] = field(default_factory=dict)


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
            held = self._store.get(sample_id)
            if held is not None:
                current[n] = torch.from_numpy(held.astype(np.int64)).to(given.device)
        return current

    def _take(
        self, sample_id: str, before: Labels, after: Labels, p: npt.NDArray[np.floating]
    ) -> None:
        why = refusal(before, after, self._background, self._max_changed_fraction)
        if why is not None:
            self._num_refused += 1
            return
        p_before, p_after = (_p_of(p, one) for one in (before, after))
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
    """

    def __init__(
        self,
        num_classes: int,
        rule: AdeleRule | None = None,
        schedule: Schedule | None = None,
        max_changed_fraction: float = MAX_CHANGED_FRACTION,
        store: SampleStore | None = None,
    ) -> None:
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
        if self._due:
            for sample_id, before, p in zip(sample_ids, labels_NHW, p_NKHW, strict=True):
                self._take(sample_id, before, self._rule.correct(before, p, self._due), p)

    def state(self) -> dict[str, Any]:
        """What a resumed training needs beside the labels in the store, as plain values."""
        return {
            "epoch": self._epoch,
            "iou": [row.tolist() for row in self._iou],
            "last_corrected": dict(self._last_corrected),
            "due": list(self._due),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave at the end of an epoch."""
        self._epoch = state["epoch"]
        self._iou = [np.array(row, np.float64) for row in state["iou"]]
        self._last_corrected = dict(state["last_corrected"])
        self._due = list(state["due"])

    def end_epoch(self) -> EpochReport:
        """Close an epoch: learn its IoU, and decide which classes the next one corrects."""
        self._epoch += 1
        confusion = self._confusion
        self._iou.append(
            iou_from_counts(np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1))
        )
        self._confusion = np.zeros_like(confusion)
        background = self._rule.background
        self._due = self._schedule.due(np.stack(self._iou), self._last_corrected, background)
        self._last_corrected |= dict.fromkeys(self._due, self._epoch)
        without = {
            index: onset.reason
            for index, onset in enumerate(self._schedule.onsets(np.stack(self._iou)))
            if index not in {background, *self._last_corrected}
        }
        return replace(self._report(self._due), without_onset=without)


class RefurbishFlagged(_Corrector):
    """Replaces labels of flagged samples by confident predictions, after a warm-up.

    Our reading of "Detecting and refurbishing" (Islam et al. 2026), whose thresholds are not
    published. At the end of each epoch from `first_epoch` on, the most suspicious samples are
    flagged, by the scores that are handed to `end_epoch` (VoG, loss); only these change.

    Args:
        num_classes: K.
        flagged_fraction: of the samples that have a score.
        confidence: a new class must be more probable than this.
        first_epoch: from 1; earlier ones flag nothing.
        background: index of a class that must not take over an image, or None.
        max_changed_fraction: a correction that changes more of a sample is refused.
        store: where corrected labels are kept; in memory where absent.
    """

    def __init__(
        self,
        num_classes: int,
        flagged_fraction: float,
        confidence: float = 0.8,
        first_epoch: int = 5,
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
        """Close an epoch and flag the samples that the next one refurbishes.

        Args:
            suspicion: sample -> score, higher is more suspicious; NaN is never flagged.
        """
        self._epoch += 1
        self._due = frozenset()
        if self._epoch >= self._first_epoch and suspicion:
            names = sorted(suspicion)
            chosen = flagged(np.array([suspicion[n] for n in names]), self._flagged_fraction)
            self._due = frozenset(n for n, one in zip(names, chosen, strict=True) if one)
        return self._report(sorted(self._due))


def _p_of(p: npt.NDArray[np.floating], labels: Labels) -> npt.NDArray[np.floating]:
    """Probability of each element's class; that of class 0 where it has none."""
    index = np.where(labels == IGNORE, 0, labels)[None]
    found: npt.NDArray[np.floating] = np.take_along_axis(p, index, axis=0)[0]
    return found
