import copy
import importlib.util
import json
import re
import shutil
import subprocess

import pytest
import yaml
from typer.testing import CliRunner

from ray_audit.cli import app
from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError
from ray_audit.kubernetes.render import Deployment, kubernetes_name, render
from tests.support.manifests import ROOT, problems

SPOT = {
    "node.kubernetes.io/spot",
    "cloud.google.com/gke-spot",
    "kubernetes.azure.com/scalesetpriority",
}
IMAGE = "ghcr.io/example/ray-audit:0.1.0-ray2.60.0"
CONFIG = AuditConfig.load(ROOT / "k8s/example.yaml")
RAY_VERSION = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)[1]
OPTIONS = {"gpu_image": f"{IMAGE}-cuda", "gpus": 4, "ray_version": RAY_VERSION}


def rendered(**changes):
    return render(CONFIG, Deployment(IMAGE, **OPTIONS | changes))


def documents(texts):
    return [
        one
        for name, text in texts.items()
        if "kustomization" not in name
        for one in yaml.safe_load_all(text)
    ]


def of_kind(kind, **changes):
    return [one for one in documents(rendered(**changes)) if one["kind"] == kind]


def every_job(**changes):
    """The RayJob specifications: at once, nightly, and the one that the CronJob creates."""
    (once,), (nightly,) = of_kind("RayJob", **changes), of_kind("RayCronJob", **changes)
    config_maps = of_kind("ConfigMap", **changes)
    (kept,) = (c["data"]["rayjob.yaml"] for c in config_maps if "rayjob.yaml" in c["data"])
    return [once["spec"], nightly["spec"]["jobTemplate"], yaml.safe_load(kept)["spec"]]


def pod_specs(**changes):
    (cron,) = of_kind("CronJob", **changes)
    pods = [cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]]
    for job in every_job(**changes):
        cluster = job["rayClusterSpec"]
        pods += [job["submitterPodTemplate"]["spec"], cluster["headGroupSpec"]["template"]["spec"]]
        pods += [group["template"]["spec"] for group in cluster["workerGroupSpecs"]]
    return pods


def test_the_committed_manifests_are_the_rendered_ones():
    for name, text in rendered().items():
        assert (ROOT / "k8s" / name).read_text() == text, f"{name}: run make k8s"


@pytest.mark.parametrize("changes", [{}, {"gpus": 0}, {"secret": "s3-keys"}], ids=str)
def test_every_manifest_is_valid(changes):
    made = documents(rendered(**changes))
    assert {one["kind"] for one in made} >= {
        *("ServiceAccount", "Role", "RoleBinding", "ConfigMap", "NetworkPolicy", "CronJob"),
        *("RayJob", "RayCronJob", "PodMonitor", "PrometheusRule"),
    }
    for one in made:
        assert problems(one) == [], (one["kind"], one["metadata"]["name"])
    for job in every_job(**changes):
        assert problems({"apiVersion": "ray.io/v1", "kind": "RayJob", "spec": job}) == []


def test_the_validation_finds_a_misspelt_key_and_a_wrong_type():
    (cron,) = of_kind("RayCronJob")
    misspelt, wrong = copy.deepcopy(cron), copy.deepcopy(cron)
    misspelt["spec"]["timezone"] = "Etc/UTC"
    wrong["spec"]["jobTemplate"]["rayClusterSpec"]["authOptions"]["mode"] = "none"
    assert "timezone" in problems(misspelt)[0]
    assert "authOptions" in problems(wrong)[0]
    (role,) = of_kind("Role")
    assert problems(role | {"rule": []})


def test_one_ray_version_everywhere():
    dockerfile = (ROOT / "k8s/Dockerfile").read_text()
    assert f"ARG RAY_VERSION={RAY_VERSION}" in dockerfile
    assert {job["rayClusterSpec"]["rayVersion"] for job in every_job()} == {RAY_VERSION}
    images = {c["image"] for pod in pod_specs() for c in pod["containers"]}
    assert images == {IMAGE, f"{IMAGE}-cuda"}
    assert all(f"-ray{RAY_VERSION}" in image for image in images)
    committed = "".join(path.read_text() for path in (ROOT / "k8s").rglob("*.yaml"))
    assert set(re.findall(r"-ray(\d+\.\d+\.\d+)", committed)) == {RAY_VERSION}


def test_pods_may_do_little():
    for pod in pod_specs():
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert "/tmp" in mounts
    (role,) = of_kind("Role")
    assert role["rules"] == [
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}
    ]


def test_the_head_does_no_work_and_workers_start_from_none():
    for job in every_job():
        cluster = job["rayClusterSpec"]
        assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        assert cluster["authOptions"] == {"mode": "token"}
        assert cluster["enableInTreeAutoscaling"] is True
        assert {group["minReplicas"] for group in cluster["workerGroupSpecs"]} == {0}
        assert job["activeDeadlineSeconds"] > job["preRunningDeadlineSeconds"] > 0
        assert {"backoffLimit", "ttlSecondsAfterFinished"} <= set(job)


