"""Correction of labels while a specification's model is trained: `training.correction`.

Joins the callbacks of `corrected` to the training loop: keeps what they changed, an Arrow file an
epoch, so that a resumed training has the same labels, and adds up what may have been harmed.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor
from torch.nn import functional

from ray_audit import parquet_io, storage
from ray_audit.config import AuditConfig
from ray_audit.corrections.adele import CONFIDENCE, AdeleRule
from ray_audit.corrections.extent import MAX_CHANGED_FRACTION, ChangeCounts
from ray_audit.errors import SpecificationError
from ray_audit.samples import IGNORE
from ray_audit.scores.early_learning import MIN_EPOCHS
from ray_audit.task import Task
from ray_audit.training.corrected import (
    EarlyLearningCorrection,
    EpochReport,
    RefurbishFlagged,
)
from ray_audit.training.gradient_spread import (
    GradientSpread,
    mean_per_sample_loss,
    per_sample_gradient,
)
from ray_audit.training.sample_store import SampleStore
from ray_audit.training.training_folder import TrainingFolder

_WARM_UP_SHARE = 0.4

CORRECTED_SCHEMA = pa.schema(
    [
        ("key", pa.string()),  # sample id; of a tile with its number; of a clip its first frame's
        ("epoch", pa.int32()),
        ("shape", pa.list_(pa.int32())),
        ("labels", pa.large_binary()),  # int32 in C order, -1 where unlabelled
    ]
)


@dataclass(frozen=True)
class Harm:
    """What correction did over a whole training.

    Attributes:
        num_changed: elements (pixels, frames, images) changed; again, where they changed twice.
        num_harmed: expected number of right labels among them, from the model's probabilities
            while it is trained: an estimate, and too small where the model is overconfident.
        num_refused: corrections that the guards refused.
    """

    num_changed: int = 0
    num_harmed: float = 0.0
    num_refused: int = 0


class _ChangedStore(SampleStore):
    """A store that knows what changed since the last epoch's end."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.changed: set[str] = set()

    def put(self, sample_id: str, array: npt.NDArray[Any]) -> None:
        """Keep an array, and note its name."""
        super().put(sample_id, array)
        self.changed.add(sample_id)


