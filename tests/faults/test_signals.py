"""A driver that is asked to end does so: with a sentence, and nothing left behind."""

import json
import os
import signal
from pathlib import Path

import pytest

from ray_audit.engine.run.status import read_status
from tests.faults.audits import assert_survived, slow_videos, undisturbed
from tests.faults.drivers import Driver, committed
from tests.faults.processes import below, outliving

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


def ends_cleanly(driver, name):
    """Send a signal; the driver says so, by its exit code too, and leaves no process behind."""
    others = below(driver.pid)
    os.kill(driver.pid, signal.Signals[name])
    assert driver.ended(60) == EXIT_CODES[name], driver.text()
    said = driver.text()
    assert not outliving(others, 30)
    assert f"error ended by {name}: what was committed is whole" in said
    assert "Traceback" not in said


def interrupted(spec, output, name, *options):
    """Send a signal while batches are committed; check how the driver ends and what it leaves."""
    with Driver(spec, *options) as driver:
        assert driver.wait_until(lambda: committed(output) > 0), driver.text()
        ends_cleanly(driver, name)
    (failure,) = Path(output).glob("runs/*/failure.json")
    values = json.loads(failure.read_text())
    assert values["state"] == "interrupted"
    assert values["message"].startswith(f"interrupted: ended by {name}")
    assert sorted(path.name for path in failure.parent.iterdir()) == [
        "failure.json",
        "metrics.prom",
    ]
    assert not list(Path(output).glob("attempts/*"))
    assert not list(Path(output).rglob("*.tmp"))
    assert [run.state for run in read_status(output).runs] == ["interrupted"]


def goes_on(spec, output, *options):
    with Driver(spec, *options) as driver:
        driver.completes(300)
    assert not list(Path(output).glob("runs/*/failure.json"))


# The three have one handler: one that Python knows by itself and one that it does not.
@pytest.mark.parametrize(
    "name", ["SIGTERM", *(pytest.param(n, marks=pytest.mark.slow) for n in ("SIGINT", "SIGHUP"))]
)
def test_a_signal_ends_an_audit_in_one_process_which_can_go_on(tmp_path, name):
    videos = slow_videos(tmp_path, num=3)
    output = str(tmp_path / "out")
    spec = videos.spec_file(output=output)
    interrupted(spec, output, name, "--local")
    goes_on(spec, output, "--local")
    assert_survived(output, undisturbed(videos))


def training_interrupted(folder, name, *options):
    """Send a signal when the first epoch is kept; train on afterwards."""
    # Slow until it was interrupted: the cluster trains on until its driver has taken it down.
    (folder / "slow").touch()
    videos = slow_videos(folder, num=4, sleep_s=2.0)
    videos.values["model"]["kwargs"]["while_there"] = str(folder / "slow")
    for path in folder.glob("checkpoints/*"):
        path.unlink()
    checkpoints = str(folder / "checkpoints/epoch_*.safetensors")
    training = {"epochs": 9, "batch_size": 4, "num_gpus": 0}
    spec = videos.spec_file(checkpoints=checkpoints, training=training)
    with Driver(spec, *options, command="train") as driver:
        assert driver.wait_until(lambda: list(folder.glob("checkpoints/epoch_*"))), driver.text()
        ends_cleanly(driver, name)
    assert sorted(p.name for p in folder.glob("checkpoints/[!e]*")) == ["last.pt"]
    assert len(list(folder.glob("checkpoints/epoch_*"))) < 9
    (folder / "slow").unlink()
    with Driver(spec, "--local", command="train") as driver:
        driver.completes(300)
    assert len(list(folder.glob("checkpoints/epoch_*"))) == 9


@pytest.mark.slow
@pytest.mark.parametrize("name", EXIT_CODES)
def test_a_signal_ends_a_training_which_can_go_on(tmp_path, name):
    training_interrupted(tmp_path, name, "--local")


def test_a_hangup_that_is_ignored_ends_nothing(tmp_path):
    videos = slow_videos(tmp_path, num=3)
    output = str(tmp_path / "out")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        driver = Driver(videos.spec_file(output=output), "--local")
    finally:
        signal.signal(signal.SIGHUP, before)
    with driver:
        assert driver.wait_until(lambda: committed(output) > 0)
        os.kill(driver.pid, signal.SIGHUP)
        driver.completes()
