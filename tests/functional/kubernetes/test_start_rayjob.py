import json
import subprocess
import sys
from datetime import UTC, datetime
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
import yaml

from ray_audit.kubernetes import start_rayjob
from ray_audit.kubernetes.api_server import ApiServer
from ray_audit.kubernetes.start_rayjob import (
    MAX_ATTEMPTS,
    START_S,
    Starter,
    date_of,
    main,
    tick_of,
)
from tests.functional.kubernetes.api_double import (
    JOBS,
    NAMESPACE,
    PASSING,
    closes,
    hangs,
    loses_the_answer,
    says,
    served,
    status_of,
)

DATE = "2026-01-01"
FIRST, SECOND, THIRD = (f"phases-{DATE}{end}" for end in ("", "-2", "-3"))
MANIFEST = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {"name": "phases", "labels": {"app.kubernetes.io/instance": "phases"}},
    "spec": {"entrypoint": "ray-audit night s.yaml"},
}
WRONG_SPECIFICATION = "Job entrypoint command failed with exit code 2, last available logs"


@pytest.fixture(scope="module")
def server():
    with served() as (double, url):
        yield double, url


@pytest.fixture
def api(server, tmp_path):
    double, url = server
    double.__init__()
    double.url = url
    (tmp_path / "token").write_text("secret-token")
    (tmp_path / "namespace").write_text(NAMESPACE)
    double.account = tmp_path
    return double


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self):
        self.now_s, self.slept = 0.0, []

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds


def start(api, steps=(), **changes):
    """The starter's exit code, while an operator writes one status after each look."""
    clock = Clock()
    left = list(steps)

    def operator(double):
        name = max(double.jobs, default=None)
        if left and name in double.created and double.seen[-1] == ("GET", f"{JOBS}/{name}"):
            double.has(name, *left.pop(0))

    api.before = operator
    given = {"server": ApiServer(api.url, api.account, timeout_s=0.4), "jobs": JOBS}
    given |= {"manifest": MANIFEST, "date": DATE, "clock_s": clock, "sleep": clock.sleep}
    starter = Starter(**{**given, **changes})
    starter.clock = clock
    return starter.run()


RUNNING, DONE = ("Running", "RUNNING"), ("Complete", "SUCCEEDED")
FAILED = ("Failed", "FAILED", "AppFailed", "Job entrypoint command failed with exit code 1")


