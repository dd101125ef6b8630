"""Rendered manifests are read again before they are written: each means what was said, or none is.

A template that let a name break out of its place would give a file that parses as something else.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from ray_audit.errors import SpecificationError
from ray_audit.kubernetes.deployment import Deployment
from ray_audit.kubernetes.object_names import DNS_LABEL

_MAX_CONFIG_MAP_BYTES = 2**20
_MAX_OBJECT_BYTES = 3 * 2**19  # of etcd, where nobody set another limit
# libyaml, which kustomize's parser is made after, where PyYAML was built with it; ten times faster.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MATCHER = re.compile(r'ray_(?:audit|node)\w*(?::\w+)*\{audit=("(?:[^"\\]|\\.)*")')


def check_rendered(
    rendered: dict[str, str], deployment: Deployment, specification: dict[str, Any], audit: str
) -> None:
    """Hold rendered files to what they were made from.

    Args:
        rendered: texts by path.
        deployment: what the cluster was told.
        specification: as plain values.
        audit: the audit's name as a string in PromQL, with its quotes.

    Raises:
        SpecificationError: a file does not mean what was said.
    """
    for path, text in rendered.items():
        for document in _documents(path, text):
            for value in (document, *_inner(path, document)):
                _check_names(path, value)
                _check_schedule(path, value, deployment)
                _check_rules(path, value, audit)
            _check_config_map(path, document, specification)
            _check_size(path, document)


def _documents(path: str, text: str) -> list[dict[str, Any]]:
    try:
        found = list(yaml.load_all(text, _LOADER))
    except yaml.YAMLError as error:
        raise SpecificationError(f"{path} would be no YAML: {error}") from error
    if not found or not all(isinstance(item, dict) and "kind" in item for item in found):
        raise SpecificationError(f"{path} would hold no object of Kubernetes")
    return found


def _inner(path: str, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The RayJob that a ConfigMap keeps for the starter."""
    if "rayjob.yaml" in document.get("data", {}):
        yield from _documents(path, document["data"]["rayjob.yaml"])


def _check_names(path: str, document: dict[str, Any]) -> None:
    metadata = document.get("metadata", {})
    labels = metadata.get("labels", {})
    for name in (metadata.get("name", "a"), *labels.values()):
        if not (isinstance(name, str) and DNS_LABEL.fullmatch(name)):
            raise SpecificationError(f"{path}: {name!r} would be no name for Kubernetes")


def _check_schedule(path: str, document: dict[str, Any], deployment: Deployment) -> None:
    if document["kind"] not in ("CronJob", "RayCronJob"):
        return
    actual = document["spec"]["schedule"], document["spec"]["timeZone"]
    if actual != (deployment.schedule, deployment.time_zone):
        raise SpecificationError(f"{path}: the schedule would read {actual}")


def _check_rules(path: str, document: dict[str, Any], audit: str) -> None:
    if document["kind"] != "PrometheusRule":
        return
    for group in document["spec"]["groups"]:
        for rule in group["rules"]:
            found = _MATCHER.findall(rule["expr"])
            if not found or set(found) != {audit}:
                raise SpecificationError(
                    f"{path}: {rule['expr']!r} would not ask for the audit {audit}"
                )


def _check_config_map(path: str, document: dict[str, Any], specification: dict[str, Any]) -> None:
    if document["kind"] != "ConfigMap":
        return
    data = document["data"]
    num_bytes = sum(len(text.encode()) for text in data.values())
    if num_bytes > _MAX_CONFIG_MAP_BYTES:
        raise SpecificationError(
            f"{path} would hold {num_bytes / 2**20:.1f} MiB, and a ConfigMap takes 1: name "
            "checkpoints and shards by a pattern, or keep the specification in the store, where "
            "`ray-audit night s3://...` reads it"
        )
    if "audit.yaml" in data and yaml.load(data["audit.yaml"], _LOADER) != specification:
        raise SpecificationError(f"{path}: the specification would read otherwise")


def _check_size(path: str, document: dict[str, Any]) -> None:
    num_bytes = len(json.dumps(document, ensure_ascii=False).encode())
    if num_bytes > _MAX_OBJECT_BYTES:
        raise SpecificationError(
            f"{path} would hold an object of {num_bytes / 2**20:.1f} MiB, and the API server takes "
            "1.5: give the audit a shorter name"
        )
