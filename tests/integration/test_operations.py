"""Jobs on a real cluster with a token, watched by a real Prometheus: `make ops-test`."""

import json
import re
import shutil

import pytest
from PIL import Image

from ray_audit.tables.manifest import Manifest
from tests.integration.ops_cluster import ROOT, Monitoring, OpsCluster, Processes, wait_for
from tests.integration.small_sets import class_folders

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
NIGHTS = ("2026-01-01", "2026-01-02")


@pytest.fixture(scope="module")
def processes():
    with Processes() as started:
        yield started


@pytest.fixture(scope="module")
def operated(processes, tmp_path_factory):
    return OpsCluster(processes, tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def monitoring(processes, operated, tmp_path_factory):
    for program in ("prometheus", "prometheus-pushgateway"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian package {program})")
    ports = (operated.ports["head"], operated.ports["worker"])
    return Monitoring(processes, tmp_path_factory.mktemp("monitoring"), ports)


@pytest.fixture(scope="module")
def nights(operated, monitoring, tmp_path_factory):
    """Two nights by `ray job submit`, with changed data between them."""
    small = class_folders(tmp_path_factory.mktemp("nights"), num_each=4)
    spec = small.spec_file(name="ops", metrics={"pushgateway": monitoring.gateway})
    results = []
    for date in NIGHTS:
        code, log = operated.submit("nightly", spec, "--date", date)
        assert code == 0, log
        results.append(json.loads((small.out / f"nights/{date}/night.json").read_text()))
        # The next night sees one picture less of one class, and one more of another.
        (small.folder / "data/a/0.png").unlink(missing_ok=True)
        Image.new("RGB", (16, 16), (200, 10, 10)).save(small.folder / "data/b/new.png")
    return small, spec, results


def manifest(small, night):
    return Manifest.read(str(small.out / "runs" / night["run_id"]))


def test_the_second_night_is_compared_with_the_first(nights):
    small, _, (first, second) = nights
    assert first["compared_with"] is None
    assert second["compared_with"] == NIGHTS[0]
    found = manifest(small, second).findings["total"]
    assert second["changes"]["new"] + second["changes"]["recurring"] == found
    assert (small.out / f"nights/{NIGHTS[1]}/diff.parquet").exists()


def test_prometheus_has_the_numbers_of_the_manifests(nights, monitoring):
    small, _, results = nights
    first, second = (manifest(small, night) for night in results)
    scored = ("ops", "scored")
    wait_for(
        "the outcome of the second night",
        lambda: monitoring.query("ray_audit_run_samples").get(scored) == second.counts["scored"],
        limit_s=30,
    )
    samples = monitoring.query("ray_audit_run_samples")
    for outcome in ("scored", "filtered", "failed"):
        assert samples["ops", outcome] == second.counts[outcome]
    by_change = monitoring.query("sum by (change) (ray_audit_findings)")
    assert {change: by_change[change,] for change in ("new", "fixed", "recurring")} == results[1][
        "changes"
    ]
    committed = first.plan["num_new"] and first.counts["entered"]
    assert committed in monitoring.seen("sum(ray_audit_samples_total)")
    assert 1.0 in monitoring.seen("max(ray_audit_progress_ratio)")


def test_every_query_of_the_dashboard_returns_data(nights, monitoring):
    text = (ROOT / "ray_audit/kubernetes/manifests/monitoring/dashboard.json").read_text()
    for panel in json.loads(text)["panels"]:
        for target in panel["targets"]:
            assert monitoring.seen(target["expr"]), (panel["title"], target["expr"])


def test_a_night_submitted_again_is_found(nights, operated):
    _, spec, _ = nights
    code, log = operated.submit("nightly", spec, "--date", NIGHTS[1])
    assert (code, "SUCCEEDED" in log) == (0, True)


def test_without_the_token_the_error_says_so(nights, operated):
    _, spec, _ = nights
    env = {k: v for k, v in operated.env.items() if k != "RAY_AUTH_TOKEN"} | {
        "RAY_AUTH_MODE": "disabled"
    }
    code, log = operated.submit("nightly", spec, env=env)
    assert code == 1
    assert "RAY_AUTH_TOKEN" in log


def test_a_failing_audit_ends_failed_with_its_reason(operated, tmp_path):
    small = class_folders(tmp_path, num_each=1)
    for path in tmp_path.glob("data/*/0.png"):
        path.write_bytes(b"no image")
    code, log = operated.submit("audit", small.spec_file(), "--date", "2026-01-01")
    assert code == 1
    assert "FAILED" in log
    assert "3 of 3 samples failed" in log
    assert not list(small.out.glob("runs/*/manifest.json"))


def test_a_stopped_job_leaves_nothing_half_and_the_next_completes_it(operated, tmp_path):
    from ray.job_submission import JobSubmissionClient

    small = class_folders(tmp_path, num_each=4)
    spec = small.spec_file(engine={"batch_size": 1})
    code, log = operated.submit("audit", spec, "--date", "2026-01-01", wait=False)
    assert code == 0, log
    (job_id,) = re.findall(r"^(\S+): submitted$", log, re.M)
    headers = {"Authorization": f"Bearer {operated.token}"}
    client = JobSubmissionClient(operated.api, headers=headers)
    wait_for("the plan", lambda: "Plan of" in client.get_job_logs(job_id))
    client.stop_job(job_id)
    wait_for("its end", lambda: client.get_job_status(job_id).is_terminal())
    assert client.get_job_status(job_id).value == "STOPPED"
    assert not list(small.out.glob("runs/*/manifest.json"))
    code, log = operated.submit("audit", spec, "--date", "2026-01-01")
    assert code == 0, log
    (path,) = small.out.glob("runs/*/manifest.json")
    assert Manifest.read(str(path.parent)).counts["scored"] == 12
    assert f"{job_id[:-1]}2" in log
