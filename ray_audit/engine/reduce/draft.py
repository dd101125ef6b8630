"""Everything a manifest needs, before it is written."""

import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ray_audit.engine.planning.plan import Inputs, Plan, numeric_settings
from ray_audit.measures import Kind, measures
from ray_audit.tables.manifest import Manifest
from ray_audit.tables.store import TableFile

PLAN_COUNTS = ("num_new", "num_reused", "num_slices", "num_lead_in")
_LIBRARIES = ("ray-audit", "ray", "torch", "numpy", "pyarrow", "av", "pillow")


@dataclass(frozen=True)
class Draft:
    """Everything a manifest needs, before it is written."""

    inputs: Inputs
    tables: dict[str, list[TableFile]]
    counts: dict[str, Any]
    findings: dict[str, Any]
    estimate: dict[str, Any]
    memorisation: dict[str, Any]
    order: dict[str, Any]
    ranking: dict[str, Any]
    top: list[dict[str, Any]]
    top_findings: list[dict[str, Any]]
    notes: list[str]

    def manifest(
        self, plan: dict[str, Any], timing: dict[str, Any], breached: list[str]
    ) -> Manifest:
        """The manifest of the run.

        Args:
            plan: facts about how it was made: see `facts_of`.
            timing: durations.
            breached: gates.
        """
        config = self.inputs.config
        return Manifest(
            run_id=self.inputs.run_id,
            state="complete",
            specification=config.model_dump(mode="json"),
            protocol=config.protocol,
            counts=self.counts,
            checkpoints=[
                {"name": c.name, "uri": c.uri, "digest": c.digest} for c in self.inputs.checkpoints
            ],
            labels_digest=self.inputs.listing.labels_digest,
            numeric=numeric_settings(config),
            plan=plan | {"num_shards": len(self.inputs.listing.shards)},
            tables=self.tables,
            timing=timing,
            versions={"python": platform.python_version()}
            | {name: _version(name) for name in _LIBRARIES},
            findings=self.findings,
            estimate=self.estimate,
            memorisation=self.memorisation,
            order=self.order,
            ranking=self.ranking,
            top=self.top,
            top_findings=self.top_findings,
            notes=self.notes,
            breached_gates=breached,
            measures=measures().identity(Kind.of(config)),
            published_s=time.time(),
        )


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