def test_gpu_workers_ask_for_one_gpu_and_tolerate_its_taint():
    for job in every_job():
        _, gpu = job["rayClusterSpec"]["workerGroupSpecs"]
        pod = gpu["template"]["spec"]
        assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
        keys = {one["key"] for one in pod["tolerations"]}
        assert {"nvidia.com/gpu", *SPOT} <= keys
    for job in every_job(gpus=0):
        (only,) = job["rayClusterSpec"]["workerGroupSpecs"]
        assert only["groupName"] == "cpu"
        assert {one["key"] for one in only["template"]["spec"]["tolerations"]} == SPOT
        # The head must not be taken away: the run would start again.
        assert "tolerations" not in job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]


def test_credentials_come_from_a_secret_or_the_account_and_stand_nowhere():
    for job in every_job(secret="s3-keys"):
        for group in job["rayClusterSpec"]["workerGroupSpecs"]:
            (container,) = group["template"]["spec"]["containers"]
            assert container["envFrom"] == [{"secretRef": {"name": "s3-keys"}}]
    assert "AWS_" not in "".join(rendered().values())
    assert not of_kind("Secret", secret="s3-keys")


def test_the_specification_in_the_manifest_is_the_given_one_with_the_size_of_the_cluster():
    (text,) = (c["data"]["audit.yaml"] for c in of_kind("ConfigMap") if "audit.yaml" in c["data"])
    read = AuditConfig.parse(yaml.safe_load(text))
    assert read.engine.cluster_max == {"CPU": 64.0, "GPU": 4.0}
    for job in every_job():
        assert most(job["rayClusterSpec"]["workerGroupSpecs"]) == read.engine.cluster_max
    given = CONFIG.model_dump(exclude={"engine"})
    assert read.model_dump(exclude={"engine"}) == given


def test_both_schedules_are_the_same():
    changes = {"schedule": "30 1 * * 1-5", "time_zone": "Europe/Berlin"}
    (ray_cron,), (cron,) = of_kind("RayCronJob", **changes), of_kind("CronJob", **changes)
    for one in (ray_cron, cron):
        assert (one["spec"]["schedule"], one["spec"]["timeZone"]) == tuple(changes.values())
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    for job in every_job(**changes):
        assert "--time-zone Europe/Berlin" in job["entrypoint"]


def test_what_is_started_is_in_the_package():
    (cron,) = of_kind("CronJob")
    (starter,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert starter["command"][:2] == ["python", "-m"]
    assert importlib.util.find_spec(starter["command"][2]) is not None
    for job in every_job():
        program, command, *options = job["entrypoint"].split()
        assert program == "ray-audit"
        assert CliRunner().invoke(app, [command, *options, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "nightly"},
        {"time_zone": "Mars/Base"},
        {"secret": "a: b"},
        {"namespace": "Not Valid"},
        {"gpu_image": "image\nevil: true"},
    ],
    ids=str,
)
def test_what_cannot_stand_in_a_manifest_is_refused(changes):
    with pytest.raises(SpecificationError):
        rendered(**changes)


@pytest.mark.parametrize("name", ["Phases, nightly", "2026", "ä", "x" * 80])
def test_names_are_accepted_by_kubernetes(name):
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?|audit-.{1,30}", kubernetes_name(name))


FOLDERS = ("base", "once", "nightly", "nightly-cronjob", "monitoring")


@pytest.mark.parametrize("folder", [*FOLDERS, "overlays/cpu-small", "overlays/gpu"])
def test_kustomize_builds_valid_manifests(folder):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / folder)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for one in yaml.safe_load_all(text):
        assert problems(one) == [], (one["kind"], one["metadata"]["name"])


def most(workers):
    """What the worker groups can be at most, as `engine.cluster_max` says it."""
    found = {"CPU": 0.0, "GPU": 0.0}
    for group in workers:
        (container,) = group["template"]["spec"]["containers"]
        requests = container["resources"]["requests"]
        found["CPU"] += group["maxReplicas"] * float(requests["cpu"])
        found["GPU"] += group["maxReplicas"] * float(requests.get("nvidia.com/gpu", 0))
    return {name: number for name, number in found.items() if number}


@pytest.mark.parametrize(
    ("overlay", "expected"),
    [("cpu-small", [("cpu", 2)]), ("gpu", [("cpu", 4), ("gpu", 4)])],
)
def test_the_overlays_plan_for_the_workers_that_they_can_have(overlay, expected):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    command = ["kubectl", "kustomize", str(ROOT / "k8s/overlays" / overlay)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    made = list(yaml.safe_load_all(text))
    (cron,) = (one for one in made if one["kind"] == "RayCronJob")
    workers = cron["spec"]["jobTemplate"]["rayClusterSpec"]["workerGroupSpecs"]
    assert [(group["groupName"], group["maxReplicas"]) for group in workers] == expected
    (spec,) = (one["data"]["audit.yaml"] for one in made if "audit.yaml" in one.get("data", {}))
    assert most(workers) == AuditConfig.parse(yaml.safe_load(spec)).engine.cluster_max


def test_the_command_writes_the_files_and_lists_them(tmp_path):
    command = ["render", "k8s", str(ROOT / "k8s/example.yaml"), "--to", str(tmp_path)]
    result = CliRunner().invoke(app, [*command, "--image", IMAGE, "--json"])
    assert result.exit_code == 0
    files = json.loads(result.stdout)["files"]
    assert set(files) == {str(path) for path in tmp_path.rglob("*.yaml")}
    bad = CliRunner().invoke(app, [*command, "--image", IMAGE, "--schedule", "soon"])
    assert bad.exit_code == 2
