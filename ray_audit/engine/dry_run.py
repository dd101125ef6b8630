"""The plan without the run: nothing is started on a cluster, nothing is written."""

import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from ray_audit.config import AuditConfig
from ray_audit.engine.local import LocalEngine
from ray_audit.engine.plan import Plan, make_plan, read_inputs
from ray_audit.engine.pool import PoolWorker
from ray_audit.engine.preflight import check_model
from ray_audit.engine.run import opened_engine, today
from ray_audit.engine.stages import StageSettings, decode_unit
from ray_audit.samples import Batch

_CALIBRATION_BATCHES = 3


def dry_run(
    config: AuditConfig,
    address: str | None,
    local: bool,
    limit: int | None,
    logical_date: str | None,
    calibrate: bool,
) -> Plan:
    """Validate, list and plan, as `run` would; with `calibrate` time a few batches here.

    Without an address the resources are those of this machine.

    Raises:
        SpecificationError: a run would not start either.
    """
    with tempfile.TemporaryDirectory(prefix="ray-audit-") as folder:
        inputs = read_inputs(config, Path(folder), limit, logical_date or today())
        check_model(config, inputs.checkpoints)
        if local or address is None:
            resources = LocalEngine().resources()
        else:
            with opened_engine(config.engine, address, local=False) as engine:
                resources = engine.resources()
        plan = make_plan(inputs, resources)
        if calibrate and plan.layout is not None:
            plan = replace(plan, expected_s=_calibrated_s(plan, folder))
    return plan


def _calibrated_s(plan: Plan, index_uri: str) -> float | None:
    """Extrapolate the time of the first batches to the labelled samples of the plan."""
    if plan.layout is None or plan.num_expected is None:
        return None
    inputs = plan.inputs
    settings = StageSettings(inputs.config, inputs.checkpoints, inputs.wanted, index_uri, "cpu")
    worker = PoolWorker(settings, plan.layout.hops[0], is_last=True)
    num_samples, started = 0, time.perf_counter()
    for envelope in islice(decode_unit(settings, plan.work[0]), _CALIBRATION_BATCHES):
        if isinstance(envelope.item, Batch):
            num_samples += envelope.item.samples.num_rows
            worker.process(envelope)
    if not num_samples:
        return None
    each_s = (time.perf_counter() - started) / num_samples * len(plan.layout.hops)
    return plan.num_expected * each_s / plan.layout.num_actors


def describe(plan: Plan) -> dict[str, Any]:
    """The plan as plain values, for `--json`."""
    inputs, layout = plan.inputs, plan.layout
    described: dict[str, Any] = {
        "run_id": inputs.run_id,
        "num_shards": len(inputs.listing.shards),
        "num_units": len(inputs.units),
        "checkpoints": [checkpoint.name for checkpoint in inputs.checkpoints],
        "num_new": plan.num_new,
        "num_reused": plan.num_reused,
        "bytes_to_read": plan.bytes_to_read,
        "num_slices": plan.num_slices,
        "num_lead_in": plan.num_lead_in,
        "expected_s": plan.expected_s,
        "num_again": plan.num_again,
        "moments_bytes": plan.moments_bytes if inputs.wanted.keep_moments else 0,
        "notes": list(inputs.listing.notes),
    }
    if layout is not None:
        described["layout"] = {
            "hops": [list(hop) for hop in layout.hops],
            "actors_per_pool": layout.actors_per_pool,
            "cpus_per_actor": layout.cpus_per_actor,
            "gpus_per_actor": layout.gpus_per_actor,
            "num_decoders": layout.num_decoders,
            "cpus_per_decoder": layout.cpus_per_decoder,
            "in_flight_bytes": layout.in_flight_bytes(plan.payload_bytes),
            "reasons": list(layout.reasons),
        }
    return described
