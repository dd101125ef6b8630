"""Holds a real API server to the manifests: `make cluster-test`, with `KUBECONFIG` set.

Needs `kubectl`, a server (kind, k3s, envtest) with KubeRay's and the Prometheus Operator's custom
resources, and the right to make a namespace, which is removed in the end. No operator is needed:
what it would write into `status` is written here.
"""

import base64
import json
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ray_audit.config import AuditConfig
from ray_audit.kubernetes.api_server import ApiServer
from ray_audit.kubernetes.deployment import Deployment
from ray_audit.kubernetes.object_names import kubernetes_name
from ray_audit.kubernetes.render import render, write
from ray_audit.kubernetes.start_rayjob import Starter

ROOT = Path(__file__).parents[2]
IMAGE = "ghcr.io/example/ray-audit:0.2.0-ray2.60.0"
CRDS = ("rayjobs.ray.io", "raycronjobs.ray.io", "podmonitors.monitoring.coreos.com")
NAMES = ("phases-nightly", "Phases: nightly #2", "手術", "true", "x starter")
FOLDERS = ("base", "once", "nightly", "nightly-cronjob", "monitoring")
DATE = "2026-01-01"
# What the pods' accounts may do: (account's suffix, verb, resource, allowed).
RIGHTS = [
    ("-starter", "create", "rayjobs.ray.io", True),
    ("-starter", "get", "rayjobs.ray.io", True),
    *(("-starter", verb, "rayjobs.ray.io", False) for verb in ("list", "delete", "patch", "watch")),
    *(("-starter", "get", kind, False) for kind in ("secrets", "pods", "configmaps")),
    *(("", verb, "rayjobs.ray.io", False) for verb in ("create", "get")),
    *(("", "get", kind, False) for kind in ("secrets", "pods", "configmaps")),
]
SUCCEEDED = ("Complete", "SUCCEEDED")
# What the operator writes of each attempt of a night, and the starter's exit code.
NIGHTS = [
    ([[("Initializing", ""), ("Running", "RUNNING"), SUCCEEDED]], 0),
    ([[("Suspended", ""), ("Complete", "STOPPED")]], 1),
    ([[("ValidationFailed", "")]], 2),
    ([[("Failed", "FAILED")], [("Retrying", ""), SUCCEEDED]], 0),
]
PAUSE_S, NIGHT_LIMIT_S = 0.5, 120.0


class ClusterError(Exception):
    """The server is not there, or does not what it should; the message says what."""


