"""Training with Ray Train: the same loop, in one worker or several with a share of files each."""

import contextlib
import json
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import ray.train.torch
from ray.train import FailureConfig, RunConfig, ScalingConfig

from ray_audit.config import AuditConfig
from ray_audit.engine.run.audit import publish_index
from ray_audit.errors import PlanError, RayAuditError, RunError, SpecificationError
from ray_audit.samples import WorkUnit
from ray_audit.sources import Listing
from ray_audit.supervisor import supervised, within
from ray_audit.training.assignment import Assignment, HeldOutShares
from ray_audit.training.loop import EpochDone, Worker
from ray_audit.training.training_folder import TrainingFolder
from ray_audit.training.training_identity import TrainingIdentity

_MAX_FAILURES = 3
_POLL_S = 0.5
Shares = tuple[tuple[WorkUnit, ...], ...]


class RayTrainer:
    """Trains on the Ray that this process is connected to."""

    def index_uri(self, config: AuditConfig, listing: Listing, index_dir: Path) -> str:
        """A folder below `output`, which every worker can read."""
        return publish_index(config.output, listing.labels_digest, index_dir)

    def train(self, assignment: Assignment, progress: Callable[[EpochDone], None]) -> None:
        """Train on the cluster; a worker that is lost makes all go on from the last epoch.

        Raises:
            PlanError: the cluster is too small.
            RunError: training failed.
        """
        logging.getLogger("ray.train").setLevel(logging.ERROR)
        bulletin = ray.remote(num_cpus=0)(_Bulletin).remote()
        with tempfile.TemporaryDirectory(prefix="ray-audit-train-") as folder:
            trainer = ray.train.torch.TorchTrainer(
                _train_as_worker,
                train_loop_config={"assignment": _to_json(assignment), "bulletin": bulletin},
                scaling_config=_scaling(assignment.config),
                run_config=RunConfig(
                    name="ray-audit",
                    storage_path=folder,
                    failure_config=FailureConfig(max_failures=_MAX_FAILURES),
                ),
            )
            with _reported(bulletin, progress):
                _fit(trainer, bulletin)


class _Bulletin:
    """Where workers leave what happened; an actor, because they run anywhere."""

    def __init__(self) -> None:
        self._done: list[dict[str, Any]] = []
        self._failure: tuple[str, bool] | None = None

    def add(self, done: dict[str, Any]) -> None:
        self._done.append(done)

    def take(self) -> list[dict[str, Any]]:
        taken, self._done = self._done, []
        return taken

    def fail(self, message: str, is_specification: bool) -> None:
        self._failure = self._failure or (message, is_specification)

    def failure(self) -> tuple[str, bool] | None:
        return self._failure


def _fit(trainer: Any, bulletin: Any) -> None:
    try:
        # In the main thread Ray Train would put a handler of its own for SIGINT in place of ours.
        within(None, trainer.fit)
    except Exception as error:  # Ray Train wraps what workers raised
        failure = ray.get(bulletin.failure.remote())
        if failure is None:
            raise RunError(f"training failed: {error}") from error
        message, is_specification = failure
        raise (SpecificationError if is_specification else RunError)(message) from error


@contextlib.contextmanager
def _reported(bulletin: Any, progress: Callable[[EpochDone], None]) -> Iterator[None]:
    """Pass on each epoch while the block runs, and what is left at its end."""
    is_over = threading.Event()

    def tell() -> None:
        with contextlib.suppress(ray.exceptions.RayError):  # the training itself says what failed
            for done in ray.get(bulletin.take.remote()):
                progress(EpochDone(**done))

    def poll() -> None:
        while not is_over.wait(_POLL_S):
            tell()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        tell()


def _scaling(config: AuditConfig) -> ScalingConfig:
    training = config.training
    limits = config.engine.cluster_max or ray.cluster_resources()
    num_gpus = training.num_gpus
    if num_gpus == "auto":
        num_gpus = 1.0 if limits.get("GPU", 0) >= training.workers else 0.0
    each = {"CPU": float(training.threads_per_worker)} | ({"GPU": num_gpus} if num_gpus else {})
    for name, amount in each.items():
        if amount * training.workers > limits.get(name, 0):
            raise PlanError(
                f"training: {training.workers} worker(s) with {amount:g} {name} each, but the "
                f"cluster has {limits.get(name, 0):g}; ask for fewer, or set engine.cluster_max"
            )
    return ScalingConfig(
        num_workers=training.workers, use_gpu=num_gpus > 0, resources_per_worker=each
    )


def _train_as_worker(settings: dict[str, Any]) -> None:
    """What runs in each worker; after an error of ours the restart that Ray tries ends at once."""
    import torch

    bulletin = settings["bulletin"]
    failure = ray.get(bulletin.failure.remote())
    if failure is not None:
        raise RunError(failure[0])
    context = ray.train.get_context()
    assignment = _from_json(settings["assignment"])
    torch.set_num_threads(assignment.config.training.threads_per_worker)
    worker = Worker(
        ray.train.torch.get_device(),
        context.get_world_rank(),
        context.get_world_size(),
        ray.train.torch.prepare_model,
    )

    def progress(done: EpochDone) -> None:
        if worker.rank == 0:
            ray.get(bulletin.add.remote(asdict(done)))

    def run() -> None:
        if worker.device.type == "cuda":
            torch.cuda.set_device(worker.device)  # of this thread
        torch.set_num_threads(assignment.config.training.threads_per_worker)
        assignment.run(worker, progress)

    try:
        supervised(assignment.config.engine.stall_timeout_s, "train", run)
    except RayAuditError as error:
        ray.get(bulletin.fail.remote(str(error), isinstance(error, SpecificationError)))
        raise


def _to_json(assignment: Assignment) -> str:
    place = assignment.place
    values = {
        "config": assignment.config.model_dump(mode="json", exclude_unset=True),
        "place": [place.folder, place.prefix],
        "identity": assignment.identity.state,
        "index_uri": assignment.index_uri,
        "shares": _shares_to_json(assignment.shares),
    }
    held_out = assignment.held_out
    if held_out is not None:
        values["held_out"] = {
            "config": held_out.config.model_dump(mode="json", exclude_unset=True),
            "index_uri": held_out.index_uri,
            "shares": _shares_to_json(held_out.shares),
        }
    return json.dumps(values)


def _shares_to_json(shares: Shares) -> list[list[Any]]:
    return [[unit.to_json() for unit in share] for share in shares]


def _shares_from_json(shares: list[list[Any]]) -> Shares:
    return tuple(tuple(map(WorkUnit.from_json, share)) for share in shares)


def _from_json(text: str) -> Assignment:
    values = json.loads(text)
    held_out = values.get("held_out")
    if held_out is not None:
        held_out = HeldOutShares(
            AuditConfig.parse(held_out["config"]),
            held_out["index_uri"],
            _shares_from_json(held_out["shares"]),
        )
    return Assignment(
        AuditConfig.parse(values["config"]),
        TrainingFolder(*values["place"]),
        TrainingIdentity(**values["identity"]),
        values["index_uri"],
        _shares_from_json(values["shares"]),
        held_out,
    )
