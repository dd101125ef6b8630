"""Kept moments of VoG: a new checkpoint runs alone, and gives what all together would give."""

import json

import pytest

from ray_audit.console import plan
from ray_audit.engine.run.dry_run import dry_run
from tests.functional.nightly.test_nights import MAKERS, night, num_new, one_more_checkpoint
from tests.support import small_sets, tiny_models
from tests.support.tables import assert_identical, rows_of

KEEP = {"vog": {"keep_moments": True}}


def fresh(small, name="fresh", **changes):
    return night(small, output=str(small.folder / name), **changes)


def moments(small):
    return [name for name in small.files_written() if name.endswith(".moments")]


@pytest.mark.parametrize("target", ["loss", "logit"])
@pytest.mark.parametrize("maker", MAKERS)
def test_one_more_checkpoint_runs_alone(maker, target, tmp_path):
    small = getattr(small_sets, maker)(tmp_path)
    keep = {"vog": {"keep_moments": True, "target": target}}
    first = night(small, **keep)
    assert moments(small)
    one_more_checkpoint(small)
    second = night(small, **keep)
    assert num_new(second) == num_new(first) / small_sets.NUM_CHECKPOINTS
    assert_identical(second, fresh(small, vog={"target": target}))


def test_every_night_continues_the_one_before(tmp_path):
    small = small_sets.labelled_videos(tmp_path)
    only = str(tmp_path / "checkpoints/epoch_0.safetensors")
    first = night(small, checkpoints=only, **KEEP)
    second = night(small, **KEEP)
    one_more_checkpoint(small)
    third = night(small, **KEEP)
    assert [num_new(item) for item in (first, second, third)] == [3, 6, 3]
    assert_identical(third, fresh(small))


def test_tiles_continue_too(tmp_path):
    small = small_sets.masked_images(tmp_path, num=3)
    small.values["dataset"]["tile"] = {"size": 12, "overlap": 4}
    first = night(small, **KEEP)
    one_more_checkpoint(small)
    second = night(small, **KEEP)
    assert num_new(second) < num_new(first)
    assert_identical(second, fresh(small))


def test_records_without_gradients_do_not_stand_in_for_those_with(tmp_path):
    small = small_sets.class_folders(tmp_path)
    night(small, scores=["csl"])
    night(small, **KEEP)
    one_more_checkpoint(small)
    second = night(small, **KEEP)
    assert rows_of(second, "scores")["csg"].null_count == 0
    assert_identical(second, fresh(small))


def described(small, **changes):
    return plan.described(dry_run(small.config(**changes), None, True, None, None, calibrate=False))


@pytest.mark.parametrize("how", ["not kept", "lost", "before", "late"])
def test_what_cannot_be_continued_runs_again_and_the_plan_says_so(how, tmp_path):
    small = small_sets.class_folders(tmp_path)
    changes = {"vog": {"keep_moments": how != "not kept"}}
    if how == "late":
        changes["vog"]["window"] = "late"
        small.write_weights(4, tiny_models.ImageModel(3))  # then a later half begins later
    first = night(small, **changes)
    if how == "lost":
        (small.out / moments(small)[0]).unlink()
    if how == "before":
        weights = tmp_path / "checkpoints/epoch_2.safetensors"
        weights.rename(tmp_path / "checkpoints/a_1.safetensors")
        small.write_weights(2, tiny_models.ImageModel(3))
    one_more_checkpoint(small)
    planned = described(small, **changes)
    second = night(small, **changes)
    assert planned["num_again"] > 0
    assert num_new(second) == planned["num_new"] > num_new(first) / small_sets.NUM_CHECKPOINTS
    assert_identical(second, fresh(small, vog={"window": changes["vog"].get("window", "all")}))


def test_the_plan_tells_the_size_of_what_is_kept(tmp_path):
    small = small_sets.class_folders(tmp_path)
    model = small.values["model"] | {"input": {"size": [16, 16]}}
    assert described(small, model=model)["moments_bytes"] == 0
    planned = described(small, model=model, **KEEP)
    night(small, model=model, **KEEP)
    num_px = 12 * 16 * 16
    assert planned["moments_bytes"] == 8 * num_px
    on_disk = sum((small.out / name).stat().st_size for name in moments(small))
    assert 8 * num_px <= on_disk <= 8 * num_px + 1000
    assert described(small, **KEEP)["moments_bytes"] is None


def test_moments_that_were_damaged_fail_their_samples_until_they_are_gone(tmp_path):
    small = small_sets.class_folders(tmp_path)
    night(small, **KEEP)
    (name,) = moments(small)
    path = small.out / name
    path.write_bytes(path.read_bytes()[:-4] + b"oops")
    one_more_checkpoint(small)
    second = night(small, failures={"max_fraction": 1.0}, **KEEP)
    rows = rows_of(second, "errors").to_pylist()
    assert len(rows) == 12
    assert {(row["stage"], row["error_class"]) for row in rows} == {("read", "read")}
    assert "is damaged: remove it" in rows[0]["message"]
    path.unlink()
    next(small.out.glob(f"runs/{second.run_id}/manifest.json")).unlink()
    assert_identical(night(small, **KEEP), fresh(small))
    assert json.loads((small.out / f"runs/{second.run_id}/manifest.json").read_text())
