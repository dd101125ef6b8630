"""Night after night: only what is missing is computed, and the tables are those of a fresh run."""

import numpy as np
import pytest

from ray_audit.engine.run.audit import run_audit
from tests.support import small_sets, tiny_models
from tests.support.tables import assert_identical, rows_of

MAKERS = ("masked_images", "class_folders", "labelled_videos", "feature_sequences")
FAMILIES = (["csl", "softmin"], ["csl", "vog", "softmin"])


def night(small, logical_date=None, **changes):
    return run_audit(small.config(**changes), local=True, logical_date=logical_date)


def num_new(outcome):
    return outcome.manifest.plan["num_new"]


def one_more_checkpoint(small):
    kwargs = small.values["model"]["kwargs"]
    factory = small.values["model"]["factory"].partition(":")[2]
    small.write_weights(small_sets.NUM_CHECKPOINTS, getattr(tiny_models, factory)(**kwargs))


@pytest.mark.parametrize("families", FAMILIES, ids=["csl", "vog"])
@pytest.mark.parametrize("maker", MAKERS)
def test_one_more_checkpoint(maker, families, tmp_path):
    small = getattr(small_sets, maker)(tmp_path)
    first = night(small, scores=families)
    one_more_checkpoint(small)
    second = night(small, scores=families)
    fresh = night(small, scores=families, output=str(tmp_path / "fresh"))
    assert_identical(second, fresh)
    # Without gradients only the new checkpoint runs; the spread of VoG needs all of them again.
    factor = small_sets.NUM_CHECKPOINTS + 1 if "vog" in families else 1
    assert num_new(second) == factor * num_new(first) / small_sets.NUM_CHECKPOINTS


def test_one_checkpoint_less(tmp_path):
    small = small_sets.masked_images(tmp_path)
    night(small, scores=["csl", "softmin"])
    (tmp_path / f"checkpoints/epoch_{small_sets.NUM_CHECKPOINTS - 1}.safetensors").unlink()
    second = night(small, scores=["csl", "softmin"])
    fresh = night(small, scores=["csl", "softmin"], output=str(tmp_path / "fresh"))
    assert_identical(second, fresh)
    # Only what is last now runs again, for the scores that the last checkpoint gives.
    assert num_new(second) == num_new(fresh) / (small_sets.NUM_CHECKPOINTS - 1)


def test_another_score_computes_only_what_is_missing(tmp_path):
    small = small_sets.masked_images(tmp_path)
    first = night(small, scores=["csl"])
    second = night(small, scores=["csl", "softmin"])
    assert num_new(second) == 0  # every probe takes the cheap ones with it
    third = night(small, scores=["csl", "vog", "softmin"])
    assert num_new(third) == num_new(first)  # gradients are not cheap
    assert_identical(
        third, night(small, scores=["csl", "vog", "softmin"], output=str(tmp_path / "fresh"))
    )
    fourth = night(small, scores=["csl"], logical_date="2026-01-02")
    assert num_new(fourth) == 0


def test_another_content_in_one_video_runs_that_video_only(tmp_path):
    small = small_sets.labelled_videos(tmp_path, num=3)
    first = night(small)
    before = (tmp_path / "data/v1.mp4").stat().st_size
    path = small_sets.video(tmp_path / "data/v1.mp4", 12, seed=9)
    with path.open("ab") as stream:  # the size says nothing
        stream.write(bytes(max(0, before - path.stat().st_size)))
    second = night(small)
    assert num_new(second) == num_new(first) / 3
    assert_identical(second, night(small, output=str(tmp_path / "fresh")))


def test_one_more_video_leaves_the_others_alone(tmp_path):
    small = small_sets.labelled_videos(tmp_path, num=3)
    first = night(small, **{"failures": {"max_fraction": 1.0}})
    small_sets.video(tmp_path / "data/another.mp4", 12, seed=9)
    second = night(small, **{"failures": {"max_fraction": 1.0}})
    assert num_new(second) == num_new(first) / 3


def test_another_label_in_one_video_runs_that_video_only(tmp_path):
    small = small_sets.labelled_videos(tmp_path, num=3)
    first = night(small)
    (labels,) = tmp_path.rglob("*.csv")
    lines = labels.read_text().splitlines()
    swapped = {"a": "b", "b": "c", "c": "a"}
    head, _, label = lines[1].rpartition(",")
    lines[1] = f"{head},{swapped[label]}"
    labels.write_text("\n".join(lines) + "\n")
    second = night(small)
    assert num_new(second) == num_new(first) / 3
    assert_identical(second, night(small, output=str(tmp_path / "fresh")))


@pytest.mark.parametrize(
    "changes",
    [
        {"softmin": {"temperature": 0.2}},
        {"engine": {"precision": "bf16"}},
        {"engine": {"batch_size": 2}},
        {"vog": {"target": "logit"}},
    ],
    ids=str,
)
def test_settings_that_change_numbers_are_not_served_from_old_records(changes, tmp_path):
    small = small_sets.masked_images(tmp_path)
    night(small)
    assert num_new(night(small, **changes)) > 0


def test_one_checkpoint_has_no_spread(tmp_path):
    small = small_sets.class_folders(tmp_path)
    only = night(small, checkpoints=str(tmp_path / "checkpoints/epoch_0.safetensors"))
    scores = rows_of(only, "scores")
    for name in ("vog", "vog_z", "loss_std", "late_loss"):
        assert scores[name].null_count == scores.num_rows, name


def test_vog_over_a_window_of_one_is_null(tmp_path):
    small = small_sets.class_folders(tmp_path)
    late = night(small, vog={"window": "late"})
    assert small_sets.NUM_CHECKPOINTS // 2 == 1
    assert rows_of(late, "scores")["vog"].null_count == late.counts["scored"]


def test_a_table_may_move_without_being_computed_again(tmp_path):
    small = small_sets.labelled_videos(tmp_path)
    first = night(small)
    (labels,) = tmp_path.rglob("*.csv")
    moved = labels.rename(tmp_path / "moved.csv")
    labels_section = small.values["dataset"]["labels"] | {"frames": str(moved)}
    second = night(small, dataset=small.values["dataset"] | {"labels": labels_section})
    assert second.run_id == first.run_id
    assert np.isclose(second.duration_s, 0, atol=5)
