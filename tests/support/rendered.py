"""Rendered manifests, by their kind."""

import functools
import re

from ray_audit.config import AuditConfig
from ray_audit.kubernetes.deployment import Deployment
from ray_audit.kubernetes.render import render
from tests.support.manifests import ROOT, parsed

IMAGE = "ghcr.io/example/ray-audit:0.2.0-ray2.60.0"


CONFIG = AuditConfig.load(ROOT / "k8s/example.yaml")


RAY_VERSION = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)[1]


OPTIONS = {"gpu_image": f"{IMAGE}-cuda", "gpus": 4, "ray_version": RAY_VERSION}


@functools.cache
def rendered(name=None, **changes):
    config = CONFIG if name is None else CONFIG.model_copy(update={"name": name})
    return render(config, Deployment(IMAGE, **OPTIONS | changes))


def documents(texts):
    return [
        document
        for name, text in texts.items()
        if "kustomiz" not in name
        for document in parsed(text)
    ]


def of_kind(kind, **changes):
    return [document for document in documents(rendered(**changes)) if document["kind"] == kind]


def max_workers(workers):
    """What the worker groups can be at most, as `engine.cluster_max` says it."""
    found = {"CPU": 0.0, "GPU": 0.0}
    for group in workers:
        (container,) = group["template"]["spec"]["containers"]
        requests = container["resources"]["requests"]
        found["CPU"] += group["maxReplicas"] * float(requests["cpu"])
        found["GPU"] += group["maxReplicas"] * float(requests.get("nvidia.com/gpu", 0))
    return {name: number for name, number in found.items() if number}
