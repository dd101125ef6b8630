"""What the readers of one work unit share."""

from dataclasses import dataclass
from functools import cached_property

from ray_audit.config import DatasetConfig
from ray_audit.cuts.tally import Tally
from ray_audit.sources.classes import ClassNames


@dataclass(frozen=True)
class Job:
    """One work unit being cut.

    Attributes:
        dataset: the dataset's configuration.
        size: height and width of the network input, or None for native.
        index_uri: where the label index lies, where there is one.
        tally: takes the samples that are not sent.
    """

    dataset: DatasetConfig
    size: tuple[int, int] | None
    index_uri: str | None
    tally: Tally

    @cached_property
    def classes(self) -> ClassNames:
        """The dataset's classes."""
        return ClassNames(self.dataset.classes, self.dataset.void)
