"""Mask stacks written back: of one video, or of all."""

from ray_audit.config import DatasetConfig
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.damage import is_damage
from ray_audit.formats.label_changes import LabelChanges, MaskOf, Progress, WrittenLabels
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
) -> WrittenLabels:
    """Copy the masks of all videos below `to_uri`, with some of them changed.

    Raises:
        LabelError: a new mask does not fit the form of the old one.
    """
    left_out = dict(changes.left_out)
    for num_done, shard in enumerate(shards):
        progress("writing masks", num_done, len(shards))
        left_out |= write_sound_stack(dataset, shard, changes.mask, to_uri)
    return WrittenLabels(copied_masks(dataset, to_uri), left_out=left_out)


def write_sound_stack(
    dataset: DatasetConfig, shard: Shard, mask: MaskOf | None, to_uri: str
) -> dict[str, str]:
    """The masks of one video; a reason where they cannot be read.

    Raises:
        LabelError: a new mask does not fit the form of the old one.
    """
    try:
        write_stack(dataset, shard, mask, to_uri)
    except Exception as error:
        if not is_damage(error):
            raise
        return {shard.key: f"its masks cannot be read to their end: {error}"}
    return {}


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
