"""What every engine does to a unit before and after the pools: decode it, commit its crates.

Without torch, so that the processes which decode start fast and stay small; and what decodes is
imported where that is done, so that those which hold models do too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ray_audit import storage
from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.config import AuditConfig, DatasetConfig
from ray_audit.engine.backends.wire import Crate, Envelope, Receipt
from ray_audit.engine.ledger import crates, record_sets
from ray_audit.engine.ledger import moments as kept_moments
from ray_audit.engine.ledger.attempts import (
    MAX_CRASHES,
    Attempts,
    batch_failures,
    decode_name,
    given_up_unit,
)
from ray_audit.engine.ledger.records import Part, encode_crate, part_of
from ray_audit.engine.planning.crate_size import FULL_BYTES, MAX_BATCHES
from ray_audit.errors import StorageError
from ray_audit.folds import counts_lost
from ray_audit.measures import measures
from ray_audit.samples import Batch, Shard, ShardFailure, Tail
from ray_audit.scores.recount import Recount
from ray_audit.supervisor import stepwise

if TYPE_CHECKING:
    from ray_audit.engine.planning.plan import UnitWork


@dataclass(frozen=True)
class StageSettings:
    """What the stages of one run share.

    Attributes:
        config: the specification.
        checkpoints: all of them, in order.
        required: what every unit must have in the end.
        index_uri: label index, where labels are tables.
        device: `cpu` or `cuda`.
        recount: what a second pass of confident learning counts, or None in the first.
        attempts: markers of what is under way, where processes may die.
        measures: digest of what is declared where the run was started.
        crate_bytes: most bytes of a crate of more than one batch, by the plan.
    """

    config: AuditConfig
    checkpoints: tuple[Checkpoint, ...]
    required: record_sets.RequiredRecords
    index_uri: str
    device: str
    recount: Recount | None = None
    attempts: Attempts | None = None
    measures: str = field(default_factory=lambda: measures().digest)
    crate_bytes: int = FULL_BYTES

    def other_measures(self) -> str:
        """Why this process cannot take part; empty where its measures are the driver's."""
        if self.measures == measures().digest:
            return ""
        return (
            "the measures declared on a worker are not those of the machine that started the run: "
            "install the same ray_audit and the same packages of measures on every node"
        )

    def set_for(self, work: "UnitWork") -> record_sets.RecordSet:
        """The set that the stages write for a unit."""
        if self.recount is None:
            return self.required.set_for(work.positions, work.kept is not None)
        return recount_set(self.recount, self.checkpoints[-1])


def recount_set(recount: Recount, last: Checkpoint) -> record_sets.RecordSet:
    """The set of a second pass of confident learning."""
    digest = storage.digest(last.digest, asdict(recount))
    return record_sets.RecordSet((), None, None, recount=digest)


def decode_unit(settings: StageSettings, work: "UnitWork") -> Iterator[Crate]:
    """Read and decode one unit, once, into crates of batches; the last holds the tail.

    The same unit gives the same crates each time: see `planning.crate_size`.
    """
    set_id = settings.set_for(work).set_id
    packed = _Packed(settings.crate_bytes, work.begins_small)
    for item in decode_batches(settings, work):
        if isinstance(item, Tail):
            name, batches = packed.taken(is_end=True)
            yield Crate(item.unit_id, work.positions, set_id, name, batches, item)
            return
        if packed.is_full_before(item.item):
            name, batches = packed.taken()
            yield Crate(item.item.unit_id, work.positions, set_id, name, batches)
        packed.add(item)


def decode_batches(settings: StageSettings, work: "UnitWork") -> Iterator[Envelope | Tail]:
    """Read and decode one unit, once, into batches and a tail."""
    from ray_audit.cuts.batching import batch_size_of
    from ray_audit.cuts.unit import cut_unit

    config = settings.config
    items = cut_unit(
        work.unit,
        config.dataset,
        config.model.input,
        settings.index_uri,
        batch_size_of(config.engine),
    )
    for item in stepwise(items, "decode", work.unit.files):
        if isinstance(item, Tail):
            yield item
            continue
        name = crates.batch_name(item.index, crates.content_digest(item.samples))
        yield Envelope(item, name) if work.kept is None else _with_moments(item, name, work.kept)


