"""`ray-audit train`: trains a specification's model, or one a fold, so that it can be audited."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ray_audit import storage
from ray_audit.claims import Claim
from ray_audit.config import AuditConfig
from ray_audit.corrections.write_specification import write_specification
from ray_audit.errors import SpecificationError, StorageError
from ray_audit.formats.label_changes import WrittenLabels
from ray_audit.formats.places import absolute
from ray_audit.samples import WorkUnit
from ray_audit.sources import Listing, group_units, list_dataset
from ray_audit.sources.destinations import check_destination
from ray_audit.supervisor import supervised
from ray_audit.training.assignment import Assignment, HeldOutShares
from ray_audit.training.correction import Harm, check_correction
from ray_audit.training.fold_models import (
    fold_parts,
    held_out_of,
    write_fold_map,
    write_fold_specification,
)
from ray_audit.training.held_out import HeldOut, HeldOutEpoch
from ray_audit.training.loop import EpochDone, Worker, trained_epochs
from ray_audit.training.training_folder import TrainingFolder
from ray_audit.training.training_identity import TrainingIdentity, training_identity

Progress = Callable[[int | None, EpochDone], None]


@dataclass(frozen=True)
class TrainedModel:
    """One model.

    Attributes:
        fold: which fold it never saw; None where it saw everything.
        checkpoints: URIs in order.
        num_new_epochs: epochs that this call trained; the others were there.
        spec: the specification that audits it; None for the one that was given.
        harm: what correction did, over all epochs; None without correction.
        held_out: agreement with the labels of its fold after each epoch, None where unknown; empty
            without folds.
        notes: what the user should know of it.
    """

    fold: int | None
    checkpoints: tuple[str, ...]
    num_new_epochs: int
    spec: str | None = None
    harm: Harm | None = None
    held_out: tuple[HeldOutEpoch | None, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trained:
    """What `train` did.

    Attributes:
        models: one, or one a fold.
        fold_map: Parquet file that says which sample is in which fold, or None.
        notes: what the user should know of data and models.
        spec: the specification with the place of the weights, where that was given apart.
        held_out: the best epoch against the last over all folds; None without folds.
    """

    models: tuple[TrainedModel, ...]
    fold_map: str | None
    notes: tuple[str, ...]
    spec: str | None = None
    held_out: HeldOut | None = None


class Trainer(Protocol):
    """What runs an assignment: `LocalTrainer`, or `RayTrainer` on a cluster."""

    def index_uri(self, config: AuditConfig, listing: Listing, index_dir: Path) -> str:
        """Where the workers read the label index."""

    def train(self, assignment: Assignment, progress: Callable[[EpochDone], None]) -> None:
        """Train all epochs that are left."""


class LocalTrainer:
    """Trains in this process, with one worker."""

    def index_uri(self, config: AuditConfig, listing: Listing, index_dir: Path) -> str:
        """The local folder itself."""
        return str(index_dir)

    def train(self, assignment: Assignment, progress: Callable[[EpochDone], None]) -> None:
        """Train here; the caller's generator and threads are left as they were.

        Raises:
            StalledError: a batch took too long.
        """
        limit_s = assignment.config.engine.stall_timeout_s
        supervised(limit_s, "train", lambda: self._trained(assignment, progress))

    def _trained(self, assignment: Assignment, progress: Callable[[EpochDone], None]) -> None:
        device = local_device(assignment.config.training.num_gpus)
        num_threads = torch.get_num_threads()
        torch.set_num_threads(assignment.config.training.threads_per_worker)
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                assignment.run(Worker(device), progress)
        finally:
            torch.set_num_threads(num_threads)


def local_device(num_gpus: float | str) -> torch.device:
    """The device that a process trains on: a GPU where there is one and it is wanted.

    Raises:
        SpecificationError: one is asked for, and there is none.
    """
    if num_gpus == 0 or (num_gpus == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise SpecificationError(f"training.num_gpus: {num_gpus} asked for, but torch sees no GPU")
    return torch.device("cuda", torch.cuda.current_device())


def train(
    config: AuditConfig,
    *,
    address: str | None = None,
    local: bool = False,
    to: str | None = None,
    progress: Progress = lambda fold, done: None,
) -> Trained:
    """Train the model of a specification on its dataset and labels; go on where it was stopped.

    Args:
        config: the specification; `checkpoints` says where the weights go.
        address: Ray cluster; None starts a Ray on this machine.
        local: in this process, without Ray.
        to: folder for the weights, in place of `checkpoints`, and for a specification (`spec.yaml`)
            that audits them.
        progress: told of each epoch, with its fold.

    Returns:
        The checkpoints, by which `ray-audit run` audits the specification.

    Raises:
        SpecificationError: nothing was trained: the specification, the data or what lies at the
            place of the checkpoints is wrong.
        RunError: training failed; what was kept is resumed from.
    """
    given = config
    if to is not None:
        check_destination(config, absolute(to), "--to")
        config = _kept_at(config, absolute(to))
    place = TrainingFolder.of(config.checkpoints)
    check_correction(config, config.dataset.task)
    if local and config.training.workers > 1:
        raise SpecificationError(
            f"training.workers is {config.training.workers}: --local trains in this process alone; "
            "leave one of the two out"
        )
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-audit-")))
        whole = _listed(config, folder / "whole")
        # What lies there may go on; of two at once each would replace the other's epochs.
        purpose = {"command": "train"}
        claim = Claim(place.folder, purpose, may_be_filled=True, outlives_failure=False)
        stack.enter_context(claim.held())
        parts = fold_parts(config, place)
        fold_map = None
        if config.training.folds:
            fold_map = write_fold_map(config, place, whole, folder / "whole")
        trainer = _Later(lambda: stack.enter_context(opened_trainer(address, local)))
        models = []
        for fold, (part, part_place) in parts.items():
            listing = whole if fold is None else _listed(part, folder / str(fold))
            index_dir = folder / ("whole" if fold is None else str(fold))
            models.append(_train_one(trainer, part, part_place, fold, listing, index_dir, progress))
        held_out = HeldOut.of([m.held_out for m in models], masks=config.dataset.task.is_dense)
        if held_out is not None:
            held_out.write(place.at("held_out.json"))
        spec = None
        if to is not None:
            write_specification(config, WrittenLabels(config.dataset), absolute(to))
            spec = storage.join(absolute(to), "spec.yaml")
    of_models = dict.fromkeys(note for model in models for note in model.notes)
    notes = (*whole.notes, *_notes_of_protocol(given, spec), *of_models)
    return Trained(tuple(models), fold_map, notes, spec, held_out)


def _kept_at(config: AuditConfig, folder: str) -> AuditConfig:
    """The specification with its weights and its audits in a folder of their own.

    Those weights are trained on its labels, whatever it says of the ones that it came with.
    """
    update = {
        "checkpoints": storage.join(storage.escape_glob(folder), "epoch_*.safetensors"),
        "output": storage.join(folder, "audit"),
        "protocol": "training",
    }
    return config.model_copy(update=update)


def _notes_of_protocol(given: AuditConfig, spec: str | None) -> Iterator[str]:
    if given.protocol == "training":
        return
    begin = "The specification says protocol: held_out, and a model is trained on its labels"
    if spec is not None:
        yield f"{begin}: {spec} says protocol: training"
    elif given.training.folds is None:
        yield (
            f"{begin}: an audit of it would take these checkpoints for others. Set protocol: "
            "training in it, or train by folds (--folds) and audit with `run --folds`"
        )


class _Later:
    """A trainer that is opened when it is first needed: not for a training that is done."""

    def __init__(self, open_trainer: Callable[[], Trainer]) -> None:
        self._open = open_trainer
        self._opened: Trainer | None = None

    def __call__(self) -> Trainer:
        self._opened = self._opened or self._open()
        return self._opened


def _listed(config: AuditConfig, index_dir: Path) -> Listing:
    try:
        listing = list_dataset(config.dataset, index_dir)
    except StorageError as error:
        raise error.named("dataset") from error
    num_workers = config.training.workers
    if len(listing.shards) < num_workers:
        raise SpecificationError(
            f"training.workers is {num_workers}, but the dataset has {len(listing.shards)} "
            "file(s), and each worker reads files of its own"
        )
    return listing


def _train_one(
    trainer: _Later,
    config: AuditConfig,
    place: TrainingFolder,
    fold: int | None,
    listing: Listing,
    index_dir: Path,
    progress: Progress,
) -> TrainedModel:
    identity, unread = training_identity(config, listing)
    kept = place.last()
    done, epochs = trained_epochs(place, kept, identity), config.training.epochs
    if done < epochs:
        index_uri = trainer().index_uri(config, listing, index_dir)
        shares = _shares(listing, config.training.workers)
        held_out = None if fold is None else _held_out(trainer, config, index_dir)
        assignment = Assignment(config, place, identity, index_uri, shares, held_out)
        trainer().train(assignment, lambda of_epoch: progress(fold, of_epoch))
    return TrainedModel(
        fold=fold,
        checkpoints=tuple(place.checkpoint(n) for n in range(1, max(done, epochs) + 1)),
        num_new_epochs=max(0, epochs - done),
        spec=None if fold is None else write_fold_specification(config, place),
        harm=_harm(place),
        held_out=_agreements(place),
        notes=(*unread, *_notes_of(place, kept or {}, epochs)),
    )


def _notes_of(place: TrainingFolder, kept: dict[str, Any], epochs: int) -> Iterator[str]:
    """What to know of epochs that were there before."""
    num_kept = kept.get("epoch", 0)
    if num_kept and TrainingIdentity.is_earlier(kept):
        yield (
            f"{place.at('last.pt')} is of an earlier version, which did not note how labels were "
            "read, nor the code of model and loss: if they have changed since, train anew"
        )
    if num_kept > epochs:
        yield (
            f"{place.folder} keeps {num_kept} epochs, more than training.epochs ({epochs}): "
            f"{place.pattern} is all of them; name those that an audit should take in `checkpoints`"
        )


def _shares(listing: Listing, workers: int) -> tuple[tuple[WorkUnit, ...], ...]:
    shards = listing.shards
    return tuple(tuple(group_units(shards[n::workers], "training")) for n in range(workers))


def _held_out(trainer: _Later, config: AuditConfig, index_dir: Path) -> HeldOutShares:
    """The fold that a training leaves out."""
    part = held_out_of(config)
    index_dir = index_dir / "held_out"
    listing = list_dataset(part.dataset, index_dir)
    index_uri = trainer().index_uri(part, listing, index_dir)
    return HeldOutShares(part, index_uri, _shares(listing, config.training.workers))


def _agreements(place: TrainingFolder) -> tuple[HeldOutEpoch | None, ...]:
    epochs = (place.last() or {}).get("held_out", [])
    return tuple(HeldOutEpoch.of(np.reshape(counts, (3, -1))) for counts in epochs)


def _harm(place: TrainingFolder) -> Harm | None:
    state = place.last() or {}
    return Harm(*state["correction"]["harm"]) if "correction" in state else None


@contextlib.contextmanager
def opened_trainer(address: str | None, local: bool) -> Iterator[Trainer]:
    """Give a trainer, and stop the Ray that was started for it."""
    if local:
        yield LocalTrainer()
        return
    from ray_audit.engine.backends.ray import connection  # ray is imported only where it is used
    from ray_audit.training.distributed import RayTrainer

    started = connection.connect(address)
    try:
        yield RayTrainer()
    finally:
        if started:
            connection.disconnect()
