"""What the readers of one work unit share."""

from dataclasses import dataclass, field
from functools import cached_property

from ray_audit.config import DatasetConfig
from ray_audit.folds import counts_lost, is_in
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.members import read_members
from ray_audit.sample_ids import Owner
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
    _members: dict[str, frozenset[str]] = field(default_factory=dict, compare=False)

    @cached_property
    def classes(self) -> ClassNames:
        """The dataset's classes."""
        return ClassNames.of(self.dataset)

    def takes(self, owner: Owner) -> bool:
        """Whether what lies in a container is in the dataset's fold, and in its split."""
        return is_in(owner.key, self.dataset.fold) and self.is_named(owner)

    def counts_lost(self, shard_key: str) -> bool:
        """Whether the dataset's fold counts what is lost of a container, but not told by name."""
        return counts_lost(shard_key, self.dataset.fold)

    def is_named(self, owner: Owner) -> bool:
        """Whether what lies in a container is in the dataset's split; files outside are not listed.

        Raises:
            LabelError: there is a split, and no index.
            StorageError: the index cannot be read.
        """
        if self.dataset.split is None or not owner.member:
            return True
        named = self.members(owner.shard_key)
        return named is None or owner.member in named

    def members(self, shard_key: str) -> frozenset[str] | None:
        """What `dataset.split` names in a container; None for all of it."""
        if self.dataset.split is None:
            return None
        if shard_key not in self._members:
            self._members[shard_key] = read_members(self.index_uri, shard_key)
        named = self._members[shard_key]
        return None if "" in named else named
