"""Fills the manifests for a specification: plain YAML, which kustomize can patch further."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import yaml

from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError

_CPUS_PER_WORKER = 8
_DEFAULT_BUDGET = 0.01
_MAX_NAME = 30  # KubeRay allows 47 for a RayJob, whose name adds the date and a number
# Prometheus' own {{ }} stand in the rules: other signs for ours.
_TEMPLATES = jinja2.Environment(
    variable_start_string="[[",
    variable_end_string="]]",
    block_start_string="[%",
    block_end_string="%]",
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,
)


@dataclass(frozen=True)
class Deployment:
    """What a specification does not say and a cluster must know.

    Attributes:
        image: with ray_audit, the model's code, and the Ray of `ray_version`.
        gpu_image: the same with CUDA; default: `image`.
        namespace: where it runs.
        schedule: of the nights, in cron's five fields.
        time_zone: of the schedule and of the logical date.
        workers: most CPU workers.
        gpus: most GPU workers, of one GPU each; 0 leaves their group out.
        secret: a Secret whose keys become environment variables, e.g. AWS_ACCESS_KEY_ID.
        ray_version: of the image.
    """

    image: str
    gpu_image: str | None = None
    namespace: str = "ray-audit"
    schedule: str = "0 2 * * *"
    time_zone: str = "Etc/UTC"
    workers: int = 4
    gpus: int = 0
    secret: str | None = None
    ray_version: str = ""

    def __post_init__(self) -> None:
        if len(self.schedule.split()) != 5:
            raise SpecificationError(f"--schedule {self.schedule!r}: expected five fields")
        try:
            ZoneInfo(self.time_zone)
        except (ValueError, OSError, KeyError) as error:
            raise SpecificationError(f"--time-zone {self.time_zone}: unknown") from error
        for name in (self.namespace, self.secret or "a"):
            if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name):
                raise SpecificationError(f"{name!r} is no name for Kubernetes: a-z, 0-9 and -")
        if not re.fullmatch(r"[\w./:@-]+", f"{self.image}{self.gpu_image or ''}"):
            raise SpecificationError(f"--image {self.image!r}: expected registry/name:tag")


def render(config: AuditConfig, deployment: Deployment) -> dict[str, str]:
    """The manifests, by path below the target folder."""
    values = _values(config, deployment)
    root = files("ray_audit.kubernetes") / "manifests"
    values["job"] = _filled(root / "job.yaml", values)
    rendered = {}
    for folder in sorted(root.iterdir(), key=lambda one: one.name):
        if folder.is_dir():
            for file in folder.iterdir():
                if file.name.endswith(".yaml"):
                    rendered[f"{folder.name}/{file.name}"] = _filled(file, values) + "\n"
    return dict(sorted(rendered.items()))


def write(rendered: dict[str, str], to: Path) -> Iterator[Path]:
    """Write the manifests below a folder; the files that were written."""
    for name, text in rendered.items():
        path = to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        yield path


def _values(config: AuditConfig, deployment: Deployment) -> dict[str, Any]:
    dashboard = files("ray_audit.kubernetes") / "manifests/monitoring/dashboard.json"
    budget = config.failures.max_fraction
    return {
        **vars(deployment),
        "ray_version": deployment.ray_version or version("ray"),
        "gpu_image": deployment.gpu_image or deployment.image,
        "name": kubernetes_name(config.name),
        # A matcher in PromQL, whose strings are quoted as in JSON.
        "audit": f"audit={json.dumps(config.name, ensure_ascii=False)}",
        # Prometheus replaces $1 in it by what a pattern has found.
        "audit_name": json.dumps(config.name.replace("$", "$$"), ensure_ascii=False),
        "cpus_per_worker": _CPUS_PER_WORKER,
        "failure_budget": _DEFAULT_BUDGET if budget is None else budget,
        "specification": _specification(config, deployment),
        "dashboard": dashboard.read_text(encoding="utf-8").rstrip("\n"),
    }


def _filled(template: Traversable, values: dict[str, Any]) -> str:
    source = template.read_text(encoding="utf-8")
    return _TEMPLATES.from_string(source).render(values).rstrip("\n")


def _specification(config: AuditConfig, deployment: Deployment) -> str:
    """As given; workers start from none, so the planner is told how many there can be."""
    values = config.model_dump(mode="json", exclude_unset=True)
    if config.engine.cluster_max is None:
        most = {"CPU": float((deployment.workers + deployment.gpus) * _CPUS_PER_WORKER)}
        if deployment.gpus:
            most["GPU"] = float(deployment.gpus)
        values["engine"] = {**values.get("engine", {}), "cluster_max": most}
    return yaml.safe_dump(values, sort_keys=False).rstrip("\n")


def kubernetes_name(name: str) -> str:
    """Name of the objects.

    >>> kubernetes_name("Phases, nightly")
    'phases-nightly'
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_MAX_NAME].strip("-")
    return slug if slug[:1].isalpha() else f"audit-{slug}".strip("-")
