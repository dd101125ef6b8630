import copy
import importlib.util
import json
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from typer.testing import CliRunner

from ray_audit.cli import app
from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError
from ray_audit.kubernetes.deployment import AddressBlock, Deployment
from ray_audit.kubernetes.render import promql_string, render
from tests.support.manifests import KUBERAY_1_6, ROOT, parsed, problems
from tests.support.rendered import (
    CONFIG,
    IMAGE,
    RAY_VERSION,
    documents,
    max_workers,
    of_kind,
    rendered,
)

SPOT = {
    "node.kubernetes.io/spot",
    "cloud.google.com/gke-spot",
    "kubernetes.azure.com/scalesetpriority",
}


def every_job(**changes):
    """The RayJob specifications: at once, nightly, and the one that the CronJob creates."""
    (once,), (nightly,) = of_kind("RayJob", **changes), of_kind("RayCronJob", **changes)
    config_maps = of_kind("ConfigMap", **changes)
    (kept,) = (c["data"]["rayjob.yaml"] for c in config_maps if "rayjob.yaml" in c["data"])
    return [once["spec"], nightly["spec"]["jobTemplate"], parsed(kept)[0]["spec"]]


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
    assert {part["kind"] for part in made} >= {
        *("ServiceAccount", "Role", "RoleBinding", "ConfigMap", "NetworkPolicy", "CronJob"),
        *("RayJob", "RayCronJob", "PodMonitor", "PrometheusRule"),
    }
    for part in made:
        assert problems(part) == [], (part["kind"], part["metadata"]["name"])
    for job in every_job(**changes):
        assert problems({"apiVersion": "ray.io/v1", "kind": "RayJob", "spec": job}) == []


def test_kuberay_1_6_takes_all_but_the_time_zone_of_its_schedule():
    for document in documents(rendered()):
        found = problems(document, KUBERAY_1_6)
        if document["kind"] == "RayCronJob":
            (found,) = found
            assert "timeZone" in found
        else:
            assert found == [], document["kind"]
    for job in every_job():
        document = {"apiVersion": "ray.io/v1", "kind": "RayJob", "spec": job}
        assert problems(document, KUBERAY_1_6) == []


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


def test_the_image_is_made_of_the_wheel_and_names_no_index():
    lines = (ROOT / "k8s/Dockerfile").read_text()
    assert "dist/*.whl" in lines
    assert "://" not in lines
    assert "extra-index" not in lines


def test_what_the_image_is_made_of_is_not_kept_from_its_build():
    (copied,) = re.findall(r"^COPY (.*) \./$", (ROOT / "k8s/Dockerfile").read_text(), re.M)
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"]
    assert sorted(copied.split()) == sorted(let_in)


def test_the_image_s_packages_are_those_of_the_tests_and_have_hashes():
    locked = (ROOT / "k8s/requirements.txt").read_text()
    packages = re.split(r"\n(?=\w)", locked)
    pins = dict(re.match(r"(\S+)==(\S+)", package).groups() for package in packages)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", package) for package in packages)
    tested = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    tested = {name.lower().replace("_", "-"): version for name, version in tested.items()}
    assert {name: tested.get(name, version) for name, version in pins.items()} == pins
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requested = project["dependencies"] + project["optional-dependencies"]["medical"]
    names = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in requested}
    assert names - pins.keys() == {"torch"}
    assert "://" not in locked


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


def test_no_token_is_within_reach_of_the_models_code():
    for pod in pod_specs():
        is_starter = pod["containers"][0]["name"] == "starter"
        assert pod["automountServiceAccountToken"] is is_starter
        tokens = {v["name"] for v in pod["volumes"] if "serviceAccountToken" in json.dumps(v)}
        mounted = {m["name"] for c in pod["containers"] for m in c["volumeMounts"]}
        assert not tokens & mounted
    for job in every_job():
        cluster = job["rayClusterSpec"]
        volumes = cluster["headGroupSpec"]["template"]["spec"]["volumes"]
        (access,) = (v for v in volumes if "projected" in v)
        paths = json.dumps(access)
        assert all(f'"path": "{file}"' in paths for file in ("token", "ca.crt", "namespace"))
        mounts = {m["name"]: m["mountPath"] for m in cluster["autoscalerOptions"]["volumeMounts"]}
        assert mounts[access["name"]] == "/var/run/secrets/kubernetes.io/serviceaccount"


def test_one_layer_tries_a_night_again():
    (cron,) = of_kind("CronJob")
    at_once, nightly, started = every_job()
    assert (at_once["backoffLimit"], nightly["backoffLimit"], started["backoffLimit"]) == (1, 1, 0)
    spec = cron["spec"]["jobTemplate"]["spec"]
    fail, ignore = spec["podFailurePolicy"]["rules"]
    assert fail["action"] == "FailJob"
    assert fail["onExitCodes"]["values"] == [1, 2, 3]
    assert ignore == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }


