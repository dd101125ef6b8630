"""What every engine does to a unit before and after the pools: decode it, commit its batches.

Without torch, so that the processes which decode and commit start fast and stay small.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace

from ray_audit import storage
from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.config import AuditConfig
from ray_audit.cuts.unit import cut_unit
from ray_audit.engine.backends.wire import Envelope, Receipt
from ray_audit.engine.ledger import moments as kept_moments
from ray_audit.engine.ledger import record_sets
from ray_audit.engine.ledger.attempts import (
    MAX_CRASHES,
    Attempts,
    batch_failures,
    decode_name,
    given_up_unit,
)
from ray_audit.engine.ledger.records import encode_part, encode_tail, part_of
from ray_audit.engine.planning.plan import UnitWork
from ray_audit.errors import StorageError
from ray_audit.measures import measures
from ray_audit.samples import Batch, ShardFailure, Tail
from ray_audit.scores.recount import Recount


@dataclass(frozen=True)
class StageSettings:
    """What the stages of one run share.

    Attributes:
        config: the specification.
        checkpoints: all of them, in order.
        wanted: what every unit must have in the end.
        index_uri: label index, where labels are tables.
        device: `cpu` or `cuda`.
        recount: what a second pass of confident learning counts, or None in the first.
        attempts: markers of what is under way, where processes may die.
        measures: digest of what is declared where the run was started.
    """

    config: AuditConfig
    checkpoints: tuple[Checkpoint, ...]
    wanted: record_sets.Wanted
    index_uri: str
    device: str
    recount: Recount | None = None
    attempts: Attempts | None = None
    measures: str = field(default_factory=lambda: measures().digest)

    def other_measures(self) -> str:
        """Why this process cannot take part; empty where its measures are the driver's."""
        if self.measures == measures().digest:
            return ""
        return (
            "the measures declared on a worker are not those of the machine that started the run: "
            "install the same ray_audit and the same packages of measures on every node"
        )

    def set_for(self, work: UnitWork) -> record_sets.RecordSet:
        """The set that the stages write for a unit."""
        if self.recount is None:
            return self.wanted.set_for(work.positions, work.kept is not None)
        return recount_set(self.recount, self.checkpoints[-1])


def recount_set(recount: Recount, last: Checkpoint) -> record_sets.RecordSet:
    """The set of a second pass of confident learning."""
    digest = storage.digest(last.digest, asdict(recount))
    return record_sets.RecordSet((), None, None, recount=digest)


def decode_unit(settings: StageSettings, work: UnitWork) -> Iterator[Envelope]:
    """Read and decode one unit, once, into batches and a tail."""
    config = settings.config
    batch_size = config.engine.batch_size
    set_id = settings.set_for(work).set_id
    items = cut_unit(
        work.unit,
        config.dataset,
        config.model.input,
        settings.index_uri,
        None if batch_size == "auto" else batch_size,
    )
    contents: list[str] = []
    for item in items:
        if isinstance(item, Tail):
            tail = replace(item, contents=tuple(contents))
            yield Envelope(tail, work.positions, set_id, record_sets.tail_name(contents))
            continue
        contents.append(record_sets.content_digest(item.samples))
        name = record_sets.part_name(item.index, contents[-1])
        envelope = Envelope(item, work.positions, set_id, name)
        yield envelope if work.kept is None else _with_moments(envelope, item, work.kept)


def _with_moments(envelope: Envelope, batch: Batch, kept: kept_moments.KeptMoments) -> Envelope:
    try:
        return replace(envelope, item=kept.attach(batch, envelope.name))
    except StorageError as error:
        failures = batch_failures(batch, "read", str(error), error.attempts, stage="read")
        return replace(envelope, failures=failures)


def decode_marked(settings: StageSettings, work: UnitWork) -> Iterator[Envelope]:
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
    tail = given_up_unit(work.unit)
    envelope = Envelope(tail, work.positions, set_id, record_sets.tail_name([]))
    # Of an answer that is repeated, Ray takes only what comes after the part that it has seen.
    commit(settings, envelope)
    yield envelope


def commit(settings: StageSettings, envelope: Envelope) -> Receipt:
    """Write a batch's records, or a tail, under their final name; then say so."""
    item, output = envelope.item, settings.config.output
    fatal = envelope.fatal or settings.other_measures()
    if fatal:
        return Receipt(item.unit_id, isinstance(item, Tail), fatal=fatal)
    if isinstance(item, Tail):
        failures = item.failures
        content = encode_tail(item)
    else:
        failures = envelope.failures
        part = part_of(item, failures)
        content = encode_part(part)
        moments = None if failures else kept_moments.encode(item)
        if moments is not None:
            # Before the records: where those are, the moments are too.
            file_name = kept_moments.name_of(envelope.name, moments)
            folder = storage.join(output, "units", item.unit_id, envelope.set_id)
            storage.write_bytes(storage.join(folder, file_name), moments)
    uri = record_sets.file_uri(output, item.unit_id, envelope.set_id, envelope.name, failures)
    storage.write_bytes(uri, content)
    num_failed = sum(failure.num_samples for failure in failures)
    failed = _named(failures) if settings.config.failures.max_count is not None else []
    if isinstance(item, Tail):
        return Receipt(
            item.unit_id,
            is_tail=True,
            num_filtered=item.filtered.num_rows,
            num_failed=num_failed,
            failed=failed,
            num_bytes=item.bytes_read,
            num_decoded=item.num_decoded,
            num_lead_in=item.num_lead_in,
            decode_s=item.decode_s,
            lost_shards=sorted(
                {failure.shard for failure in failures if failure.sample_id is None}
            ),
        )
    probe_s = part.state.get("probe_s")
    return Receipt(
        item.unit_id,
        is_tail=False,
        num_samples=part.rows.num_rows,
        num_failed=num_failed,
        failed=failed,
        probe_s=[] if probe_s is None else probe_s[0].tolist(),
        probed_at_s=envelope.probed_at_s,
        notes=list(envelope.notes),
    )


def _named(failures: Iterable[ShardFailure]) -> list[str]:
    """Digests of the failed samples that have a name; a run with a largest count has few."""
    names = {f.sample_id for f in failures if f.sample_id is not None and f.num_samples}
    return sorted(storage.digest(name)[:16] for name in names)
