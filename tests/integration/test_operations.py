"""Jobs on a real cluster with a token, watched by a real Prometheus: `make ops-test`.

The tests go from the cluster to the second night and tell what they see; most of them need the two
nights that the fixture `nights` submits. Two run with every `make test`: cluster, job, two nights.
"""

import json
import os
import re
import shutil
import time

import pytest
from PIL import Image

from ray_audit.kubernetes import stop_driver
from ray_audit.metrics import METRICS
from ray_audit.tables.manifest import Manifest
from tests.faults.audits import assert_survived, slow_videos, undisturbed
from tests.faults.drivers import DATE, committed
from tests.faults.processes import below
from tests.support.ops_cluster import (
    ROOT,
    Monitoring,
    OpsCluster,
    Processes,
    tell,
    wait_for,
)
from tests.support.small_sets import class_folders

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
NIGHTS = ("2026-01-01", "2026-01-02")
NAME = "ops"
PROGRAMS = ("prometheus", "prometheus-pushgateway")


@pytest.fixture(scope="module")
def processes():
    with Processes() as started:
        yield started


@pytest.fixture(scope="module")
def operated(processes, tmp_path_factory):
    return OpsCluster(processes, tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def monitoring(processes, operated, tmp_path_factory):
    """None where Prometheus is not installed."""
    if any(shutil.which(program) is None for program in PROGRAMS):
        return None
    folder = tmp_path_factory.mktemp("monitoring")
    return Monitoring(processes, folder, operated.metrics_ports, NAME)


@pytest.fixture
def prometheus(monitoring):
    if monitoring is None:
        pytest.skip(f"{' or '.join(PROGRAMS)} is not installed: make prometheus")
    return monitoring


@pytest.fixture(scope="module")
def nights(operated, monitoring, tmp_path_factory):
    """Two nights by `ray job submit`, with changed data between them."""
    small = class_folders(tmp_path_factory.mktemp("nights"), num_each=4)
    section = {"pushgateway": monitoring.gateway} if monitoring else {}
    spec = small.spec_file(name=NAME, metrics=section, engine={"actors_per_pool": 1})
    results = []
    for date in NIGHTS:
        code, log = operated.submit("night", spec, "--date", date)
        assert code == 0, log
        results.append(json.loads((small.out / f"nights/{date}/night.json").read_text()))
        tell_night(small, results[-1])
        # The next night sees one picture less of one class, and one more of another.
        (small.folder / "data/a/0.png").unlink(missing_ok=True)
        Image.new("RGB", (16, 16), (200, 10, 10)).save(small.folder / "data/b/new.png")
    return small, spec, results


def tell_night(small, night):
    made = manifest(small, night)
    changes = ", ".join(f"{number} {change}" for change, number in night["changes"].items())
    tell(
        f"night {night['date']}: run {night['run_id']}, {made.counts['scored']} samples scored, "
        f"{made.findings['total']} findings; {changes or 'no night before'}"
    )


def manifest(small, night):
    return Manifest.read(str(small.out / "runs" / night["run_id"]))


def test_the_second_night_is_compared_with_the_first(nights):
    small, _, (first, second) = nights
    assert first["compared_with"] is None
    assert second["compared_with"] == NIGHTS[0]
    found = manifest(small, second).findings["total"]
    assert second["changes"]["new"] + second["changes"]["recurring"] == found
    assert (small.out / f"nights/{NIGHTS[1]}/diff.parquet").exists()


def test_prometheus_has_the_numbers_of_the_manifests(nights, prometheus):
    small, _, results = nights
    first, second = (manifest(small, night) for night in results)
    scored = (NAME, "scored")
    wait_for(
        "the outcome of the second night",
        lambda: prometheus.query("ray_audit_run_samples").get(scored) == second.counts["scored"],
        limit_s=30,
    )
    samples = prometheus.query("ray_audit_run_samples")
    for outcome in ("scored", "filtered", "failed"):
        assert samples[NAME, outcome] == second.counts[outcome]
    tell(f"Prometheus: ray_audit_run_samples = {samples}")
    by_change = prometheus.query("sum by (change) (ray_audit_findings)")
    tell(f"Prometheus: ray_audit_findings by change = {by_change}")
    assert {change: by_change[change,] for change in ("new", "fixed", "recurring")} == results[1][
        "changes"
    ]
    committed = first.plan["num_new"] and first.counts["entered"]
    assert committed in prometheus.seen("sum(ray_audit_samples_total)")
    assert 1.0 in prometheus.seen("max(ray_audit_progress_ratio)")


# What Ray, Prometheus and the Pushgateway put beside the labels of a metric.
THEIR_LABELS = {
    *("__name__", "instance", "job", "audit", "le"),
    *("Component", "NodeAddress", "SessionName", "Version", "WorkerId", "otel_scope_name"),
}


@pytest.mark.slow
def test_prometheus_has_every_metric_with_labels_from_the_closed_lists(nights, prometheus):
    seen = set()
    for metric in METRICS:
        for labels in prometheus.series(f'{{__name__=~"{metric.name}(_bucket|_sum|_count)?"}}'):
            seen.add(metric.name)
            ours = {key: value for key, value in labels.items() if key not in THEIR_LABELS}
            metric.check(ours)
            assert labels["audit"] == NAME
    assert seen == {metric.name for metric in METRICS}


@pytest.mark.slow
def test_every_query_of_the_dashboard_returns_data(nights, prometheus):
    text = (ROOT / "ray_audit/kubernetes/manifests/monitoring/dashboard.json").read_text()
    for panel in json.loads(text)["panels"]:
        for target in panel["targets"]:
            values = prometheus.seen(target["expr"])
            assert values, (panel["title"], target["expr"])
            tell(f"dashboard: {panel['title']}: {len(values)} values")


@pytest.mark.slow
def test_a_night_submitted_again_is_found(nights, operated):
    _, spec, _ = nights
    code, log = operated.submit("night", spec, "--date", NIGHTS[1])
    assert (code, "SUCCEEDED" in log) == (0, True)


@pytest.mark.slow
def test_without_the_token_the_error_says_so(nights, operated):
    _, spec, _ = nights
    env = {k: v for k, v in operated.env.items() if k != "RAY_AUTH_TOKEN"} | {
        "RAY_AUTH_MODE": "disabled"
    }
    code, log = operated.submit("night", spec, env=env)
    assert code == 1
    assert "RAY_AUTH_TOKEN" in log


@pytest.mark.slow
def test_a_failing_audit_ends_failed_with_its_reason(operated, monitoring, tmp_path):
    small = class_folders(tmp_path, num_each=1)
    for path in tmp_path.glob("data/*/0.png"):
        path.write_bytes(b"no image")
    section = {"pushgateway": monitoring.gateway} if monitoring else {}
    spec = small.spec_file(name="failing", metrics=section)
    code, log = operated.submit("run", spec, "--date", "2026-01-01")
    assert code == 1
    assert "FAILED" in log
    assert "3 of 3 samples failed" in log
    assert not list(small.out.glob("runs/*/manifest.json"))
    if monitoring:  # what the alert RayAuditFailures asks for
        share = """sum by (audit) (ray_audit_run_samples{audit="failing",outcome="failed"})
            / sum by (audit) (ray_audit_run_samples{audit="failing"})"""
        wait_for("its failures", lambda: monitoring.query(share) == {("failing",): 1.0}, 30)


def begun(operated, videos, spec):
    """Submit an audit and wait for its first record: the client, and the job's name."""
    from ray.job_submission import JobSubmissionClient

    code, log = operated.submit("run", spec, "--date", DATE, wait=False)
    assert code == 0, log
    (job_id,) = re.findall(r"^(\S+): submitted$", log, re.M)
    headers = {"Authorization": f"Bearer {operated.token}"}
    client = JobSubmissionClient(operated.api, headers=headers)

    def has_begun():
        # A job that ended instead has a reason, which is in its logs.
        assert not client.get_job_status(job_id).is_terminal(), client.get_job_logs(job_id)
        return committed(videos.out)

    try:
        wait_for("the first record", has_begun, limit_s=900)
    except TimeoutError as error:
        raise AssertionError(client.get_job_logs(job_id)) from error
    return client, job_id


@pytest.mark.slow
def test_a_stopped_job_leaves_nothing_half_and_the_next_completes_it(operated, tmp_path):
    videos = slow_videos(tmp_path)
    spec = videos.spec_file()
    client, job_id = begun(operated, videos, spec)
    client.stop_job(job_id)
    wait_for("its end", lambda: client.get_job_status(job_id).is_terminal())
    assert client.get_job_status(job_id).value == "STOPPED"
    assert "Plan of" in client.get_job_logs(job_id)
    assert not list(videos.out.glob("runs/*/manifest.json"))
    num_left = committed(videos.out)
    code, log = operated.submit("run", spec, "--date", DATE)
    assert code == 0, log
    assert f"{job_id[:-1]}2" in log
    assert_survived(str(videos.out), undisturbed(videos))
    tell(f"{job_id} was stopped after {num_left} records; the next try did the rest")


@pytest.mark.slow
def test_a_driver_whose_pod_will_be_stopped_ends_cleanly_before_it(operated, tmp_path, monkeypatch):
    videos = slow_videos(tmp_path)
    client, job_id = begun(operated, videos, videos.spec_file())
    # A pod sees its own processes; here others' audits run on the machine.
    monkeypatch.setattr(stop_driver, "_pids", lambda: list(below(os.getpid())))
    began_s = time.monotonic()
    assert stop_driver.stop()
    tell(f"the driver ended {time.monotonic() - began_s:.1f} s after it was told")
    wait_for("its end", lambda: client.get_job_status(job_id).is_terminal())
    assert client.get_job_status(job_id).value == "FAILED"
    assert "exit code 143" in client.get_job_info(job_id).message
    (failure,) = videos.out.glob("runs/*/failure.json")
    assert json.loads(failure.read_text())["state"] == "interrupted"
    assert not list(videos.out.glob("attempts/*"))
