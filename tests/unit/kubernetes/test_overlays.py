import shutil
import subprocess

import pytest
import yaml

from ray_audit.config import AuditConfig
from tests.support.manifests import ROOT, parsed, problems
from tests.support.rendered import max_workers

FOLDERS = ("base", "once", "nightly", "nightly-cronjob", "monitoring")


@pytest.mark.parametrize("folder", [*FOLDERS, "overlays/cpu-small", "overlays/gpu"])
def test_kustomize_builds_valid_manifests(folder):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / folder)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for document in parsed(text):
        assert problems(document) == [], (document["kind"], document["metadata"]["name"])


@pytest.mark.parametrize(
    ("overlay", "expected"),
    [("cpu-small", [("cpu", 2)]), ("gpu", [("cpu", 4), ("gpu", 4)])],
)
def test_the_overlays_plan_for_the_workers_that_they_can_have(overlay, expected):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    command = ["kubectl", "kustomize", str(ROOT / "k8s/overlays" / overlay)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    made = parsed(text)
    (cron,) = (part for part in made if part["kind"] == "RayCronJob")
    workers = cron["spec"]["jobTemplate"]["rayClusterSpec"]["workerGroupSpecs"]
    assert [(group["groupName"], group["maxReplicas"]) for group in workers] == expected
    (spec,) = (part["data"]["audit.yaml"] for part in made if "audit.yaml" in part.get("data", {}))
    assert max_workers(workers) == AuditConfig.parse(yaml.safe_load(spec)).engine.cluster_max
