"""What every engine does to a unit before and after the pools: decode it, commit its batches.

Without torch, so that the processes which decode and commit start fast and stay small.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ray_audit import storage
from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.config import AuditConfig
from ray_audit.cuts.unit import cut_unit
from ray_audit.engine import ledger
from ray_audit.engine.plan import UnitWork
from ray_audit.engine.records import encode_part, encode_tail, part_of
from ray_audit.engine.wire import Envelope, Receipt
from ray_audit.samples import Tail
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
    """

    config: AuditConfig
    checkpoints: tuple[Checkpoint, ...]
    wanted: ledger.Wanted
    index_uri: str
    device: str
    recount: Recount | None = None

    def set_for(self, positions: tuple[int, ...]) -> ledger.RecordSet:
        """The set that the stages write for a unit."""
        if self.recount is None:
            return self.wanted.set_for(positions)
        return recount_set(self.recount, self.checkpoints[-1])


def recount_set(recount: Recount, last: Checkpoint) -> ledger.RecordSet:
    """The set of a second pass of confident learning."""
    digest = storage.digest(last.digest, asdict(recount))
    return ledger.RecordSet((), None, None, digest)


def decode_unit(settings: StageSettings, work: UnitWork) -> Iterator[Envelope]:
    """Read and decode one unit, once, into batches and a tail."""
    config = settings.config
    batch_size = config.engine.batch_size
    set_id = settings.set_for(work.positions).set_id
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
            name = ledger.tail_name(contents)
        else:
            contents.append(ledger.content_digest(item.samples))
            name = ledger.part_name(item.index, contents[-1])
        yield Envelope(item, work.positions, set_id, name)


def commit(settings: StageSettings, envelope: Envelope) -> Receipt:
    """Write a batch's records, or a tail, under their final name; then say so."""
    item, output = envelope.item, settings.config.output
    if envelope.fatal:
        return Receipt(item.unit_id, isinstance(item, Tail), fatal=envelope.fatal)
    if isinstance(item, Tail):
        failures = item.failures
        content = encode_tail(item)
    else:
        failures = envelope.failures
        part = part_of(item, failures)
        content = encode_part(part)
    uri = ledger.file_uri(output, item.unit_id, envelope.set_id, envelope.name, failures)
    storage.write_bytes(uri, content)
    num_failed = sum(failure.num_samples for failure in failures)
    if isinstance(item, Tail):
        return Receipt(
            item.unit_id,
            is_tail=True,
            num_filtered=item.filtered.num_rows,
            num_failed=num_failed,
            num_bytes=item.bytes_read,
            num_decoded=item.num_decoded,
            num_lead_in=item.num_lead_in,
            decode_s=item.decode_s,
            lost_shards=sorted({one.shard for one in failures if one.sample_id is None}),
        )
    probe_s = part.state.get("probe_s")
    return Receipt(
        item.unit_id,
        is_tail=False,
        num_samples=part.rows.num_rows,
        num_failed=num_failed,
        probe_s=[] if probe_s is None else probe_s[0].tolist(),
        probed_at_s=envelope.probed_at_s,
    )
