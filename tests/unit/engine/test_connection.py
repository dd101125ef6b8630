"""Ray that does not start is told as an error of ours; where it was only slow, asked again."""

import os
import subprocess
import sys

import pytest

from ray_audit.checkpoints import model_identity
from ray_audit.engine.backends.ray import connection
from ray_audit.errors import RunError

SLOW = "The current node timed out during startup. This could happen because ..."


def starts(monkeypatch, *errors):
    """Ray as it would answer one call after another."""
    calls, answers = [], iter(errors)

    def init(**options):
        calls.append(options["address"])
        error = next(answers)
        if error is not None:
            raise error

    # The cluster that other tests share stays as it is, and is not what is asked for here.
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr("ray.init", init)
    return calls


def test_a_slow_start_is_tried_again(monkeypatch):
    calls = starts(monkeypatch, Exception(SLOW), Exception(SLOW), None)
    assert connection.connect(None)
    assert calls == ["local"] * 3


def test_a_start_that_stays_slow_is_an_error_of_ours(monkeypatch):
    starts(monkeypatch, *[Exception(SLOW)] * 3)
    with pytest.raises(RunError, match=r"Ray on this machine could not be used: .*timed out"):
        connection.connect(None)


def test_what_ray_refuses_is_not_tried_again(monkeypatch):
    calls = starts(monkeypatch, ValueError("another version"))
    with pytest.raises(RunError, match="could not be used: ValueError: another version"):
        connection.connect(None)
    assert len(calls) == 1


def test_workers_do_not_find_the_working_directory_before_all_others(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **options: given.append(options["job_config"]))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv(model_identity.WORKING_DIRECTORY, "")
    monkeypatch.chdir(tmp_path)
    assert connection.connect(None)
    given[0]._py_driver_sys_path.extend([str(tmp_path)])  # as Ray does it while it connects
    assert not list(given[0]._py_driver_sys_path)
    monkeypatch.chdir("/")  # as a worker that was moved
    model_identity.see_working_directory()
    assert str(tmp_path) in sys.path[-2:]


def test_processes_of_a_ray_that_is_started_here_share_two_heaps(monkeypatch):
    seen = []
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **_: seen.append(os.environ.get("MALLOC_ARENA_MAX")))
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    assert connection.connect(None)
    assert seen == ["2"]
    assert "MALLOC_ARENA_MAX" not in os.environ


_ORDER = """
import sys
from ray_audit.config import EngineConfig
from ray_audit.engine.backends.ray import connection
from ray_audit.engine.run.audit import opened_backend

def connect(address):
    print("ray.data" in sys.modules)
    return False

connection.connect = connect
with opened_backend(EngineConfig(), None, local=False):
    print("ray.data" in sys.modules)
"""


def test_ray_data_is_imported_while_what_ray_has_started_comes_up():
    ended = subprocess.run(
        [sys.executable, "-c", _ORDER], capture_output=True, text=True, check=True, timeout=120
    )
    assert ended.stdout.split() == ["False", "True"]
