"""One training as its workers get it, in this process or on a cluster."""

from collections.abc import Callable
from dataclasses import dataclass

from ray_audit.config import AuditConfig
from ray_audit.samples import WorkUnit
from ray_audit.training.correction import TrainingCorrection
from ray_audit.training.examples import ExampleReader
from ray_audit.training.loop import EpochDone, Loop, Worker
from ray_audit.training.training_folder import TrainingFolder
from ray_audit.training.training_identity import TrainingIdentity


@dataclass(frozen=True)
class HeldOutShares:
    """The fold that a model is not trained on.

    Attributes:
        config: the specification of the fold itself.
        index_uri: folder of its label index.
        shares: work units of each worker.
    """

    config: AuditConfig
    index_uri: str
    shares: tuple[tuple[WorkUnit, ...], ...]

    def reader(self, rank: int) -> ExampleReader:
        """Of one worker's share."""
        return ExampleReader(self.config, self.shares[rank], self.index_uri)


@dataclass(frozen=True)
class Assignment:
    """One training, as its workers get it.

    Attributes:
        config: the specification, of a fold where there are folds.
        place: where checkpoints are kept.
        identity: of settings, data and code.
        index_uri: folder of the label index.
        shares: work units of each worker.
        held_out: what is looked at after each epoch, where there are folds.
    """

    config: AuditConfig
    place: TrainingFolder
    identity: TrainingIdentity
    index_uri: str
    shares: tuple[tuple[WorkUnit, ...], ...]
    held_out: HeldOutShares | None = None

    def run(self, worker: Worker, progress: Callable[[EpochDone], None]) -> None:
        """Train as one of the workers; see `Loop`."""
        config = self.config
        correction = None
        if config.training.correction.method != "none":
            correction = TrainingCorrection(config, config.dataset.task, self.place)
        reader = ExampleReader(config, self.shares[worker.rank], self.index_uri)
        held_out = None if self.held_out is None else self.held_out.reader(worker.rank)
        Loop(config, reader, self.place, self.identity, worker, correction, held_out).run(progress)