def called(arguments: Sequence[str], given: str | None) -> "subprocess.CompletedProcess[str]":
    """A call of kubectl that has ended."""
    return subprocess.run(
        ["kubectl", "--request-timeout=30s", *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
    )


def kubectl(*arguments: str, given: str | None = None) -> str:
    """What kubectl answers.

    Raises:
        ClusterError: with its own message.
    """
    try:
        done = called(arguments, given)
    except FileNotFoundError as error:
        raise ClusterError("kubectl is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"kubectl {arguments[0]}: no answer within 120 s") from error
    if done.returncode:
        raise ClusterError(f"kubectl {' '.join(arguments[:4])}: {done.stderr.strip()[:500]}")
    return done.stdout


def check_server() -> None:
    """Make sure that there is a server with the custom resources."""
    try:
        kubectl("get", "--raw", "/readyz")
    except ClusterError as error:
        raise ClusterError(
            f"no Kubernetes API server answers: set KUBECONFIG to one (kind, k3s, envtest). {error}"
        ) from error
    for name in CRDS:
        try:
            kubectl("get", "crd", name)
        except ClusterError as error:
            raise ClusterError(f"the server does not know {name}: install its CRDs") from error


def check_folder(folder: Path, namespace: str) -> None:
    """Apply a folder strictly, and compare what is stored with what was sent."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        root = {"kind": "Kustomization", "namespace": namespace, "resources": [f"../{folder.name}"]}
        (Path(made) / "kustomization.yaml").write_text(yaml.safe_dump(root))
        sent = kubectl("kustomize", made)
    apply = ("apply", "--server-side", "--validate=strict", "--force-conflicts", "-o", "json")
    kubectl(*apply, "-f", "-", given=sent)
    for document in yaml.safe_load_all(sent):
        kind, name = document["kind"], document["metadata"]["name"]
        group = document["apiVersion"].rpartition("/")[0]
        resource = f"{kind}.{document['apiVersion'].rpartition('/')[2]}.{group}" if group else kind
        stored = json.loads(kubectl("-n", namespace, "get", resource, name, "-o", "json"))
        for path in differences(document, stored):
            raise ClusterError(f"{folder.name}: {kind} {name} was stored otherwise at {path}")


def differences(sent: Any, stored: Any, path: str = "") -> list[str]:
    """Where what was sent is not there as it was; the server may add, and never take away."""
    if isinstance(sent, dict):
        if not isinstance(stored, dict):
            return [path]
        found = (
            differences(first, stored.get(key), f"{path}.{key}") for key, first in sent.items()
        )
        return [first for part in found for first in part]
    if isinstance(sent, list):
        if not isinstance(stored, list) or len(sent) != len(stored):
            return [path]
        found = (
            differences(first, other, f"{path}[{index}]")
            for index, (first, other) in enumerate(zip(sent, stored, strict=True))
        )
        return [first for part in found for first in part]
    return [] if sent == stored or str(sent) == str(stored) else [path]


def check_rights(name: str, namespace: str) -> None:
    """Hold each account to what its job does, and to no more."""
    for suffix, verb, resource, is_allowed in RIGHTS:
        account = f"system:serviceaccount:{namespace}:{name}{suffix}"
        question = ("-n", namespace, "auth", "can-i", verb, resource, f"--as={account}")
        said = called(question, None).stdout.strip()  # "no" is an exit code of 1
        if said != ("yes" if is_allowed else "no"):
            raise ClusterError(f"{account} may {verb} {resource}: {said!r}")


def check_nights(rendered: dict[str, str], name: str, namespace: str) -> None:
    """Start nights through the starter, as its account, and write what an operator would."""
    documents = yaml.safe_load_all(rendered["nightly-cronjob/cronjob.yaml"])
    (kept,) = (
        document["data"]["rayjob.yaml"] for document in documents if document["kind"] == "ConfigMap"
    )
    for day, (attempts, code) in enumerate(NIGHTS, start=1):
        date = f"{DATE[:-1]}{day}"
        with tempfile.TemporaryDirectory() as folder:
            server = account_of(Path(folder), f"{name}-starter", namespace)
            jobs = f"/apis/ray.io/v1/namespaces/{namespace}/rayjobs"
            job = yaml.safe_load(kept)
            starter = Starter(server, jobs, job, date, wait_s=NIGHT_LIMIT_S, sleep=pause)
            names = [starter.name_of(number) for number in range(1, len(attempts) + 1)]
            operator = threading.Thread(
                target=operate, args=(namespace, names, attempts), daemon=True
            )
            operator.start()
            result = starter.run()
            operator.join()
        if result != code:
            raise ClusterError(f"the starter ended with {result} after {attempts}, not with {code}")


def account_of(folder: Path, account: str, namespace: str) -> ApiServer:
    """The server as a service account sees it: its token and the server's certificate."""
    view = ("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
    cluster = json.loads(kubectl(*view))["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster.get("certificate-authority-data", ""))
    (folder / "ca.crt").write_bytes(authority)
    (folder / "token").write_text(kubectl("-n", namespace, "create", "token", account))
    return ApiServer(cluster["server"], folder)


def pause(_: float) -> None:
    """In the place of the starter's own pauses."""
    time.sleep(PAUSE_S)


def operate(namespace: str, names: list[str], attempts: list[list[tuple[str, str]]]) -> None:
    """Write what an operator would: the states of each attempt, as soon as its RayJob is there."""
    for name, states in zip(names, attempts, strict=True):
        for deployment, job in states:
            write_status(name, namespace, {"jobDeploymentStatus": deployment, "jobStatus": job})
            time.sleep(2 * PAUSE_S)


def write_status(name: str, namespace: str, status: dict[str, str]) -> None:
    """Write the status of a RayJob, once it is there."""
    patch = json.dumps({"status": status})
    command = ("-n", namespace, "patch", "rayjob", name, "--subresource=status", "--type=merge")
    deadline_s = time.monotonic() + NIGHT_LIMIT_S
    while time.monotonic() < deadline_s:
        try:
            kubectl(*command, "-p", patch)
            return
        except ClusterError:
            time.sleep(PAUSE_S)


def check_audit(name: str, namespace: str) -> None:
    """Render an audit, apply all of it, and start its nights."""
    config = AuditConfig.load(ROOT / "k8s/example.yaml").model_copy(update={"name": name})
    rendered = render(config, Deployment(IMAGE, namespace=namespace))
    with tempfile.TemporaryDirectory() as folder:
        list(write(rendered, Path(folder)))
        for part in FOLDERS:
            check_folder(Path(folder) / part, namespace)
    check_rights(kubernetes_name(name), namespace)
    check_nights(rendered, kubernetes_name(name), namespace)


def main() -> int:
    """Exit code 0 where everything held."""
    namespace = f"ray-audit-test-{uuid.uuid4().hex[:8]}"
    try:
        check_server()
        kubectl("create", "namespace", namespace)
        try:
            for overlay in ("cpu-small", "gpu"):
                check_folder(ROOT / "k8s/overlays" / overlay, namespace)
                print(f"overlay {overlay}: stored as it was sent", flush=True)
            for name in NAMES:
                check_audit(name, namespace)
                print(
                    f"{name!r}: stored as it was sent, rights and nights as they should", flush=True
                )
        finally:
            kubectl("delete", "namespace", namespace, "--wait=false")
    except ClusterError as error:
        print(f"error {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
