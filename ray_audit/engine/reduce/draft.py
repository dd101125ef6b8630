"""A manifest before it is published."""

import functools
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ray_audit.engine.planning.numeric import numeric_settings
from ray_audit.engine.planning.plan import Inputs, Plan
from ray_audit.measures import Kind, measures
from ray_audit.tables.manifest import Manifest
from ray_audit.tables.store import TableFile

PLAN_COUNTS = ("num_new", "num_reused", "num_slices", "num_lead_in")
_LIBRARIES = ("ray-audit", "ray", "torch", "numpy", "pyarrow", "av", "pillow")


def draft_of(inputs: Inputs, tables: dict[str, list[TableFile]]) -> Manifest:
    """What a manifest says of a run's inputs; what came of them stays to be filled in."""
    config = inputs.config
    return Manifest(
        run_id=inputs.run_id,
        state="complete",
        specification=config.model_dump(mode="json"),
        protocol=config.protocol,
        counts={},
        checkpoints=[
            {"name": c.name, "uri": c.uri, "digest": c.digest} for c in inputs.checkpoints
        ],
        labels_digest=inputs.listing.labels_digest,
        numeric=numeric_settings(config),
        plan={
            "num_shards": len(inputs.listing.shards),
            "num_left_out": inputs.listing.num_left_out,
        },
        tables=tables,
        timing={},
        versions={"python": platform.python_version()}
        | {name: _version(name) for name in _LIBRARIES},
        findings={},
        estimate={},
        memorisation={},
        order={},
        top=[],
        top_findings=[],
        notes=[],
        breached_gates=[],
        measures=measures().identity(Kind.of(config)),
    )


@functools.cache
def _version(library: str) -> str:
    """Of an installed library; a source tree that is only on the path has none."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "unknown"


def facts_of(plan: Plan) -> dict[str, Any]:
    """What a manifest keeps of a plan."""
    layout = asdict(plan.layout) if plan.layout else {}
    return layout | {name: getattr(plan, name) for name in PLAN_COUNTS}
