import os
import subprocess
import sys

import pytest

from tests.cluster import check
from tests.cluster.check import ClusterError, differences
from tests.functional.kubernetes.api_double import NAMESPACE, served
from tests.functional.kubernetes.cluster_double import ClusterDouble

SENT = {"a": [{"b": 1}, {"c": "x"}], "d": {"e": "2"}}


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        (SENT | {"status": {}}, []),
        ({"a": [{"b": 1, "default": 0}, {"c": "x"}], "d": {"e": "2"}}, []),
        ({"a": [{"b": 1}], "d": {"e": "2"}}, [".a"]),
        ({"a": [{"b": 1}, {"c": "y"}], "d": {}}, [".a[1].c", ".d.e"]),
        (None, [""]),
    ],
)
def test_a_server_may_add_and_never_take_away(stored, found):
    assert differences(SENT, stored) == found


def test_without_a_server_the_check_fails_with_a_sentence(tmp_path):
    env = os.environ | {"KUBECONFIG": str(tmp_path / "none")}
    command = [sys.executable, "-m", "tests.cluster.check"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("error ")
    assert "KUBECONFIG" in done.stderr or "kubectl is not installed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def cluster(monkeypatch):
    with served() as (api, url):
        double = ClusterDouble(api, url)
        monkeypatch.setattr(check, "called", double.called)
        monkeypatch.setattr(check, "PAUSE_S", 0.01)
        yield double


def test_a_server_that_does_what_it_should_passes(cluster):
    check.check_audit("Phases: nightly #2", NAMESPACE)
    assert len(cluster.api.created) == sum(len(attempts) for attempts, _ in check.NIGHTS)
    (name,) = (name for kind, name in cluster.objects if kind == "RayCronJob")
    assert set(cluster.api.tokens) == {f"Bearer token of {name}-starter"}


def test_a_field_that_the_server_drops_is_found(cluster):
    def without_time_zone(document):
        if document["kind"] == "RayCronJob":
            del document["spec"]["timeZone"]
        return document

    cluster.stored = without_time_zone
    with pytest.raises(ClusterError, match=r"nightly: RayCronJob .* otherwise at \.spec\.timeZone"):
        check.check_audit("phases", NAMESPACE)


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (["create", "get", "delete"], "phases-starter may delete rayjobs"),
        (["get"], "phases-starter may create rayjobs.ray.io: 'no'"),
    ],
)
def test_an_account_that_may_do_more_or_less_than_its_job_is_found(cluster, rule, found):
    check.check_audit("phases", NAMESPACE)
    cluster.objects["Role", "phases-starter"]["rules"][0]["verbs"] = rule
    with pytest.raises(ClusterError, match=found):
        check.check_rights("phases", NAMESPACE)


def test_a_night_that_ends_otherwise_is_found(cluster, monkeypatch):
    monkeypatch.setattr(check, "NIGHTS", [([[("Complete", "FAILED")]], 0)])
    with pytest.raises(ClusterError, match="the starter ended with 1 after"):
        check.check_audit("phases", NAMESPACE)
