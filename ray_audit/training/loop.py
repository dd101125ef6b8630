"""The training loop: one worker's share of it, the same in this process and under Ray Train."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ray_audit import storage
from ray_audit.checkpoints.factory import new_model
from ray_audit.checkpoints.loading import load_weights
from ray_audit.config import AuditConfig, TrainingConfig
from ray_audit.errors import CheckpointError, FailureBudgetError, RunError, SpecificationError
from ray_audit.probes.pathways import as_taken
from ray_audit.probes.prepare import ModelInput, with_axes
from ray_audit.supervisor import step, stepwise
from ray_audit.training.correction import TrainingCorrection, describe
from ray_audit.training.epoch_records import Add, epoch_records
from ray_audit.training.examples import ExampleReader, TrainingBatch
from ray_audit.training.held_out import class_counts
from ray_audit.training.objective import Objective
from ray_audit.training.training_folder import TrainingFolder
from ray_audit.training.training_identity import TrainingIdentity

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_WARM_UP = 0.3
_FIRST_FACTOR = 1 / 25


@dataclass(frozen=True)
class Worker:
    """Which of the workers this is, and how it takes part.

    Attributes:
        device: of model and batches.
        rank: from 0; the first one writes the checkpoints.
        num_workers: how many train together.
        wrap: makes the model one that shares its gradients.
    """

    device: torch.device
    rank: int = 0
    num_workers: int = 1
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model

    def total(self, *values: float) -> list[float]:
        """Each value summed over the workers."""
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.num_workers > 1:
            torch.distributed.all_reduce(sums)
        return [float(value) for value in sums]


@dataclass(frozen=True)
class EpochDone:
    """One epoch, over all workers.

    Attributes:
        epoch: from 1.
        num_epochs: of the whole training.
        loss: mean over batches.
        num_samples: samples read.
        num_failed: samples that could not be read.
        duration_s: seconds it took.
        correction: what changed in the labels, a sentence; empty without correction.
    """

    epoch: int
    num_epochs: int
    loss: float
    num_samples: int
    num_failed: int
    duration_s: float
    correction: str = ""


def learning_rate(training: TrainingConfig, epoch: int) -> float:
    """The rate of an epoch: that of torch's one-cycle at the epoch's middle, or the same always.

    By epoch, because the number of steps of a stream is known only when it has been read.

    Args:
        training: largest rate, schedule and number of epochs.
        epoch: from 1.
    """
    if training.schedule == "constant":
        return training.learning_rate
    done = (epoch - 0.5) / training.epochs
    if done < _WARM_UP:
        start, end, share = _FIRST_FACTOR, 1.0, done / _WARM_UP
    else:
        start, end, share = 1.0, 0.0, (done - _WARM_UP) / (1 - _WARM_UP)
    return training.learning_rate * (end + (start - end) * (1 + math.cos(math.pi * share)) / 2)


def trained_epochs(
    place: TrainingFolder, state: dict[str, Any] | None, identity: TrainingIdentity
) -> int:
    """Epochs of this training that are done at a place, by its `last`.

    Raises:
        SpecificationError: what lies there is of another training.
    """
    if state is None:
        if place.has_checkpoints():
            raise SpecificationError(
                f"checkpoints: {place.pattern} has files already, and no last.pt to resume from: "
                "name an empty folder, or remove them"
            )
        return 0
    if state["epoch"] == 0 and not place.has_checkpoints():
        return 0
    changed = identity.changed_since(state)
    if changed:
        raise SpecificationError(
            f"checkpoints: {place.at('last.pt')} is of a training with other settings or other "
            f"data (changed since: {', '.join(changed)}): put back what it was trained with, name "
            "another folder (--to), or remove it with the checkpoints beside it"
        )
    return int(state["epoch"])


class Loop:
    """Trains one model and keeps the weights of every epoch; goes on where it was stopped.

    Args:
        config: the specification.
        reader: this worker's share of the data.
        place: where checkpoints are kept.
        identity: of settings, data and code.
        worker: which of the workers this is.
        correction: changes labels while the model learns, or None.
        held_out: this worker's share of what is looked at after each epoch, or None.

    Raises:
        SpecificationError: the factory, the loss or what lies at the place is wrong.
    """

    def __init__(
        self,
        config: AuditConfig,
        reader: ExampleReader,
        place: TrainingFolder,
        identity: TrainingIdentity,
        worker: Worker,
        correction: TrainingCorrection | None = None,
        held_out: ExampleReader | None = None,
    ) -> None:
        self._config, self._training = config, config.training
        self._reader, self._place, self._identity, self._worker = reader, place, identity, worker
        self._correction, self._held_out = correction, held_out
        self._agreements: list[list[float]] = []
        if self._training.precision == "fp16" and worker.device.type != "cuda":
            raise SpecificationError("training.precision: fp16 needs a GPU; use float32 or bf16")
        torch.manual_seed(self._training.seed)
        self._bare = new_model(config.model, config.engine.start_timeout_s).to(worker.device)
        self._objective = Objective(config, worker.device)
        self._input = ModelInput(config.model.input, worker.device)
        self._has_answered = False
        kept = place.last()
        self._done = trained_epochs(place, kept, identity)
        state = kept if self._done else None
        if state is not None:
            load_weights(self._bare, place.checkpoint(self._done))
        self._model = worker.wrap(self._bare)
        trained = [p for p in self._bare.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, weight_decay=self._training.weight_decay)
        self._scaler = torch.amp.GradScaler("cuda", enabled=self._training.precision == "fp16")
        if state is not None:
            self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self._optimizer.load_state_dict(state["optimizer"])
            self._scaler.load_state_dict(state["scaler"])
            unknown = [[0.0] * (3 * len(self._config.dataset.classes))] * self._done
            self._agreements = state.get("held_out", unknown)
            if self._correction is not None:
                self._correction.restore(state["correction"], self._done)
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f"{self._place.at('last.pt')} does not fit the model ({error}): remove it with "
                "the checkpoints beside it, and train anew"
            ) from error

    def run(self, progress: Callable[[EpochDone], None]) -> list[str]:
        """Train the epochs that are left.

        Args:
            progress: told of each epoch that this call trained, once its weights are kept.

        Returns:
            All checkpoints in order.

        Raises:
            SpecificationError: logits and labels do not fit, or there is nothing to train on.
            RunError: the loss is no finite number, or too many samples cannot be read.
        """
        if not self._done and self._worker.rank == 0:
            self._place.begin({"identity": self._identity.state})
        for epoch in range(self._done + 1, self._training.epochs + 1):
            progress(self._epoch(epoch))
        return [self._place.checkpoint(n) for n in range(1, self._training.epochs + 1)]

    def _epoch(self, epoch: int) -> EpochDone:
        started = time.monotonic()
        # What the model draws depends on epoch and worker alone: nothing has to be restored.
        torch.manual_seed(
            int(storage.digest(self._training.seed, epoch, self._worker.rank)[:12], 16)
        )
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._training, epoch)
        self._model.train()
        losses = []
        with self._records(epoch) as add, self._joined():
            for batch in self._batches(self._reader, epoch):
                losses.append(self._step(batch, add))
        done = self._counted(epoch, losses, time.monotonic() - started)
        if self._held_out is not None:
            self._agreements.append(self._agreement(self._held_out, epoch))
        if self._worker.rank == 0:
            step("train", f"epoch {epoch}, its weights are written")
            self._keep(epoch)
        self._worker.total(0)  # no worker runs ahead of what is kept
        return done

    def _batches(self, reader: ExampleReader, epoch: int) -> Iterator[TrainingBatch]:
        for batch in stepwise(reader.batches(epoch), "train", f"epoch {epoch}, the next batch"):
            step("train", f"epoch {epoch}, the model and its loss", batch.batch)
            yield batch

    def _step(self, training_batch: TrainingBatch, add: Add | None) -> Tensor:
        device, batch = self._worker.device, training_batch.batch
        inputs = self._input(batch.arrays["inputs"], self._try).contiguous()
        given = labels = torch.from_numpy(batch.arrays["targets"]).to(device, torch.int64)
        correction = self._correction
        if correction is not None:
            labels = correction.labels(training_batch.keys, given)
            inputs.requires_grad_(correction.wants_gradient)
        with self._autocast():
            loss, logits = self._objective(self._forward, inputs, batch, labels)
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if add is not None:
            add(batch, logits.detach())
        if correction is not None:
            correction.observe(training_batch.keys, given, labels, logits.detach(), inputs.grad)
        return loss.detach()

    @torch.no_grad()
    def _agreement(self, held_out: ExampleReader, epoch: int) -> list[float]:
        """`class_counts` of all workers' held-out samples, one class after the other."""
        device, taken = self._worker.device, self._config.model.input
        num_classes = len(self._config.dataset.classes)
        counts = torch.zeros(3, num_classes, dtype=torch.int64, device=device)
        self._bare.eval()
        for batch in (one.batch for one in self._batches(held_out, epoch)):
            inputs = self._input(batch.arrays["inputs"], self._try).contiguous()
            labels = torch.from_numpy(batch.arrays["targets"]).to(device, torch.int64)
            self._bare.eval()  # `_try` leaves it training
            with self._autocast():
                answer = self._bare(as_taken(inputs, taken))
                logits = self._objective.at_labels(answer, batch, labels)
            counts += class_counts(logits, labels)
        return self._worker.total(*counts.flatten().tolist())

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        dtype = _AUTOCAST.get(self._training.precision)
        device_type = self._worker.device.type
        return torch.autocast(device_type, dtype) if dtype else contextlib.nullcontext()

    def _forward(self, inputs: Tensor) -> object:
        taken = as_taken(inputs, self._config.model.input)
        if self._has_answered or self._worker.num_workers > 1:  # there others may have failed
            return self._model(taken)
        try:
            answer: object = self._model(taken)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a user's model may raise anything
            raise SpecificationError(
                f"the model fails on inputs {with_axes(inputs.shape)}: {type(error).__name__}: "
                f"{error}. What a model takes and gives for each kind of labels: docs/models.md"
            ) from error
        self._has_answered = True
        return answer

    def _try(self, inputs: Tensor) -> None:
        """Whether the model takes inputs, without a trace in it: it raises where it does not."""
        self._model.eval()
        try:
            self._forward(inputs.contiguous())
        finally:
            self._model.train()

    def _counted(self, epoch: int, losses: list[Tensor], duration_s: float) -> EpochDone:
        """Sum over the workers; stop what must not go on, before its weights are kept."""
        counts = self._reader.counts
        total = float(torch.stack(losses).double().sum()) if losses else 0.0
        loss_sum, num_batches, num_read, num_failed = self._worker.total(
            total, len(losses), counts.num_read, counts.num_failed
        )
        if self._config.failures.exceeded(int(num_failed), int(num_read + num_failed)):
            raise FailureBudgetError(
                f"training: {int(num_failed)} of {int(num_read + num_failed)} samples cannot be "
                "read, more than `failures` allows; `ray-audit run` names each of them"
            )
        if not num_batches:
            raise SpecificationError("training: no labelled sample; check the data and its labels")
        if not math.isfinite(loss_sum):
            raise RunError(
                f"training: the mean loss of epoch {epoch} is {loss_sum / num_batches}; lower "
                "the learning rate, and look for inputs that are no finite numbers"
            )
        correction = ""
        if self._correction is not None:
            correction = describe(
                self._correction.end_epoch(),
                self._config.dataset.classes,
                is_last=epoch == self._training.epochs,
            )
        return EpochDone(
            epoch=epoch,
            num_epochs=self._training.epochs,
            loss=loss_sum / num_batches,
            num_samples=int(num_read),
            num_failed=int(num_failed),
            duration_s=duration_s,
            correction=correction,
        )

    def _keep(self, epoch: int) -> None:
        state: dict[str, Any] = {
            "identity": self._identity.state,
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        if self._held_out is not None:
            state["held_out"] = self._agreements
        if self._correction is not None:
            state["correction"] = self._correction.state()
        self._place.save(epoch, self._bare.state_dict(), state)

    @contextlib.contextmanager
    def _joined(self) -> Iterator[None]:
        """Workers have unlike numbers of batches: who is done early joins in the others' steps."""
        if isinstance(self._model, DistributedDataParallel):
            with self._model.join():
                yield
        else:
            yield

    @contextlib.contextmanager
    def _records(self, epoch: int) -> Iterator[Add | None]:
        if not self._training.records:
            yield None
            return
        uri = self._place.at("records", f"epoch_{epoch:03d}-{self._worker.rank}.parquet")
        with epoch_records(uri, epoch, len(self._config.dataset.classes)) as add:
            yield add