def test_the_cron_job_takes_no_name_that_a_ray_job_needs():
    (cron,), (ray_cron,) = of_kind("CronJob"), of_kind("RayCronJob")
    assert cron["metadata"]["name"] == f"{ray_cron['metadata']['name']}-start"
    (starter,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (job_name,) = (env for env in starter["env"] if env["name"] == "JOB_NAME")
    assert "batch.kubernetes.io/job-name" in job_name["valueFrom"]["fieldRef"]["fieldPath"]


def test_kuberays_own_label_is_left_to_it():
    for job in every_job():
        cluster = job["rayClusterSpec"]
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        for group in groups:
            labels = group["template"]["metadata"]["labels"]
            assert "app.kubernetes.io/name" not in labels
            assert labels["app.kubernetes.io/instance"] == "phases-nightly"


def test_no_node_is_drained_under_a_head():
    (budget,) = of_kind("PodDisruptionBudget")
    assert budget["spec"]["minAvailable"] > 1
    assert budget["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/instance": "phases-nightly",
        "ray.io/node-type": "head",
    }
    for job in every_job():
        head = job["rayClusterSpec"]["headGroupSpec"]["template"]
        said = head["metadata"]["annotations"]
        assert said["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
        assert head["spec"]["terminationGracePeriodSeconds"] >= 60


def egress_of(**changes):
    policies = {
        document["metadata"]["name"]: document for document in of_kind("NetworkPolicy", **changes)
    }
    return (
        policies["phases-nightly"]["spec"]["egress"],
        policies["phases-nightly-api"]["spec"]["egress"],
    )


def test_egress_is_named_for_each_store_and_metadata_services_are_an_option():
    stores, api = egress_of()
    assert {"ports": [{"port": 443, "protocol": "TCP"}]} in stores
    assert [port["port"] for port in api[0]["ports"]] == [443, 6443]
    assert "169.254" not in json.dumps(stores)
    given = {"egress": (AddressBlock.parse("10.1.0.0/16:9000"), AddressBlock.parse("fd00::/8"))}
    given |= {"api_server": (AddressBlock.parse("10.0.0.1/32:6443"),), "metadata_service": True}
    stores, api = egress_of(**given)
    assert {"ports": [{"port": 443, "protocol": "TCP"}]} not in stores
    blocks = [(r["to"][0]["ipBlock"]["cidr"], r["ports"][0]["port"]) for r in stores[3:5]]
    assert blocks == [("10.1.0.0/16", 9000), ("fd00::/8", 443)]
    assert {block["ipBlock"]["cidr"] for block in stores[5]["to"]} == {
        *("169.254.169.254/32", "169.254.170.23/32")
    }
    assert api == [
        {
            "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
            "ports": [{"port": 6443, "protocol": "TCP"}],
        }
    ]
    for document in of_kind("NetworkPolicy", **given):
        assert problems(document) == []


def test_an_image_may_be_named_by_its_digest():
    digest = f"ghcr.io/example/ray-audit@sha256:{'0f' * 32}"
    images = {c["image"] for pod in pod_specs(gpu_image=digest) for c in pod["containers"]}
    assert digest in images


def test_audits_that_have_no_name_are_told_apart_by_their_output():
    labels = set()
    for output in ("s3://b/one", "s3://b/two"):
        config = CONFIG.model_copy(update={"name": "audit", "output": output})
        same = config.model_copy(update={"output": f"{output}/"})
        assert config.audit_label == same.audit_label
        labels |= {config.audit_label}
        texts = render(config, Deployment(IMAGE))
        assert promql_string(config.audit_label) in texts["monitoring/rules.yaml"]
    assert len(labels) == 2


def test_a_specification_that_is_too_long_for_a_config_map_is_refused():
    paths = [f"s3://bucket/training/epoch_{n:06}.safetensors" for n in range(30_000)]
    with pytest.raises(SpecificationError, match="MiB, and a ConfigMap takes 1"):
        render(CONFIG.model_copy(update={"checkpoints": paths}), Deployment(IMAGE))


def test_an_overlay_moves_the_role_into_another_namespace(tmp_path):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    shutil.copytree(ROOT / "k8s/base", tmp_path / "base")
    root = {"kind": "Kustomization", "namespace": "team-c", "resources": ["base"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(root))
    command = ["kubectl", "kustomize", str(tmp_path)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (binding,) = (item for item in parsed(text) if item["kind"] == "RoleBinding")
    assert [item["namespace"] for item in binding["subjects"]] == ["team-c"]


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
        keys = {toleration["key"] for toleration in pod["tolerations"]}
        assert {"nvidia.com/gpu", *SPOT} <= keys
    for job in every_job(gpus=0):
        (only,) = job["rayClusterSpec"]["workerGroupSpecs"]
        assert only["groupName"] == "cpu"
        assert {toleration["key"] for toleration in only["template"]["spec"]["tolerations"]} == SPOT
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
        assert max_workers(job["rayClusterSpec"]["workerGroupSpecs"]) == read.engine.cluster_max
    given = CONFIG.model_dump(exclude={"engine"})
    assert read.model_dump(exclude={"engine"}) == given


def test_both_schedules_are_the_same():
    changes = {"schedule": "30 1 * * 1-5", "time_zone": "Europe/Berlin"}
    (ray_cron,), (cron,) = of_kind("RayCronJob", **changes), of_kind("CronJob", **changes)
    for item in (ray_cron, cron):
        assert (item["spec"]["schedule"], item["spec"]["timeZone"]) == tuple(changes.values())
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
