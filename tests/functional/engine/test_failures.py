"""Failure budgets and reruns."""

import shutil
from dataclasses import replace

import pytest

from ray_audit.errors import FailureBudgetError, SpecificationError
from tests.support.audits import (
    ALL_MAY_FAIL,
    audit,
    bad_images,
    failure_file,
    with_trap,
)
from tests.support.small_sets import class_folders, labelled_videos, picture
from tests.support.tables import assert_identical, rows_of


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ({}, "failures.max_fraction 0.01"),
        ({"max_count": 1}, "failures.max_count 1"),
        ({"max_fraction": 0.16}, "failures.max_fraction 0.16"),
    ],
)
def test_more_failures_than_the_budget_end_the_run(tmp_path, budget, named):
    images = bad_images(tmp_path)
    with pytest.raises(FailureBudgetError, match="2 of 12 samples failed") as error:
        audit(images, failures=budget)
    assert named in str(error.value)
    assert "raise the budget" in str(error.value)
    failure = failure_file(images)
    assert failure["error_class"] == "FailureBudgetError"
    assert [first_failure["sample_id"] for first_failure in failure["first_failures"]] == [
        "b/0.png",
        "b/1.png",
    ]


@pytest.mark.parametrize("budget", [{"max_count": 2}, {"max_fraction": 0.17}])
def test_failures_within_the_budget_are_survived(tmp_path, budget):
    outcome = audit(bad_images(tmp_path), failures=budget)
    assert outcome.counts == outcome.counts | {"scored": 10, "failed": 2}


def test_no_credential_that_a_model_or_a_library_tells_is_written_down(tmp_path, monkeypatch):
    def tells(*_, **__):
        raise ValueError("GET https://me:wJalrXUtnFEMI@host/weights: 403")

    images = class_folders(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("tests.support.tiny_models.ImageModel.forward", tells)
        with pytest.raises(SpecificationError) as refused:
            audit(images)
        assert "GET https://***@host/weights: 403" in str(refused.value)
    with monkeypatch.context() as patch:
        patch.setattr("ray_audit.probes.prober.Prober.observe", tells)
        outcome = audit(images, **ALL_MAY_FAIL)
    messages = set(rows_of(outcome, "errors")["message"].to_pylist())
    assert messages == {"ValueError: GET https://***@host/weights: 403"}
    images.values["output"] = str(tmp_path / "again")
    monkeypatch.setattr("ray_audit.engine.run.audit.publish", tells)
    with pytest.raises(ValueError, match="GET"):
        audit(images)
    (path,) = tmp_path.glob("again/runs/*/failure.json")
    assert "***@host" in path.read_text()
    assert "wJalrXUtnFEMI" not in path.read_text()


def test_losses_that_are_not_finite_count_against_the_budget(tmp_path):
    images = class_folders(tmp_path)
    picture(tmp_path / "data/b/1.png", 0, black=True)
    with_trap(images, epoch=2)
    with pytest.raises(FailureBudgetError, match="1 of 12"):
        audit(images)
    (first,) = failure_file(images)["first_failures"]
    assert (first["sample_id"], first["error_class"]) == ("b/1.png", "non_finite")


def test_a_budget_that_is_exceeded_early_stops_early_and_names_the_failure(tmp_path):
    videos = labelled_videos(tmp_path, num=5)
    (tmp_path / "data/v0.mp4").write_bytes(b"")
    with pytest.raises(FailureBudgetError):
        audit(videos, failures={"max_count": 0})
    assert failure_file(videos)["first_failures"][0]["shard"] == "v0.mp4"
    units = {name.split("/")[1] for name in videos.files_written() if name.startswith("units/")}
    assert len(units) == 1


def test_a_larger_budget_reuses_what_was_committed(tmp_path):
    images = bad_images(tmp_path)
    with pytest.raises(FailureBudgetError):
        audit(images, failures={"max_count": 0})
    before = {k: v for k, v in images.files_written().items() if k.startswith("units/")}
    assert before
    outcome = audit(images, failures={"max_count": 2})
    assert (outcome.manifest.plan["num_new"], outcome.manifest.plan["num_reused"]) == (0, 3)
    after = {k: v for k, v in images.files_written().items() if k.startswith("units/")}
    assert after == before
    afresh = audit(images, failures={"max_count": 2}, output=str(tmp_path / "afresh"))
    assert_identical(outcome, afresh)


def test_a_second_identical_run_changes_no_byte(tmp_path):
    videos = labelled_videos(tmp_path)
    first = audit(videos)
    before = videos.files_written()
    second = audit(videos)
    assert second.reused
    assert not first.reused
    assert second.counts == first.counts
    assert videos.files_written() == before


def test_a_lost_crate_is_made_again_and_no_other_unit(tmp_path):
    videos = labelled_videos(tmp_path)
    first = audit(videos)
    before = videos.files_written()
    crate = next(k for k in before if k.startswith("units/"))
    (videos.out / crate).unlink()
    kept = tmp_path / "kept"
    shutil.copytree(videos.out / "runs", kept / "runs")
    next(videos.out.glob("runs/*/manifest.json")).unlink()
    times = {k: (videos.out / k).stat().st_mtime_ns for k in before if (videos.out / k).exists()}
    again = audit(videos)
    assert (again.manifest.plan["num_new"], again.manifest.plan["num_reused"]) == (3, 6)
    rewritten = {k for k in times if (videos.out / k).stat().st_mtime_ns != times[k]}
    unit = crate.split("/")[1]
    assert (videos.out / crate).exists()
    assert {k.split("/")[1] for k in rewritten if k.startswith("units/")} <= {unit}
    assert_identical(replace(first, run_uri=str(kept / "runs" / first.run_id)), again)
