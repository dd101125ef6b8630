import pytest

from ray_audit import storage
from ray_audit.config import EngineConfig
from ray_audit.engine.ledger.heartbeat import Heartbeat, HeartbeatState
from ray_audit.engine.run.status import read_status


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


@pytest.fixture
def run_uri(tmp_path):
    return storage.join(str(tmp_path), "runs", "2026-01-31-0123abcd")


def heartbeat(run_uri):
    return Heartbeat(run_uri, EngineConfig(start_timeout_s=5, stall_timeout_s=100), 7)


def only_run(tmp_path):
    (result,) = read_status(str(tmp_path)).runs
    return result


def test_a_run_that_goes_on_tells_how_far_it_is(run_uri, tmp_path, clock):
    heartbeat(run_uri).beat(3)
    clock[0] += 20
    result = only_run(tmp_path)
    assert (result.state, result.duration_s) == ("running", 20)
    assert result.counts == {"committed_units": 3, "expected_units": 7}


def test_a_run_that_is_silent_for_longer_than_it_may_be_has_died(run_uri, tmp_path, clock):
    heartbeat(run_uri).beat(3)
    clock[0] += 160
    assert only_run(tmp_path).state == "running"
    clock[0] += 1
    assert only_run(tmp_path).state == "dead"
    assert "run again" in only_run(tmp_path).message


def test_a_sign_is_written_now_and_then_and_taken_away_at_the_end(run_uri, tmp_path, clock):
    beats = heartbeat(run_uri)
    beats.beat(1)
    beats.beat(2)
    assert HeartbeatState.read(run_uri).num_units == 1
    clock[0] += 30
    beats.beat(3)
    assert HeartbeatState.read(run_uri).num_units == 3
    beats.end()
    assert HeartbeatState.read(run_uri) is None
    assert read_status(str(tmp_path)).runs == ()
