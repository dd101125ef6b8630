"""Two runs of one specification at once are harmless, on a disk and on S3."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from ray_audit.engine.run import audit as engine_run
from ray_audit.errors import StorageError
from ray_audit.tables.manifest import Manifest
from tests.support import small_sets
from tests.support.audits import audit
from tests.support.tables import assert_identical

pytestmark = pytest.mark.integration


@pytest.fixture(params=["disk", "s3"])
def output(request, tmp_path):
    if request.param == "disk":
        return str(tmp_path / "both")
    return f"{request.getfixturevalue('bucket').uri}/both"


def test_one_publishes_and_the_other_takes_what_is_there(output, tmp_path, monkeypatch):
    small = small_sets.class_folders(tmp_path)
    both_have_tables = Barrier(2, timeout=60)
    publish = engine_run.publish

    def publish_together(*args):
        draft = publish(*args)
        both_have_tables.wait()
        return draft

    monkeypatch.setattr(engine_run, "publish", publish_together)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(audit, small, output=output) for _ in range(2)]
        first, second = sorted((run.result() for run in runs), key=lambda outcome: outcome.reused)
    assert (first.reused, second.reused) == (False, True)
    assert second.manifest == Manifest.read(second.run_uri)
    assert second.manifest.timing == first.manifest.timing
    monkeypatch.setattr(engine_run, "publish", publish)
    assert_identical(second, audit(small, output=str(tmp_path / "alone")))


def test_a_failure_beside_a_complete_run_leaves_no_trace(tmp_path, monkeypatch):
    small = small_sets.class_folders(tmp_path)
    publish = engine_run.publish

    def fail_late(*args):
        monkeypatch.setattr(engine_run, "publish", publish)
        audit(small)  # the other call completes here
        raise RuntimeError("one of two fails")

    monkeypatch.setattr(engine_run, "publish", fail_late)
    with pytest.raises(RuntimeError, match="one of two fails"):
        audit(small)
    names = [name.rpartition("/")[2] for name in small.files_written()]
    assert "manifest.json" in names
    assert "failure.json" not in names
    (metrics,) = small.out.glob("runs/*/metrics.prom")
    assert "last_success" in metrics.read_text()


def test_a_run_that_completes_takes_its_earlier_failure_away(tmp_path, monkeypatch):
    small = small_sets.class_folders(tmp_path)

    def broken(*args):
        raise RuntimeError("broken")

    publish = engine_run.publish
    monkeypatch.setattr(engine_run, "publish", broken)
    with pytest.raises(RuntimeError):
        audit(small)
    monkeypatch.setattr(engine_run, "publish", publish)
    (failure,) = small.out.glob("runs/*/failure.json")
    assert json.loads(failure.read_text())["message"] == "broken"
    audit(small)
    assert not failure.exists()


def test_a_disk_that_fills_up_ends_the_run_and_a_later_one_goes_on(tmp_path, monkeypatch):
    small = small_sets.labelled_videos(tmp_path)
    fsync, num_written = os.fsync, []

    def full_after_four(descriptor):
        num_written.append(descriptor)
        if len(num_written) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full_after_four)
        with pytest.raises(StorageError, match=r"the disk is full.*choose another `output`"):
            audit(small)
    assert not [name for name in small.files_written() if name.endswith(("tmp", "manifest.json"))]
    assert_identical(audit(small), audit(small, output=str(tmp_path / "alone")))
