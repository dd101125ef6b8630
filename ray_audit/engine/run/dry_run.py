"""The plan without the run: nothing is started on a cluster, nothing is written."""

import tempfile
from pathlib import Path
from typing import Any

from ray_audit.config import AuditConfig
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.planning.plan import Plan, make_plan, read_inputs
from ray_audit.engine.run.audit import opened_backend, today
from ray_audit.engine.run.calibrate import calibrated
from ray_audit.engine.run.preflight import check_model


def dry_run(
    config: AuditConfig,
    address: str | None,
    local: bool,
    limit: int | None,
    logical_date: str | None,
    calibrate: bool,
) -> Plan:
    """Validate, list and plan, as `run` would; with `calibrate` time a batch here.

    Without an address the resources are those of this machine.

    Raises:
        SpecificationError: a run would not start either.
    """
    with tempfile.TemporaryDirectory(prefix="ray-audit-") as folder:
        inputs = read_inputs(config, Path(folder), limit, logical_date or today())
        check_model(config, inputs.checkpoints)
        if local or address is None:
            resources = LocalBackend().resources()
        else:
            with opened_backend(config.engine, address, local=False) as engine:
                resources = engine.resources()
        plan = make_plan(inputs, resources)
        return calibrated(plan, folder, resources) if calibrate else plan


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
        "num_by_time": inputs.listing.num_by_time,
    }
    if layout is not None:
        described["layout"] = {
            "hops": [list(hop) for hop in layout.hops],
            "actors_per_pool": layout.actors_per_pool,
            "in_flight_per_actor": layout.in_flight_per_actor,
            "cpus_per_actor": layout.cpus_per_actor,
            "gpus_per_actor": layout.gpus_per_actor,
            "num_decoders": layout.num_decoders,
            "cpus_per_decoder": layout.cpus_per_decoder,
            "in_flight_bytes": layout.in_flight_bytes(plan.payload_bytes),
            "reasons": list(layout.reasons),
        }
    return described