class TrainingCorrection:
    """What the loop tells of each batch, and asks for labels.

    Args:
        config: the specification; its `training.correction.method` is one.
        task: what the labels belong to.
        place: gets `corrected/epoch_<n>.parquet`.

    Raises:
        SpecificationError: the method does not go with the labels.
    """

    def __init__(self, config: AuditConfig, task: Task, place: TrainingFolder) -> None:
        self._settings = config.training.correction
        check_correction(config, task)
        self._place = place
        self._folder = tempfile.TemporaryDirectory(prefix="ray-audit-labels-")
        root = Path(self._folder.name)
        self._store = _ChangedStore(root / "labels")
        self._corrector = _corrector(config, self._store, SampleStore(root / "predictions"))
        self._harm = Harm()
        self._losses: dict[str, tuple[float, int]] = {}
        self._first_epoch = first_epoch_of(config)
        self._spread: GradientSpread | None = None
        if self._settings.method == "refurbish" and self._settings.flag_by == "vog":
            window = self._settings.window_epochs
            self._spread = GradientSpread(window, SampleStore(root / "moments"))

    @property
    def wants_gradient(self) -> bool:
        """Whether `observe` needs the gradient of the loss by the input."""
        # Gradients of the warm-up are those of what is not learnt yet: they flag right labels.
        return self._spread is not None and self._corrector.epoch >= self._first_epoch // 2

    @property
    def harm(self) -> Harm:
        """What was done so far."""
        return self._harm

    def labels(self, keys: Sequence[str], given: Tensor) -> Tensor:
        """The labels to train on."""
        return self._corrector.labels(keys, given)

    def observe(
        self,
        keys: Sequence[str],
        given: Tensor,
        labels: Tensor,
        logits: Tensor,
        gradient: Tensor | None,
    ) -> None:
        """Take what a step saw.

        Args:
            keys: N names.
            given: (N, ...) int64 as the dataset has them.
            labels: (N, ...) int64 that were trained on.
            logits: (N, K), (N, T, K) or (N, K, H, W).
            gradient: of the batch's mean loss by the input, where it is wanted.
        """
        by_class = logits.transpose(1, 2) if logits.ndim == 3 else logits
        if self._spread is not None:
            if gradient is not None:
                self._spread.observe(list(keys), per_sample_gradient(gradient, labels))
        elif self._settings.method == "refurbish":
            self._add_losses(keys, given, by_class.detach())
        self._corrector.observe(keys, labels, by_class)

    def _add_losses(self, keys: Sequence[str], given: Tensor, logits: Tensor) -> None:
        """Losses on the given labels: on mended ones, right samples would move up in their place.

        Those of the first epochs, in which nothing is learnt yet, do not count.
        """
        if self._corrector.epoch < _WARM_UP_SHARE * self._first_epoch - 1:
            return
        loss = functional.cross_entropy(logits, given, ignore_index=IGNORE, reduction="none")
        for key, sample_loss in zip(keys, mean_per_sample_loss(loss, given).tolist(), strict=True):
            total, count = self._losses.get(key, (0.0, 0))
            self._losses[key] = (total + sample_loss, count + 1)

    def end_epoch(self) -> EpochReport:
        """Decide what the next epoch corrects; keep what this one changed."""
        if isinstance(self._corrector, EarlyLearningCorrection):
            report = self._corrector.end_epoch()
        else:
            report = self._corrector.end_epoch(self._suspicion())
        self._add(report.changes, report.num_refused)
        self._write_changed(report.epoch)
        return report

    def _suspicion(self) -> dict[str, float]:
        if self._spread is None:
            return {key: total / count for key, (total, count) in self._losses.items()}
        if self.wants_gradient:
            self._spread.end_epoch()
        return self._spread.scores()

    def _add(self, changes: ChangeCounts, num_refused: int) -> None:
        self._harm = Harm(
            self._harm.num_changed + changes.num_changed,
            self._harm.num_harmed + changes.harmed,
            self._harm.num_refused + num_refused,
        )

    def _write_changed(self, epoch: int) -> None:
        if not self._store.changed:
            return
        uri = self._uri(epoch)
        with storage.open_write(uri) as sink, pq.ParquetWriter(sink, CORRECTED_SCHEMA) as writer:
            for key in sorted(self._store.changed):
                labels = self._store.get(key)
                assert labels is not None
                row = {
                    "key": key,
                    "epoch": epoch,
                    "shape": list(labels.shape),
                    "labels": labels.astype(np.int32).tobytes(),
                }
                writer.write_table(pa.Table.from_pylist([row], CORRECTED_SCHEMA))
        self._store.changed.clear()

    def _uri(self, epoch: int) -> str:
        return self._place.at("corrected", f"epoch_{epoch:03d}.parquet")

    def state(self) -> dict[str, Any]:
        """What a resumed training needs beside the files, as plain values."""
        harm = self._harm
        return {
            "corrector": self._corrector.state(),
            "losses": {key: list(value) for key, value in self._losses.items()},
            "harm": [harm.num_changed, harm.num_harmed, harm.num_refused],
        }

    def restore(self, state: dict[str, Any], epoch: int) -> None:
        """Go on after an epoch: its state, and the labels that were changed up to it.

        VoG's window begins anew: its moments are as large as the data, and are not kept.
        """
        self._corrector.restore(state["corrector"])
        self._losses = {key: (total, count) for key, (total, count) in state["losses"].items()}
        self._harm = Harm(*state["harm"])
        for number in range(1, epoch + 1):
            if storage.exists(self._uri(number)):
                for key, labels in read_corrected(self._uri(number)).items():
                    self._store.put(key, labels)
        self._store.changed.clear()


def read_corrected(uri: str) -> dict[str, npt.NDArray[np.int32]]:
    """Corrected labels of one epoch's file, by key."""
    rows = parquet_io.parse(storage.read_bytes(uri)).to_pylist()
    return {
        row["key"]: np.frombuffer(row["labels"], np.int32).reshape(row["shape"]) for row in rows
    }


