"""A short calibration on this machine: one batch past each checkpoint, timed."""

import time
from dataclasses import replace
from itertools import islice

import torch

from ray_audit.engine.backends import wire
from ray_audit.engine.backends.stages import StageSettings, decode_batches
from ray_audit.engine.backends.wire import Crate, Envelope
from ray_audit.engine.backends.worker import PoolWorker
from ray_audit.engine.ledger.crates import START, CrateName
from ray_audit.engine.planning.layout import ClusterResources
from ray_audit.engine.planning.pace import BatchTimes
from ray_audit.engine.planning.plan import Plan, paced
from ray_audit.errors import RunError
from ray_audit.supervisor import supervised

_MAX_DECODED = 3  # of the first unit: the first alone would bear the opening of the file


def calibrated(plan: Plan, index_uri: str, cluster: ClusterResources) -> Plan:
    """The plan with the layout that is fastest by a calibration on this machine.

    Raises:
        RunError: a model cannot be made, or fails on the first batch.
        StalledError: a model made no step for too long.
        PlanError: no layout fits the cluster.
    """
    limit_s = plan.inputs.config.engine.stall_timeout_s
    seen, notes = supervised(limit_s, "calibrate", lambda: calibrate(plan, index_uri))
    if seen is not None:
        plan = paced(plan, seen, cluster)
    if plan.layout is None:
        return plan
    return replace(plan, layout=replace(plan.layout, reasons=(*plan.layout.reasons, *notes)))


def calibrate(plan: Plan, index_uri: str) -> tuple[BatchTimes | None, list[str]]:
    """Decode a few batches, and time one at each checkpoint; what was found on the way, too.

    The checkpoints of one pool of the plan are held at a time. None where the first unit has no
    batch, or where the plan is for GPUs and this process sees none.

    Raises:
        RunError: a model cannot be made.
    """
    if plan.layout is None:
        return None, []
    device = "cuda" if plan.layout.gpus_per_actor else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        return None, ["not calibrated: the plan is for GPUs, and this process sees none"]
    inputs, work = plan.inputs, plan.work[0]
    required = replace(inputs.required, rule=None)  # so that nothing leaves before it is timed
    settings = StageSettings(inputs.config, inputs.checkpoints, required, index_uri, device)
    started = time.perf_counter()
    items = list(islice(decode_batches(settings, work), _MAX_DECODED))
    decode_s = (time.perf_counter() - started) / max(1, len(items))
    batches = [item for item in items if isinstance(item, Envelope) and not item.failures]
    if not batches:
        return None, ["not calibrated: the first work unit gives no batch"]
    envelope = max(batches, key=lambda batch: _rows(batch))
    probe_s: dict[int, float] = {}
    notes, overheads, load_s, model_bytes = [], [], 0.0, 0
    for hop in plan.layout.hops:
        started = time.perf_counter()
        worker = PoolWorker(settings, hop, is_last=False)
        load_s += time.perf_counter() - started
        ran = [position for position in hop if position in work.positions]
        lap_s, overhead_s = _timed(worker, envelope, work.positions, len(ran))
        probe_s |= dict(zip(ran, lap_s, strict=True))
        overheads.append(overhead_s)
        model_bytes = max(model_bytes, worker.model_bytes)
        notes += [worker.note] if worker.note else []
    # A checkpoint that the first unit does not need takes as long as the others.
    typical_s = sum(probe_s.values()) / len(probe_s)
    every = {p: probe_s.get(p, typical_s) for hop in plan.layout.hops for p in hop}
    seen = BatchTimes(
        probe_s=every,
        overhead_s=sum(overheads) / len(overheads),
        decode_s=decode_s,
        copy_s=_copied_s(envelope),
        load_s=load_s / len(every),
        model_bytes=model_bytes,
        payload_bytes=envelope.item.num_bytes,
        num_rows=_rows(envelope),
        device=device,
    )
    return seen, notes


def _timed(
    worker: PoolWorker, envelope: Envelope, positions: tuple[int, ...], num: int
) -> tuple[list[float], float]:
    """Seconds of each checkpoint for a batch, and of all else; a first try warms up."""
    for _ in range(2):
        started = time.perf_counter()
        answer = worker.probe(envelope, positions)
        took_s = time.perf_counter() - started
        if answer.fatal:
            raise RunError(answer.fatal)
        if answer.failures:
            raise RunError(f"the model fails on the first batch: {answer.failures[0].message}")
    laps: list[float] = answer.item.arrays["trajectory/probe_s"][0, -num:].tolist()
    return laps, max(0.0, took_s - sum(laps))


def _copied_s(envelope: Envelope) -> float:
    batch = envelope.item
    name = CrateName(batch.index, batch.index + 1, START, START)
    crate = Crate(batch.unit_id, (), "", name, (envelope,))
    started = time.perf_counter()
    wire.decode(wire.encode(crate))
    return time.perf_counter() - started


def _rows(envelope: Envelope) -> int:
    return int(envelope.item.samples.num_rows)