def test_the_job_of_a_date_is_created_once_and_its_end_is_waited_for(api):
    assert start(api, [("", ""), ("Initializing", ""), RUNNING, DONE]) == 0
    assert start(api) == 0
    assert api.created == [FIRST]
    assert api.jobs[FIRST]["spec"]["entrypoint"] == f"ray-audit night s.yaml --date {DATE}"
    assert {method for method, _ in api.seen} == {"GET", "POST"}
    assert set(api.tokens) == {"Bearer secret-token"}


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (DONE, 0, "succeeded"),
        (("Complete", "STOPPED", "", "Job was intentionally stopped."), 1, "stopped by somebody"),
        (("Complete", "FAILED"), 1, "failed"),
        (("Complete", ""), 1, "failed"),
        (("ValidationFailed", "", "ValidationFailed", "no more than 47"), 2, "no more than 47"),
        (("Failed", "FAILED", "AppFailed", WRONG_SPECIFICATION), 2, "exit code 2"),
        (("Failed", "RUNNING", "DeadlineExceeded", "12 hours"), 1, "DeadlineExceeded"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_each_end_has_its_sentence_and_only_success_is_0(api, capsys, end, code, said):
    assert start(api, [RUNNING, end]) == code
    assert said in capsys.readouterr().out
    assert api.created == [FIRST]


@pytest.mark.parametrize(
    "state", ["Waiting", "Retrying", "Suspending", "Suspended", "NewInKubeRay2"]
)
def test_what_is_no_end_is_waited_through(api, state):
    assert start(api, [(state, ""), (state, ""), RUNNING, DONE]) == 0


def test_a_suspended_job_is_told_apart_where_the_time_is_over(api, capsys):
    assert start(api, [("Suspended", "")], wait_s=100.0) == 1
    assert "suspended still" in capsys.readouterr().out
    api.has(FIRST, *RUNNING)
    assert start(api, wait_s=100.0) == 1
    assert "the job runs on" in capsys.readouterr().out


def test_a_deleted_job_is_no_success_and_is_not_created_again(api, capsys):
    def delete(double):
        if double.created and double.seen.count(("GET", f"{JOBS}/{FIRST}")) > 2:
            double.jobs.pop(FIRST, None)

    api.before = delete
    starter = Starter(
        ApiServer(api.url, api.account), JOBS, MANIFEST, DATE, sleep=lambda seconds: None
    )
    assert starter.run() == 1
    assert api.created == [FIRST]
    assert "deleted" in capsys.readouterr().out


def test_a_job_that_failed_is_tried_again_three_times_in_all(api):
    assert start(api, [FAILED, FAILED, RUNNING, DONE]) == 0
    assert api.created == [FIRST, SECOND, THIRD]
    api.has(THIRD, *FAILED)
    assert start(api) == 1
    assert len(api.created) == MAX_ATTEMPTS


def test_another_attempt_can_be_asked_for_by_hand(api, capsys):
    for name in (FIRST, SECOND, THIRD):
        api.has(name, *FAILED)
    assert start(api, [DONE], again=True) == 0
    assert api.created == [f"phases-{DATE}-4"]
    assert start(api, again=True) == 0
    assert len(api.created) == 1


def test_one_that_runs_is_not_started_beside_even_by_hand(api):
    api.has(FIRST, *FAILED)
    api.has(SECOND, *RUNNING)
    assert start(api, wait_s=10.0, again=True) == 1
    assert api.created == []


def test_an_attempt_whose_first_object_is_gone_is_found(api):
    api.has(SECOND, *DONE)
    assert start(api) == 0
    assert api.created == []


def test_a_job_that_is_being_deleted_is_not_waited_for(api):
    api.has(FIRST, *RUNNING, deletionTimestamp="2026-01-01T02:00:00Z")
    assert start(api, [DONE]) == 0
    assert api.created == [SECOND]


def test_a_job_of_another_audit_is_not_adopted(api, capsys):
    api.has(FIRST, *RUNNING, owner="phases-2")
    assert run_main(api, "--date", DATE) == 1
    assert "belongs to phases-2" in capsys.readouterr().out


@pytest.mark.parametrize("fault", PASSING.values(), ids=list(PASSING))
def test_a_server_that_is_away_loses_no_night(api, fault):
    api.faults = [None] * 9 + [fault, fault]  # the look, then two tries of the POST
    assert start(api, [RUNNING, DONE]) == 0
    assert api.created == [FIRST]
    api.__init__()
    api.faults = [fault]
    api.has(FIRST, *RUNNING)
    assert start(api, wait_s=30.0) == 1
    api.faults = [None] * 9 + [fault, None, fault]
    api.has(FIRST, *DONE)
    assert start(api) == 0


def test_an_answer_that_is_lost_is_no_second_job(api):
    api.faults = [None] * 9 + [loses_the_answer]
    assert start(api, [DONE]) == 0
    assert api.created == [FIRST]
    assert api.seen.count(("POST", JOBS)) == 2


def test_a_job_that_is_there_and_gone_again_is_created(api):
    there = status_of(409, "AlreadyExists", "already exists", name=FIRST)
    api.faults = [None] * 9 + [says(409, there)]
    assert start(api, [DONE]) == 0
    assert api.created == [FIRST]


def test_the_server_says_when_to_come_again(api):
    clock = Clock()
    api.faults = [None] * 9 + [says(429, b"{}", Retry_After="77")]
    api.has(FIRST, *DONE)
    api.jobs.clear()
    api.before = lambda double: double.created and double.has(FIRST, *DONE)
    Starter(
        ApiServer(api.url, api.account), JOBS, MANIFEST, DATE, clock_s=clock, sleep=clock.sleep
    ).run()
    assert 77 in clock.slept


def test_a_server_that_stays_away_ends_with_its_last_words(api, capsys):
    class Always(list):
        def pop(self, index):
            return says(503, status_of(503, "ServiceUnavailable", "etcd has no leader"))

        def __bool__(self):
            return True

    api.faults = Always()
    clock = Clock()
    starter = Starter(
        ApiServer(api.url, api.account), JOBS, MANIFEST, DATE, clock_s=clock, sleep=clock.sleep
    )
    with pytest.raises(Exception, match="etcd has no leader"):
        starter.run()
    assert START_S <= clock.now_s < 1.1 * START_S
    assert capsys.readouterr().out.count("trying again") == 1


@pytest.mark.parametrize("code", [400, 403, 422])
def test_a_refusal_ends_at_once_with_the_servers_reason(api, capsys, code):
    reason = 'rayjobs.ray.io "x" is forbidden: exceeded quota: none, requested: count/rayjobs=1'
    api.faults = [None] * 9 + [says(code, status_of(code, "Forbidden", reason))]
    assert run_main(api, "--date", DATE) == (1 if code == 403 else 2)
    assert reason in capsys.readouterr().out


def test_what_the_server_says_cannot_act_on_a_terminal(api, capsys):
    api.has(FIRST, "Failed", "FAILED", "DeadlineExceeded", "\x1b]0;title\x07over")
    assert start(api) == 1
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\\x1b]0;title\\x07over" in said