class _Packed:
    """The batches of the crate that is being packed, and where in its unit it is."""

    def __init__(self, max_bytes: int, begins_small: bool) -> None:
        self._max_bytes, self._begins_small = max_bytes, begins_small
        self._batches: list[Envelope] = []
        self._num_bytes = self._first = 0
        self._before = self._after = crates.START

    def is_full_before(self, batch: Batch) -> bool:
        """Whether the crate ends here; it holds a batch at least."""
        num = len(self._batches)
        exceeds = self._num_bytes + batch.num_bytes > self._max_bytes
        is_first = self._begins_small and self._first == 0
        return num > 0 and (exceeds or is_first or num == MAX_BATCHES)

    def add(self, envelope: Envelope) -> None:
        """Take the next batch of the unit."""
        content = envelope.name.rpartition("-")[2]
        self._after = crates.after_batch(self._after, content)
        self._num_bytes += envelope.item.num_bytes
        self._batches.append(envelope)

    def taken(self, is_end: bool = False) -> tuple[crates.CrateName, tuple[Envelope, ...]]:
        """Name and batches of the crate; what comes next is of another."""
        batches, stop = tuple(self._batches), self._first + len(self._batches)
        name = crates.CrateName(self._first, stop, self._before, self._after, is_end)
        self._batches, self._num_bytes = [], 0
        self._first, self._before = stop, self._after
        return name, batches


def _with_moments(batch: Batch, name: str, kept: kept_moments.KeptMoments) -> Envelope:
    try:
        return Envelope(kept.attach(batch, name), name)
    except StorageError as error:
        failures = batch_failures(batch, "read", str(error), error.attempts, stage="read")
        return Envelope(batch, name, failures)


def decode_marked(settings: StageSettings, work: "UnitWork") -> Iterator[Crate]:
    """Decode one unit in a process that may die of it; give the unit up after the third time."""
    if settings.attempts is None:
        yield from decode_unit(settings, work)
        return
    set_id = settings.set_for(work).set_id
    name = decode_name(work.unit.unit_id, set_id)
    num_before = settings.attempts.begin(name)
    if num_before < MAX_CRASHES:
        yield from decode_unit(settings, work)
        settings.attempts.survived(name, num_before)
        return
    end = crates.CrateName(0, 0, crates.START, crates.START, is_end=True)
    tail = given_up_unit(work.unit, partial(_counts_lost, settings.config.dataset))
    crate = Crate(work.unit.unit_id, work.positions, set_id, end, tail=tail)
    # Of an answer that is repeated, Ray takes only what comes after the part that it has seen.
    commit(settings, crate)
    yield crate


def _counts_lost(dataset: DatasetConfig, shard: Shard) -> bool:
    """Whether the dataset's fold counts a shard that is lost; what holds several is in each."""
    from ray_audit.formats.registry import known_format

    return not known_format(shard.key).holds_several or counts_lost(shard.key, dataset.fold)


def commit(settings: StageSettings, crate: Crate) -> Receipt:
    """Write the records of a crate under their final name; then say so."""
    fatal = crate.fatal or settings.other_measures()
    if fatal:
        return Receipt(crate.unit_id, fatal=fatal)
    parts = [part_of(each.item, each.failures, each.is_lost) for each in crate.batches]
    failures = [failure for part in parts for failure in part.failures]
    failures += crate.tail.failures if crate.tail is not None else ()
    output = settings.config.output
    moments = kept_moments.encode((e.name, e.item) for e in crate.batches if not e.failures)
    if moments is not None:
        # Before the records: where those are, the moments are too.
        file_name = kept_moments.name_of(crate.name, moments)
        folder = storage.join(output, "units", crate.unit_id, crate.set_id)
        storage.write_bytes(storage.join(folder, file_name), moments)
    uri = record_sets.crate_uri(output, crate.unit_id, crate.set_id, crate.name, failures)
    storage.write_bytes(uri, encode_crate(parts, crate.tail))
    return _receipt(crate, parts, failures, settings.config.failures.max_count is not None)


def _receipt(
    crate: Crate, parts: list[Part], failures: list[ShardFailure], names_failed: bool
) -> Receipt:
    # A sample that was cut may fail in several batches of the crate: it is lost once.
    unique = {failure.sample_id or index: failure for index, failure in enumerate(failures)}
    spent = [part.state["probe_s"][0] for part in parts if "probe_s" in part.state]
    receipt = Receipt(
        crate.unit_id,
        num_batches=len(parts),
        num_samples=sum(part.rows.num_rows for part in parts),
        num_failed=sum(failure.num_samples for failure in unique.values()),
        failed=_named(failures) if names_failed else [],
        probe_s=np.sum(spent, axis=0).tolist() if spent else [],
        probed_at_s=crate.probed_at_s,
        notes=list(crate.notes),
    )
    tail = crate.tail
    if tail is None:
        return receipt
    return replace(
        receipt,
        ends_unit=True,
        num_filtered=tail.filtered.num_rows,
        num_bytes=tail.bytes_read,
        num_decoded=tail.num_decoded,
        num_lead_in=tail.num_lead_in,
        decode_s=tail.decode_s,
        lost_shards=sorted({f.shard for f in tail.failures if f.sample_id is None}),
    )


def _named(failures: Iterable[ShardFailure]) -> list[str]:
    """Digests of the failed samples that have a name; a run with a largest count has few."""
    names = {f.sample_id for f in failures if f.sample_id is not None and f.num_samples}
    return sorted(storage.digest(name)[:16] for name in names)
