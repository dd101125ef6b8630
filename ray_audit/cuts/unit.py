"""One work unit to its batches and its tail."""

from collections.abc import Iterator

from ray_audit.config import DatasetConfig, InputConfig
from ray_audit.cuts.batching import Batcher, BatchSize, Cut
from ray_audit.cuts.image_cuts import cut_images
from ray_audit.cuts.sequences import cut_sequences
from ray_audit.cuts.video_cuts import cut_video
from ray_audit.cuts.volume_cuts import cut_volume
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.job import UnitContext
from ray_audit.formats.registry import format_in, known_format
from ray_audit.samples import Batch, Tail, WorkUnit


def cut_unit(
    unit: WorkUnit,
    dataset: DatasetConfig,
    model_input: InputConfig,
    index_uri: str | None,
    max_batch: BatchSize,
) -> Iterator[Batch | Tail]:
    """Decode a work unit and cut it into batches; the same unit always gives the same batches.

    Args:
        unit: what to read.
        dataset: the dataset's configuration.
        model_input: the size of the network input; mean and std are left to the device.
        index_uri: folder that holds the label index, where there is one.
        max_batch: images, tiles, clips or sequences in a batch.

    Yields:
        Batches, in order, then one `Tail` with what was left out or failed.

    Raises:
        StorageError: the label index of an npz file cannot be read. A shard, or a label file,
            that cannot be read is no error here: it becomes a failure in the tail.
    """
    tally = UnitAccounting(unit.unit_id)
    job = UnitContext(dataset, model_input.size, index_uri, tally, unit.part)
    num_classes = len(dataset.classes)
    batcher = Batcher(unit.unit_id, dataset.task, max_batch, model_input.size, num_classes)
    for cut in _cuts(unit, job):
        yield from batcher.add(cut)
    yield from batcher.flush()
    yield tally.tail(batcher.num_batches)


def _cuts(unit: WorkUnit, job: UnitContext) -> Iterator[Cut]:
    if format_in(job.dataset, unit.shards[0].key).is_volume:
        for shard in unit.shards:
            yield from cut_volume(shard, job)
        return
    if job.dataset.kind == "images":
        yield from cut_images(unit, job)
        return
    for shard in unit.shards:
        # What holds several videos is an archive that cannot be read: it says so.
        is_video = job.dataset.kind == "video" and not known_format(shard.key).holds_several
        yield from (cut_video if is_video else cut_sequences)(shard, job)
