"""The images of a unit, as far as they can be read, whatever their format."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ray_audit.errors import LabelError, SampleError, StorageError
from ray_audit.formats.base import BrokenOffError, Format, Item, table_labels
from ray_audit.formats.job import UnitContext
from ray_audit.formats.registry import format_in
from ray_audit.sample_ids import Owner
from ray_audit.samples import IGNORE, Shard, WorkUnit


def unit_items(unit: WorkUnit, job: UnitContext) -> Iterator[Item]:
    """The images of a unit as they are stored, one by one."""
    form = format_in(job.dataset, unit.shards[0].key)
    if not form.holds_several:
        yield from form.read(unit.shards, job)
        return
    for shard in unit.shards:
        yield from _container_items(form, shard, job)


def _container_items(form: Format, shard: Shard, job: UnitContext) -> Iterator[Item]:
    """Images of a file that holds several, as far as it can be read."""
    items = form.read((shard,), job)
    by_table = job.dataset.labels.form == "images"
    seen: set[str] = set()
    num_items = 0
    while True:
        try:
            with job.tally.timed():
                item = next(items, None)
        except Exception as error:
            _fail_rest(shard, error, seen, job)
            return
        if item is None:
            return
        num_items += 1
        if not job.takes(Owner.of_sample(shard.key, item.sample_id)):
            continue
        if item.sample_id in seen:
            message = f"{item.sample_id} is there twice; keys must be unique in a file"
            # A name of its own: the first of the two is a good sample.
            again = f"{item.sample_id} (duplicate at {num_items - 1})"
            item = replace(item, sample_id=again, error=SampleError("duplicate_key", message))
        if by_table and item.label is not None:  # the table counts, not what lies in the file
            class_index = table_labels(shard, job).get(item.sample_id[len(shard.key) + 1 :])
            item = replace(item, label=None, class_index=class_index)
        seen.add(item.sample_id)
        yield item


def _fail_rest(shard: Shard, error: Exception, seen: set[str], job: UnitContext) -> None:
    """Record what is lost where a container breaks off, as far as it can be known."""
    num_left = _num_named(shard, seen, job)
    is_of_fold = num_left is not None
    if num_left is None and job.dataset.labels.form == "images":
        num_left = shard.num_labelled
    if isinstance(error, BrokenOffError):
        if num_left is None:
            num_left, is_of_fold = error.num_left, error.is_of_fold
        error = error.cause
    counts = is_of_fold or job.counts_lost(shard.key)
    job.tally.fail(shard.key, error, stage="read", num_samples=num_left, counts=counts)


def _num_named(shard: Shard, seen: set[str], job: UnitContext) -> int | None:
    """Labelled samples of the fold that were not read; None where no table and no split names them.

    What a split names is taken to have labels.
    """
    if job.dataset.labels.form != "images":
        named = job.members(shard.key)
        return None if named is None else _num_unseen(shard, named, seen, job)
    try:
        labels = table_labels(shard, job)
    except (LabelError, StorageError):
        return None
    if not labels:
        return None
    labelled = (key for key, label in labels.items() if label != IGNORE)
    return _num_unseen(shard, labelled, seen, job)


def _num_unseen(shard: Shard, members: Iterable[str], seen: set[str], job: UnitContext) -> int:
    owners = (Owner(shard.key, member) for member in members)
    return sum(owner.key not in seen and job.takes(owner) for owner in owners)
