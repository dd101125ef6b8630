"""One training as its workers get it, in this process or on a cluster."""

from collections.abc import Callable
from dataclasses import dataclass

from ray_audit.config import AuditConfig
from ray_audit.samples import WorkUnit
from ray_audit.training.correction import TrainingCorrection
from ray_audit.training.examples import ExampleReader
from ray_audit.training.loop import EpochDone, Loop, Worker
from ray_audit.training.training_folder import TrainingFolder


@dataclass(frozen=True)
class Assignment:
    """One training, as its workers get it.

    Attributes:
        config: the specification, of a fold where there are folds.
        place: where checkpoints are kept.
        digest: of settings and data.
        index_uri: folder of the label index.
        shares: work units of each worker.
    """

    config: AuditConfig
    place: TrainingFolder
    digest: str
    index_uri: str
    shares: tuple[tuple[WorkUnit, ...], ...]

    def run(self, worker: Worker, progress: Callable[[EpochDone], None]) -> None:
        """Train as one of the workers; see `Loop`."""
        config = self.config
        correction = None
        if config.training.correction.method != "none":
            correction = TrainingCorrection(config, config.dataset.task, self.place)
        reader = ExampleReader(config, self.shares[worker.rank], self.index_uri)
        Loop(config, reader, self.place, self.digest, worker, correction).run(progress)
