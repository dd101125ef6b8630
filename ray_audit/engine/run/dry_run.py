"""The plan without the run: nothing is started on a cluster, nothing is written."""

import tempfile
from dataclasses import replace
from pathlib import Path

from ray_audit.config import AuditConfig
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.planning.plan import Plan, make_plan, read_inputs
from ray_audit.engine.run.audit import opened_backend, today
from ray_audit.engine.run.calibrate import calibrated
from ray_audit.engine.run.preflight import check_model
from ray_audit.engine.run.sample import check_seen, look_at_samples


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
        model = check_model(config, inputs.checkpoints)
        seen = look_at_samples(inputs, model, folder)
        check_seen(seen)
        if local or address is None:
            resources = LocalBackend().resources()
        else:
            with opened_backend(config.engine, address, local=False) as engine:
                resources = engine.resources()
        plan = replace(make_plan(inputs, resources), seen=seen)
        return calibrated(plan, folder, resources) if calibrate else plan
