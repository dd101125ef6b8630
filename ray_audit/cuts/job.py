"""What the readers of one work unit share."""

from dataclasses import dataclass
from functools import cached_property

from ray_audit.config import DatasetConfig
from ray_audit.cuts.accounting import Tally
from ray_audit.cuts.timeline import FrameTimeline, SegmentTimeline, shard_timeline
from ray_audit.errors import LabelError, StorageError
from ray_audit.samples import Shard, Slice
from ray_audit.sources.classes import ClassNames


@dataclass(frozen=True)
class Job:
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
    tally: Tally
    part: Slice | None = None

    @cached_property
    def classes(self) -> ClassNames:
        """The dataset's classes."""
        return ClassNames.of(self.dataset)

    def timeline_of(self, shard: Shard) -> FrameTimeline | SegmentTimeline | None:
        """Labels of a shard; None, with a failure in the tally, where they cannot be had."""
        try:
            return shard_timeline(shard, self.dataset, self.index_uri)
        except (LabelError, StorageError) as error:
            self.tally.fail(shard.key, error, stage="labels", num_samples=shard.num_labelled)
            return None