def run_main(api, *more):
    manifest = api.account / "rayjob.yaml"
    manifest.write_text(yaml.safe_dump(MANIFEST))
    given = [str(manifest), "--server", api.url, "--account", str(api.account), *more]
    return main(given)


def test_the_date_is_the_ticks_however_late_the_pod_starts(api, monkeypatch):
    tick = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    name = f"phases-start-{int(tick.timestamp()) // 60}"
    late = datetime(2026, 7, 2, 23, 0, tzinfo=UTC)
    berlin = ZoneInfo("Europe/Berlin")
    assert date_of(name, berlin, late) == date_of(f"{name}-x7k2p", berlin, late) == "2026-07-02"
    assert date_of(name, UTC, late) == "2026-07-01"
    assert date_of("by-hand", berlin, late) == "2026-07-03"


def test_a_clock_that_is_late_at_midnight_starts_the_new_day():
    berlin = ZoneInfo("Europe/Berlin")
    at = datetime(2026, 7, 1, 21, 58, tzinfo=UTC)
    assert date_of("", berlin, at) == "2026-07-02"
    assert date_of("", berlin, at.replace(minute=50)) == "2026-07-01"


@pytest.mark.parametrize("name", ["by-hand", "phases-20260101", "phases-99999999", "x-1234567"])
def test_a_name_without_a_tick_is_of_a_job_made_by_hand(name):
    assert tick_of(name, datetime(2026, 7, 1, tzinfo=UTC)) is None


def test_a_job_made_by_hand_after_a_failed_night_starts_another(api, monkeypatch):
    now = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)  # at midnight the tick may be of another day
    clock = mock.Mock(wraps=datetime, now=lambda zone: now.astimezone(zone))
    monkeypatch.setattr(start_rayjob, "datetime", clock)
    monkeypatch.setenv("JOB_NAME", "by-hand")
    today = date_of("by-hand", UTC, now)
    api.has(f"phases-{today}", *FAILED)
    api.before = lambda double: [double.has(name, *DONE) for name in double.created]
    assert run_main(api) == 0
    assert api.created == [f"phases-{today}-2"]
    monkeypatch.setenv("JOB_NAME", f"phases-start-{int(now.timestamp()) // 60}")
    assert run_main(api) == 0
    assert len(api.created) == 1


@pytest.mark.parametrize("text", ["[]", "metadata: {name: x}", "a: [", "spec: {entrypoint: [a]}"])
def test_a_manifest_that_is_none_is_a_sentence(api, capsys, text):
    manifest = api.account / "other.yaml"
    manifest.write_text(text)
    assert main([str(manifest), "--account", str(api.account)]) == 2
    assert "expected a RayJob" in capsys.readouterr().out


def test_outside_of_a_pod_it_says_what_it_needs(tmp_path, capsys):
    assert main([str(tmp_path / "x.yaml"), "--account", str(tmp_path)]) == 2
    assert "no service account" in capsys.readouterr().out


def test_a_pod_that_is_told_to_end_says_that_the_job_runs_on(api, tmp_path):
    api.faults = [None] * 9 + [hangs, closes] * 50
    manifest = tmp_path / "rayjob.yaml"
    manifest.write_text(json.dumps(MANIFEST))
    command = [sys.executable, "-m", "ray_audit.kubernetes.start_rayjob", str(manifest)]
    command += ["--server", api.url, "--account", str(tmp_path), "--date", DATE]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert "trying again" in process.stdout.readline()
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "runs on" in said
