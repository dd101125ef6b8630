"""What killed processes left goes before workers start, and again once they are gone."""

import contextlib
import json
import socket
import subprocess
from dataclasses import asdict

import pytest

from ray_audit.engine.ledger.heartbeat import HeartbeatState
from ray_audit.engine.ledger.leftovers import leftovers_removed
from ray_audit.processes import own_name


@pytest.fixture
def dead():
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def left_by(pid, output):
    here = own_name().partition("-")[0]
    unfinished = output / "records" / f".a.parquet.{here}-{pid}.0123abcd.tmp"
    marker = output / "attempts" / f"{here}-{pid}-0123" / "unit"
    for path in (unfinished, marker):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return unfinished, marker.parent


def say_died(pid, output):
    sign = output / "runs" / "night" / "running.json"
    sign.parent.mkdir(parents=True)
    state = HeartbeatState(socket.gethostname(), pid, 0.0, 0.0, 1.0, 0, 1)
    sign.write_text(json.dumps(asdict(state)))
    return sign


def test_records_are_looked_through_only_where_a_process_was_killed(tmp_path, dead):
    unfinished, marker = left_by(dead, tmp_path)
    with leftovers_removed(str(tmp_path)):
        assert unfinished.exists()
        assert not marker.exists()
    assert unfinished.exists()


def test_workers_that_outlive_their_killed_driver_leave_nothing(tmp_path, dead):
    sign = say_died(dead, tmp_path)
    unfinished, marker = left_by(dead, tmp_path)
    with leftovers_removed(str(tmp_path)):
        assert not unfinished.exists()
        assert not marker.exists()
        sign.unlink()  # the run is taken up, while a worker of the last one still writes
        left_by(dead, tmp_path)
    assert not unfinished.exists()
    assert not marker.exists()


def test_what_workers_of_a_failed_run_had_not_written_whole_is_removed(tmp_path, dead):
    with contextlib.suppress(KeyboardInterrupt), leftovers_removed(str(tmp_path)):
        unfinished, _ = left_by(dead, tmp_path)
        raise KeyboardInterrupt
    assert not unfinished.exists()


def test_an_empty_folder_of_markers_goes_and_an_empty_output_stays_empty(tmp_path, dead):
    marker = left_by(dead, tmp_path)[1]
    (marker / "unit").unlink()
    with leftovers_removed(str(tmp_path)):
        assert not marker.exists()
        assert marker.parent.is_dir()
    with leftovers_removed(str(tmp_path / "other")):
        assert not (tmp_path / "other").exists()