def check_correction(config: AuditConfig, task: Task) -> None:
    """Refuse what cannot work, before anything is read.

    Raises:
        SpecificationError: says what does not go with what.
    """
    settings, training = config.training.correction, config.training
    if settings.method == "none":
        return
    background_of(config)
    first = MIN_EPOCHS if settings.method == "adele" else first_epoch_of(config)
    if training.epochs <= first:
        why = "an onset needs" if settings.method == "adele" else "flags come after"
        raise SpecificationError(
            f"training.epochs is {training.epochs}, and {why} {first}: {settings.method} would "
            f"correct nothing; train {first + 1} or more"
        )
    if settings.method == "adele" and not task.is_dense:
        raise SpecificationError("training.correction: adele corrects masks; these labels are none")
    if settings.method == "adele" and training.loss is not None and settings.consistency:
        raise SpecificationError(
            "training.loss does not go with adele's own loss: set training.correction.consistency=0"
        )
    by_vog = settings.method == "refurbish" and settings.flag_by == "vog"
    if by_vog and (task not in (Task.DENSE, Task.CLASS) or training.precision == "fp16"):
        raise SpecificationError(
            "training.correction.flag_by: vog needs images, and float32 or bf16; use loss"
        )
    if by_vog and (training.loss is not None or training.class_weights is not None):
        raise SpecificationError(
            "training.correction.flag_by: vog is defined for plain cross-entropy; leave out "
            "training.loss and class_weights, or flag by loss"
        )
    least = math.ceil(training.epochs / 2)
    if by_vog and first_epoch_of(config) < least:
        raise SpecificationError(
            f"training.correction.first_epoch is {settings.first_epoch}, and flag_by: vog needs "
            f"{least} or more of {training.epochs} epochs: gradients of earlier ones flag labels "
            "that are right; leave it to auto, or flag by loss"
        )


def first_epoch_of(config: AuditConfig) -> int:
    """The first epoch at whose end refurbishing flags.

    By default after a quarter of the epochs; by VoG after half of them, for its window begins after
    a quarter.
    """
    settings, num_epochs = config.training.correction, config.training.epochs
    if settings.first_epoch != "auto":
        return settings.first_epoch
    return max(2, math.ceil(num_epochs / (2 if settings.flag_by == "vog" else 4)))


def background_of(config: AuditConfig) -> int | None:
    """Index of `training.correction.background`, a name or an index of a class.

    Raises:
        SpecificationError: there is no such class.
    """
    given, classes = config.training.correction.background, config.dataset.classes
    if given is None:
        return None
    index = classes.index(given) if given in classes else given
    if isinstance(index, str) or index >= len(classes):
        raise SpecificationError(
            f"training.correction.background: {given!r} is none of {', '.join(classes)}"
        )
    return index


def _corrector(
    config: AuditConfig, store: SampleStore, predictions: SampleStore
) -> EarlyLearningCorrection | RefurbishFlagged:
    settings, num_classes = config.training.correction, len(config.dataset.classes)
    background, max_changed = background_of(config), settings.max_changed_fraction
    if settings.method == "adele":
        confidence = _or(settings.confidence, CONFIDENCE)
        return EarlyLearningCorrection(
            num_classes,
            AdeleRule(confidence, confidence, background=background or 0),
            max_changed_fraction=_or(max_changed, MAX_CHANGED_FRACTION),
            store=store,
            prediction_decay=settings.prediction_decay,
            prediction_store=predictions,
        )
    return RefurbishFlagged(
        num_classes,
        flagged_fraction=settings.flagged_fraction,
        confidence=_or(settings.confidence, 0.6 if config.dataset.task.is_dense else 0.8),
        first_epoch=first_epoch_of(config),
        background=background,
        max_changed_fraction=_or(max_changed, 1.0),
        store=store,
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def describe(report: EpochReport, classes: Sequence[str], *, is_last: bool) -> str:
    """What an epoch did to the labels, in one line.

    Args:
        report: of the epoch.
        classes: names in index order.
        is_last: of the training: says of which classes no label was ever corrected, and why.
    """
    changes = report.changes
    parts = [f"{changes.num_changed} labels changed (about {changes.harmed:.1f} of them right)"]
    if report.num_refused:
        parts.append(f"{report.num_refused} corrections refused")
    if report.due:
        parts.append(f"{len(report.due)} due next")
    if report.flagging:
        parts.append(report.flagging)
    if report.unlearnt:
        few = ", ".join(f"{classes[k]} (IoU {iou:.2f})" for k, iou in report.unlearnt.items())
        parts.append(
            f"the model hardly agrees with the labels of {few}: where it is worse than they are, "
            "correcting them does harm"
        )
    if is_last and report.without_onset:
        why = (f"{classes[index]} ({reason})" for index, reason in report.without_onset.items())
        parts.append(f"never past its onset: {', '.join(why)}")
    return ", ".join(parts)
