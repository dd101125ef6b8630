"""What the readers of one work unit share."""

from dataclasses import dataclass
from functools import cached_property

from ray_audit.config import DatasetConfig
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.samples import Slice


@dataclass(frozen=True)
class UnitContext:
    """One work unit being cut.

    Attributes:
        dataset: the dataset's configuration.
        size: height and width of the network input, or None for native.
        index_uri: where the label index lies, where there is one.
        tally: takes the samples that are not sent.
        part: the part of a long video that is read, or None for all of it.
    """

    dataset: DatasetConfig
    size: tuple[int, int] | None
    index_uri: str | None
    tally: UnitAccounting
    part: Slice | None = None

    @cached_property
    def classes(self) -> ClassNames:
        """The dataset's classes."""
        return ClassNames.of(self.dataset)
