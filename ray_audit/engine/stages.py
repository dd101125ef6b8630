"""What every engine does to a unit: decode it, pass its batches by checkpoints, commit them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ray_audit import storage
from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.checkpoints.loading import build_model, load_weights
from ray_audit.config import AuditConfig
from ray_audit.cuts.unit import cut_unit
from ray_audit.engine import ledger
from ray_audit.engine.plan import UnitWork, precision
from ray_audit.engine.records import encode_part, encode_tail, part_of
from ray_audit.engine.wire import Envelope, Receipt
from ray_audit.probes.prober import Prober, ProbeSettings, ProbeTurn, without_payload
from ray_audit.samples import Batch, ShardFailure, Tail


@dataclass(frozen=True)
class StageSettings:
    """What the stages of one run share.

    Attributes:
        config: the specification.
        checkpoints: all of them, in order.
        wanted: what every unit must have in the end.
        index_uri: label index, where labels are tables.
        device: `cpu` or `cuda`.
    """

    config: AuditConfig
    checkpoints: tuple[Checkpoint, ...]
    wanted: ledger.Wanted
    index_uri: str
    device: str


def decode_unit(settings: StageSettings, work: UnitWork) -> Iterator[Envelope]:
    """Read and decode one unit, once, into batches and a tail."""
    config = settings.config
    batch_size = config.engine.batch_size
    set_id = settings.wanted.set_for(work.positions).set_id
    items = cut_unit(
        work.unit,
        config.dataset,
        config.model.input,
        settings.index_uri,
        None if batch_size == "auto" else batch_size,
    )
    for item in items:
        yield Envelope(item, work.positions, set_id)


class PoolWorker:
    """One actor of a pool: holds its share of the checkpoints and probes batches with them.

    It never raises: a model that cannot be made marks each batch as fatal, because an actor that
    fails while it starts would only be started again.

    Args:
        settings: shared settings.
        positions: checkpoints of the pool, in order.
        is_last: whether batches end their way here.
    """

    def __init__(self, settings: StageSettings, positions: tuple[int, ...], is_last: bool) -> None:
        self._settings = settings
        self._is_last = is_last
        self._probers: dict[int, Prober] = {}
        self._fatal = ""
        torch.set_num_threads(settings.config.engine.threads_per_actor)
        try:
            for position in positions:
                self._probers[position] = self._prober(position)
        except Exception as error:  # a user's model may raise anything
            self._fatal = f"{type(error).__name__}: {error}"

    def _prober(self, position: int) -> Prober:
        config, device = self._settings.config, torch.device(self._settings.device)
        model = build_model(config.model)
        load_weights(model, self._settings.checkpoints[position].uri)
        wanted = self._settings.wanted.vog
        probe = ProbeSettings(
            num_classes=len(config.dataset.classes),
            input=config.model.input,
            output=config.model.output,
            gradient=wanted[0] if wanted else None,
            temperature=config.softmin.temperature,
            precision=precision(config),
        )
        return Prober(model.to(device), probe, device)

    def process(self, envelope: Envelope) -> Envelope:
        """Probe a batch with each checkpoint that is held here and that its unit needs."""
        item = envelope.item
        if self._fatal:
            return replace(envelope, fatal=envelope.fatal or self._fatal)
        if isinstance(item, Tail) or envelope.fatal:
            return envelope
        if not envelope.failures:
            try:
                item = self._probed(item, envelope)
            except Exception as error:  # a user's model may raise anything
                envelope = replace(envelope, failures=_failed(item, error))
        if self._is_last or envelope.failures:
            item = without_payload(item)
        return replace(envelope, item=item, probed_at_s=time.time())

    def _probed(self, batch: Batch, envelope: Envelope) -> Batch:
        wanted, last = self._settings.wanted, len(self._settings.checkpoints) - 1
        record_set = wanted.set_for(envelope.positions)
        window = set(record_set.vog[1:]) if record_set.vog else set()
        for position, prober in self._probers.items():
            if position in envelope.positions:
                digest = self._settings.checkpoints[position].digest
                turn = ProbeTurn(is_final=position == last, in_window=digest in window)
                batch = batch.with_arrays(prober.observe(batch, turn))
        return batch


def _failed(batch: Batch, error: Exception) -> tuple[ShardFailure, ...]:
    """One failure for each sample of a batch that a model could not take."""
    message = f"{type(error).__name__}: {error}"[:500]
    rows = batch.samples.select(["sample_id", "shard"]).to_pylist()
    return tuple(
        ShardFailure(row["shard"], row["sample_id"], "probe", type(error).__name__, message, 1)
        for row in {row["sample_id"]: row for row in rows}.values()
    )


def commit(settings: StageSettings, envelope: Envelope) -> Receipt:
    """Write a batch's records, or a tail, under their final name; then say so."""
    item, output = envelope.item, settings.config.output
    if envelope.fatal:
        return Receipt(item.unit_id, isinstance(item, Tail), fatal=envelope.fatal)
    if isinstance(item, Tail):
        name, failures = f"tail-{item.num_batches:06d}", item.failures
        content = encode_tail(item)
    else:
        name, failures = f"{item.index:06d}", envelope.failures
        part = part_of(item, failures)
        content = encode_part(part)
    uri = ledger.file_uri(output, item.unit_id, envelope.set_id, name, failures)
    storage.write_bytes(uri, content)
    num_failed = sum(failure.num_samples for failure in failures)
    if isinstance(item, Tail):
        return Receipt(
            item.unit_id,
            is_tail=True,
            num_filtered=item.filtered.num_rows,
            num_failed=num_failed,
            num_bytes=item.bytes_read,
            decode_s=item.decode_s,
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
