"""What never answers ends the run within a stated time, and says what to do."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ray_audit.engine.backends.ray import pipeline
from ray_audit.errors import StalledError
from tests.support import small_sets
from tests.support.audits import audit, failure_file

pytestmark = pytest.mark.integration


def test_a_model_whose_making_never_ends(tmp_path, cluster):
    images = small_sets.class_folders(tmp_path)
    kwargs = {"num_classes": 3, "pid": os.getpid()}
    images.values["model"] = {"factory": f"{small_sets.MODELS}:never_made", "kwargs": kwargs}
    began_s = time.monotonic()
    with pytest.raises(StalledError, match=r"for 6 s \(engine.start_timeout_s\)"):
        audit(images, local=False, engine={"start_timeout_s": 6})
    assert time.monotonic() - began_s < 60
    assert failure_file(images)["error_class"] == "StalledError"
    _wait_until_free(cluster)


def _wait_until_free(cluster, limit_s=60):
    """A run that stalled gives back what its actors had reserved."""
    deadline_s = time.monotonic() + limit_s
    while cluster.available_resources().get("CPU", 0) < 2:
        assert time.monotonic() < deadline_s, cluster.available_resources()
        time.sleep(0.5)


def test_nodes_that_never_come(tmp_path, cluster):
    images = small_sets.class_folders(tmp_path)
    engine = {"start_timeout_s": 4, "cluster_max": {"CPU": 64, "GPU": 2}, "num_gpus": 1}
    with pytest.raises(StalledError, match="look at `ray status` for resources that never come"):
        audit(images, local=False, engine=engine)
    _wait_until_free(cluster)


def test_a_reduction_that_never_ends(tmp_path, cluster):
    engine = pipeline.RayBackend(small_sets.class_folders(tmp_path).config().engine)
    engine._engine = engine._engine.model_copy(update={"stall_timeout_s": 3})
    with pytest.raises(StalledError, match=r"nothing moved for 3 s .* in a reduction"):
        list(engine.map(time.sleep, [20]))


@pytest.mark.slow  # it waits until Ray's silence is long enough
def test_a_head_that_dies(tmp_path, s3_server):
    images = small_sets.class_folders(tmp_path)
    kwargs = {"num_classes": 3, "how": "hang"}
    images.values["model"] = {"factory": f"{small_sets.MODELS}:DeadlyModel", "kwargs": kwargs}
    small_sets.picture(tmp_path / "data/b/1.png", 0, black=True)
    spec = images.spec_file(engine={"batch_size": 2, "actors_per_pool": 1})
    port = 6000 + os.getpid() % 1000
    ray = os.path.join(os.path.dirname(sys.executable), "ray")
    start = [ray, "start", "--head", f"--port={port}", "--num-cpus=2", "--block"]
    # A folder of its own: the default one would tell every Ray on this machine of this cluster.
    folder = tempfile.mkdtemp(dir="/tmp")
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": folder}
    head = subprocess.Popen(
        [*start, "--include-dashboard=false"], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(10)
        command = [sys.executable, "-m", "ray_audit", "run", str(spec)]
        run = subprocess.Popen(
            [*command, "--address", f"127.0.0.1:{port}"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        _wait_for(images, "attempts/")  # the actors are at work on the one crate
        began_s = time.monotonic()
        (gcs,) = (pid for pid, name in children_of(head.pid) if name.startswith("gcs_server"))
        os.kill(gcs, signal.SIGKILL)
        _, said = run.communicate(timeout=150)
        assert run.returncode == 1
        assert "does not answer any more" in said
        assert time.monotonic() - began_s < 100
    finally:
        for pid, _ in children_of(head.pid):
            os.kill(pid, signal.SIGTERM)
        head.terminate()
        head.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def children_of(pid):
    """Process id and name of each child."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text().partition("(")[2].rpartition(") ")
        except OSError:
            continue  # it has ended meanwhile
        if int(rest.split()[1]) == pid:
            yield int(status.parent.name), name


def _wait_for(images, prefix, limit_s=100):
    deadline_s = time.monotonic() + limit_s
    while not any(name.startswith(prefix) for name in images.files_written()):
        assert time.monotonic() < deadline_s
        time.sleep(0.5)
