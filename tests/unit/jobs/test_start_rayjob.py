from datetime import UTC, datetime
from urllib.error import HTTPError, URLError
from zoneinfo import ZoneInfo

import pytest

from ray_audit.kubernetes import start_rayjob

JOBS = "/apis/ray.io/v1/namespaces/n/rayjobs"
MANIFEST = {"metadata": {"name": "phases"}, "spec": {"entrypoint": "ray-audit night s.yaml"}}


class Api:
    """An API server of rayjobs."""

    def __init__(self, **states):
        self.jobs = {name.replace("_", "-"): state for name, state in states.items()}
        self.created = []

    def __call__(self, method, path, body):
        if method == "POST":
            name = body["metadata"]["name"]
            if name in self.jobs:
                raise HTTPError(path, 409, "there", None, None)
            self.jobs[name] = ""
            self.created.append(body)
            return body
        name = path.rpartition("/")[2]
        if name not in self.jobs:
            raise HTTPError(path, 404, "gone", None, None)
        return {"status": {"jobDeploymentStatus": self.jobs[name]}}


def start(api):
    return start_rayjob.start(api, JOBS, MANIFEST, "2026-01-01")


def test_the_job_of_a_date_is_created_once():
    api = Api()
    assert start(api) == start(api) == "phases-2026-01-01"
    (created,) = api.created
    assert created["spec"]["entrypoint"] == "ray-audit night s.yaml --date 2026-01-01"


def test_a_date_whose_job_failed_gets_another_and_at_last_none():
    api = Api(**{"phases_2026_01_01": "Failed"})
    assert start(api) == "phases-2026-01-01-2"
    api.jobs |= {"phases-2026-01-01-2": "Failed", "phases-2026-01-01-3": "Failed"}
    with pytest.raises(SystemExit, match="3 jobs of 2026-01-01 failed"):
        start(api)


def test_another_answer_of_the_server_is_not_taken_for_a_job_that_is_there():
    def forbidden(method, path, body):
        raise HTTPError(path, 403, "forbidden", None, None)

    with pytest.raises(HTTPError, match="403"):
        start(forbidden)


@pytest.mark.parametrize(("last", "code"), [("Complete", 0), ("Failed", 1)])
def test_its_end_is_waited_for(last, code):
    answers = [
        {},
        URLError("away"),
        {"status": {"jobDeploymentStatus": "Running"}},
        {"status": {"jobDeploymentStatus": last}},
    ]
    slept = []

    def call(method, path, body):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert start_rayjob.wait(call, f"{JOBS}/x", slept.append) == code
    assert len(slept) == 3


def test_a_deleted_job_is_no_success():
    assert start_rayjob.wait(Api(), f"{JOBS}/x", lambda seconds: None) == 1


def test_a_pod_whose_clock_is_late_at_midnight_starts_the_new_day():
    berlin = ZoneInfo("Europe/Berlin")
    assert start_rayjob.today(berlin, datetime(2026, 7, 1, 21, 58, tzinfo=UTC)) == "2026-07-02"
    assert start_rayjob.today(berlin, datetime(2026, 7, 1, 21, 50, tzinfo=UTC)) == "2026-07-01"
