"""Mask stacks written back: of one video, or of all."""

from ray_audit.config import DatasetConfig
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.label_changes import LabelChanges, MaskOf, Progress
from ray_audit.formats.mask_files import copied_masks
from ray_audit.formats.stacks.open_stack import open_stack
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard


def write_stacks(
    dataset: DatasetConfig,
    shards: tuple[Shard, ...],
    changes: LabelChanges,
    to_uri: str,
    progress: Progress,
) -> DatasetConfig:
    """Copy the masks of all videos below `to_uri`, with some of them changed.

    Raises:
        LabelError: a new mask does not fit the form of the old one.
    """
    for num_done, shard in enumerate(shards):
        progress("writing masks", num_done, len(shards))
        write_stack(dataset, shard, changes.mask, to_uri)
    return copied_masks(dataset, to_uri)


def write_stack(dataset: DatasetConfig, shard: Shard, mask: MaskOf | None, to_uri: str) -> None:
    """Copy the masks of one video below `to_uri`; as they are where `mask` is None."""
    if shard.label_uri is None:
        return
    with open_stack(shard, dataset, UnitAccounting("labels")) as stack:
        stack.write(
            lambda frame: None if mask is None else mask(Owner(shard.key, str(frame))),
            to_uri,
            str(dataset.labels.masks),
        )
