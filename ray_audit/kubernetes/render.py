"""Fills the manifests for a specification: plain YAML, which kustomize can patch further."""

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError
from ray_audit.kubernetes.deployment import Deployment
from ray_audit.kubernetes.object_names import kubernetes_name
from ray_audit.kubernetes.parsed import check_rendered

_CPUS_PER_WORKER = 8
_DEFAULT_BUDGET = 0.01
# KubeRay tries a RayJob again, or the starter does: never both.
_BACKOFF_LIMIT = 1
HEAD_GRACE_S = 120
# kustomize refuses some of these, and silently changes others.
_UNCARRIED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def yaml_string(text: str) -> str:
    r"""The text as a scalar of YAML that can be nothing but text.

    >>> print(yaml_string("no # 1: \x07"))
    "no # 1: \a"
    """
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=2**31).rstrip("\n")


def promql_string(text: str) -> str:
    r"""The text as a string of PromQL, without anything that ends a line.

    >>> print(promql_string('a "b"\n'))
    "a \"b\"\n"
    """
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


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
_TEMPLATES.filters["quoted"] = yaml_string


def render(config: AuditConfig, deployment: Deployment) -> dict[str, str]:
    """The manifests, by path below the target folder.

    Raises:
        SpecificationError: no manifest can say this.
    """
    unseen = _UNCARRIED.search(config.name)
    if unseen is not None:
        raise SpecificationError(
            f"name: {config.name!r} has the control character {unseen[0]!r}, which kustomize "
            "cannot carry: choose another name"
        )
    values = _values(config, deployment)
    root = files("ray_audit.kubernetes") / "manifests"
    values["job"] = _filled(root / "job.yaml", values)
    values["started_job"] = _filled(root / "job.yaml", {**values, "backoff_limit": 0})
    rendered = {}
    for folder in sorted(root.iterdir(), key=lambda path: path.name):
        if folder.is_dir():
            for file in folder.iterdir():
                if file.name.endswith(".yaml"):
                    rendered[f"{folder.name}/{file.name}"] = _filled(file, values) + "\n"
    specification = _specification(config, deployment)
    check_rendered(rendered, deployment, specification, promql_string(config.audit_label))
    return dict(sorted(rendered.items()))


def write(rendered: dict[str, str], to: Path) -> Iterator[Path]:
    """Write the manifests below a folder; the files that were written.

    Raises:
        StorageError: there is no room, or no right to write.
    """
    for name, text in rendered.items():
        path = to / name
        storage.write_bytes(str(path), text.encode())
        yield path


def _values(config: AuditConfig, deployment: Deployment) -> dict[str, Any]:
    budget, audit = config.failures.max_fraction, config.audit_label
    name = kubernetes_name(audit)
    return {
        **vars(deployment),
        "ray_version": deployment.ray_version or version("ray"),
        "gpu_image": deployment.gpu_image or deployment.image,
        "name": name,
        "audit": f"audit={promql_string(audit)}",
        # Prometheus replaces $1 in it by what a pattern has found.
        "audit_replacement": audit.replace("$", "$$"),
        "cpus_per_worker": _CPUS_PER_WORKER,
        "backoff_limit": _BACKOFF_LIMIT,
        "head_grace_s": HEAD_GRACE_S,
        "failure_budget": _DEFAULT_BUDGET if budget is None else budget,
        "specification": _as_yaml(_specification(config, deployment)),
        "dashboard": _dashboard(name, audit),
    }


def _filled(template: Traversable, values: dict[str, Any]) -> str:
    source = template.read_text(encoding="utf-8")
    return _TEMPLATES.from_string(source).render(values).rstrip("\n")


def _dashboard(name: str, audit: str) -> str:
    """The dashboard; Grafana takes one of each title and `uid` alone."""
    source = files("ray_audit.kubernetes") / "manifests/monitoring/dashboard.json"
    dashboard = json.loads(source.read_text(encoding="utf-8"))
    dashboard |= {"title": f"{dashboard['title']}: {audit}", "uid": f"ray-audit-{name}"}
    return json.dumps(dashboard, indent=1)


def _specification(config: AuditConfig, deployment: Deployment) -> dict[str, Any]:
    """As given; workers start from none, so the planner is told how many there can be."""
    values = config.model_dump(mode="json", exclude_unset=True)
    if config.engine.cluster_max is None:
        cluster_max = {"CPU": float((deployment.workers + deployment.gpus) * _CPUS_PER_WORKER)}
        if deployment.gpus:
            cluster_max["GPU"] = float(deployment.gpus)
        values["engine"] = {**values.get("engine", {}), "cluster_max": cluster_max}
    return values


def _as_yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False).rstrip("\n")
