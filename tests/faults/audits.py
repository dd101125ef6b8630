"""Audits that last long enough for a fault to hit them, and the same ones undisturbed."""

from pathlib import Path

from ray_audit.engine.run.audit import run_audit
from tests.faults.drivers import DATE, tables_of
from tests.support.small_sets import labelled_videos
from tests.support.tables import assert_identical

MODEL = "tests.support.tiny_models:SlowFrameModel"
SLEEP_S = 0.03


def slow_videos(folder, num=6, num_frames=24, sleep_s=SLEEP_S):
    """Videos whose every batch takes a known while at each of three checkpoints."""
    videos = labelled_videos(folder, num=num, num_frames=num_frames)
    videos.values["model"] = {"factory": MODEL, "kwargs": {"num_classes": 3, "sleep_s": sleep_s}}
    videos.values["engine"] = {"batch_size": 2, "checkpoints_per_actor": 1, "actors_per_pool": 1}
    return videos


def undisturbed(small, **changes):
    """The same audit in one process, without the waiting."""
    config = small.config(
        output=str(small.folder / "undisturbed"),
        model={"factory": MODEL, "kwargs": {"num_classes": 3}},
        **changes,
    )
    outcome = run_audit(config, local=True, logical_date=DATE)
    assert outcome.counts["scored"] > 0
    assert outcome.counts["failed"] == 0
    return outcome


def assert_survived(output, oracle):
    """One complete run, with the tables of the undisturbed one."""
    tables = tables_of(output)
    assert_identical(tables, oracle)
    return tables


def assert_nothing_left(output):
    """Neither markers, nor files that were not whole, nor signs of life, of whoever was killed."""
    folder = Path(output)
    assert not list(folder.glob("attempts/*"))
    assert not list(folder.rglob("*.tmp"))
    assert not list(folder.glob("runs/*/running.json"))
