"""A driver is told to end before its pod is stopped.

Ray would not tell it: findings/a_head_that_ends_kills_the_drivers_of_jobs.sh shows it.
"""

import os
import shlex
import subprocess
import sys
import time

import pytest

from ray_audit.jobs.submit import Job
from ray_audit.kubernetes import stop_driver
from ray_audit.kubernetes.render import HEAD_GRACE_S
from tests.support.manifests import ROOT
from tests.support.rendered import of_kind

ENDS = """
import pathlib, signal, sys, time
def end(number, frame):
    {end}
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts a command called like ours; the search sees what this test started alone."""
    processes = []
    monkeypatch.setattr(stop_driver, "_pids", lambda: [p.pid for p in processes])

    def start(end, name="ray-audit", module=None):
        script = tmp_path / (name if module is None else f"{module}.py")
        script.write_text(ENDS.format(end=end))
        up = tmp_path / f"up-{len(processes)}"
        what = [script] if module is None else ["-m", module]
        env = os.environ | {"PYTHONPATH": str(tmp_path)}
        processes.append(subprocess.Popen([sys.executable, *what, up], cwd=tmp_path, env=env))
        while not up.exists():
            time.sleep(0.02)
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def reaped(processes):
    """A child of a test that ended is there until it is waited for; a pod's has another parent."""
    return {process.pid for process in processes if process.poll() is None}


def test_a_driver_that_is_told_ends_with_its_own_code(started, monkeypatch):
    process = started("time.sleep(0.3); sys.exit(143)")
    monkeypatch.setattr(stop_driver, "drivers", lambda: reaped([process]))
    assert stop_driver.stop(wait_s=30)
    assert process.wait() == 143


def test_the_driver_that_a_submitted_job_starts_is_told(started):
    job = Job("run", str(ROOT / "k8s/example.yaml"))
    _, option, module, *_ = shlex.split(job.entrypoint)
    assert option == "-m"
    process, other = started("sys.exit(143)", module=module), started("sys.exit(1)", module="train")
    assert stop_driver.drivers() == {process.pid}
    assert other.poll() is None


def test_only_what_is_called_so_is_told(started):
    process, other = started("sys.exit(143)"), started("sys.exit(1)", name="train")
    assert stop_driver.drivers() == {process.pid}
    assert other.poll() is None


def test_a_driver_that_does_not_end_is_waited_for_no_longer_than_said(started):
    started("pass")
    began_s = time.monotonic()
    assert not stop_driver.stop(wait_s=0.5)
    assert 0.5 <= time.monotonic() - began_s < 10


def test_the_process_that_looks_is_not_told(monkeypatch):
    monkeypatch.setattr(stop_driver, "_is_driver", lambda pid: True)
    monkeypatch.setattr(stop_driver, "_pids", lambda: [os.getpid()])
    assert stop_driver.stop(wait_s=0)


def test_heads_tell_their_driver_and_ray_has_time_after_it():
    ray_s = 35
    (once,) = of_kind("RayJob")
    head = once["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (container,) = head["containers"]
    command = ["python", "-m", "ray_audit.kubernetes.stop_driver"]
    assert container["lifecycle"] == {"preStop": {"exec": {"command": command}}}
    assert head["terminationGracePeriodSeconds"] == HEAD_GRACE_S >= stop_driver.WAIT_S + ray_s
