"""What kills its process is tried three times and given up; everything else is audited."""

import subprocess
import sys

import pytest

from ray_audit.engine.backends.ray import pipeline
from tests.support import deadly, small_sets
from tests.support.audits import ALL_MAY_FAIL, assert_counts_add_up, audit, only_error
from tests.support.tables import rows_of

pytestmark = pytest.mark.integration


def on_ray(small, /, **changes):
    return audit(small, local=False, **ALL_MAY_FAIL, **changes)


def scored(outcome):
    return set(rows_of(outcome, "scores")["sample_id"].to_pylist())


def all_rows(outcome, name):
    return outcome.manifest.table(outcome.run_uri, name).to_pylist()


def markers(small):
    return [name for name in small.files_written() if name.startswith("attempts/")]


def test_a_video_that_kills_its_decoder_is_given_up(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(pipeline, "_decode", deadly.decode)
    videos = small_sets.labelled_videos(tmp_path, num=3)
    poison = tmp_path / "data/poison.mp4"
    (tmp_path / "data/v1.mp4").rename(poison)
    table = tmp_path / "data/frames.csv"
    table.write_text(table.read_text().replace("v1.mp4", "poison.mp4"))
    outcome = on_ray(videos, engine={"batch_size": 2, "actors_per_pool": 1})
    row = only_error(outcome, "decode", "crash")
    assert (row["shard"], row["sample_id"], row["num_samples"]) == ("poison.mp4", None, 12)
    assert all_rows(outcome, "errors")[0]["attempts"] == 3
    assert "died 3 times" in row["message"]
    assert scored(outcome) == {f"v{i}.mp4#{t}" for i in (0, 2) for t in range(12)}
    assert markers(videos) == []


DEADLY = ("b/1.png", "c/2.png")


# Each death is the start of another actor: one image of the kind in every run.
@pytest.mark.parametrize(
    ("how", "deadly_images"),
    [
        ("exit", DEADLY[:1]),
        *(pytest.param(how, DEADLY, marks=pytest.mark.slow) for how in ("exit", "signal", "hang")),
    ],
)
def test_an_image_that_kills_its_actor_is_given_up_and_not_its_batch(
    how, deadly_images, tmp_path, cluster, monkeypatch
):
    if how == "hang":
        # Else nothing is cut short: on a busy machine a batch may take its time.
        monkeypatch.setattr(pipeline, "_BATCHES_PER_STALL", 15)
    images = small_sets.class_folders(tmp_path)
    images.values["model"] = {
        "factory": f"{small_sets.MODELS}:DeadlyModel",
        "kwargs": {"num_classes": 3, "how": how},
    }
    for name in deadly_images:
        small_sets.picture(tmp_path / "data" / name, 0, black=True)
    engine = {"batch_size": 2, "actors_per_pool": 1, "stall_timeout_s": 120}
    outcome = on_ray(images, engine=engine)
    rows = all_rows(outcome, "errors")
    assert {row["sample_id"] for row in rows} == set(deadly_images)
    assert {(r["stage"], r["error_class"], r["attempts"]) for r in rows} == {("probe", "crash", 4)}
    assert "the last time alone" in rows[0]["message"]
    expected = {"scored": 12 - len(deadly_images), "failed": len(deadly_images)}
    assert outcome.counts == outcome.counts | expected
    assert_counts_add_up(outcome)
    assert markers(images) == []


HANGS = """
import torch
from ray_audit.engine.backends.time_limit import TimeLimit
from tests.support.tiny_models import DeadlyModel
print("begins", flush=True)
with TimeLimit(1.0).around():
    DeadlyModel(3, "hang")(torch.zeros(1, 3, 4, 4))
"""


def test_a_model_that_never_returns_ends_its_process():
    """Which then counts as a death: the test above, with `hang`, has both together."""
    ended = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=180
    )
    assert ended.stdout == "begins\n"
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert "in die" in ended.stderr  # where it was
