"""The plan without the run: nothing is started on a cluster, nothing is written."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ray_audit.config import AuditConfig, DatasetConfig
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.planning.batches import with_gpu_batches
from ray_audit.engine.planning.plan import Plan, committed, make_plan, read_inputs
from ray_audit.engine.run.audit import opened_backend, today
from ray_audit.engine.run.calibrate import calibrated
from ray_audit.engine.run.preflight import check_model
from ray_audit.engine.run.sample import check_seen, look_at_samples
from ray_audit.formats.video.frames import is_turned
from ray_audit.samples import Shard

_NUM_LOOKED_AT = 8


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
        notes = (*inputs.listing.notes, *_looked_at(config.dataset, inputs.listing.shards))
        inputs = replace(inputs, listing=replace(inputs.listing, notes=notes))
        model = check_model(config, inputs.checkpoints)
        seen = look_at_samples(inputs, model, folder)
        check_seen(seen, inputs)
        if local or address is None:
            resources = LocalBackend().resources()
        else:
            with opened_backend(config.engine, address, local=False) as engine:
                resources = engine.resources()
        sized = with_gpu_batches(inputs.config, resources)
        if sized != inputs.config and not committed(inputs):
            again = tempfile.mkdtemp(dir=folder)
            sized_inputs = read_inputs(sized, Path(again), limit, logical_date or today())
            inputs = replace(sized_inputs, listing=inputs.listing)
        plan = replace(make_plan(inputs, resources), seen=seen)
        return calibrated(plan, folder, resources) if calibrate else plan


def _looked_at(dataset: DatasetConfig, shards: Sequence[Shard]) -> Iterator[str]:
    """What the first frames of a few videos tell; a run says it of all that it decodes."""
    if dataset.kind != "video" or not shards:
        return
    chosen = shards[:: -(-len(shards) // _NUM_LOOKED_AT)]
    with ThreadPoolExecutor(_NUM_LOOKED_AT) as pool:
        turned = [
            s.key for s, is_it in zip(chosen, pool.map(is_turned, chosen), strict=True) if is_it
        ]
    if turned:
        yield (
            f"{len(turned)} of {len(chosen)} videos looked at carry a display matrix, by which "
            f"players turn or mirror them ({turned[0]}): dataset.orientation is "
            f"{dataset.orientation}"
        )
