import json

import pyarrow.parquet as pq
import pytest

from ray_audit.config import AuditConfig
from tests.functional.test_cli import call, one_object
from tests.support.small_sets import class_folders, labelled_videos, masked_images

DATE = ["--date", "2026-01-31"]


@pytest.fixture
def masks(tmp_path):
    return masked_images(tmp_path, num=10)


def inject(small_set, *options):
    return call("inject", small_set.spec_file(), "--to", small_set.folder / "to", *options)


@pytest.mark.parametrize("make", [masked_images, labelled_videos, class_folders])
def test_inject_run_and_evaluate_go_one_after_the_other(tmp_path, make):
    small_set = make(tmp_path)
    planted = one_object(inject(small_set, "--rate", "0.4", "--json"))
    assert planted["num_errors"] > 0
    run = call("run", planted["spec"], "--local", *DATE, "--json")
    assert run.exit_code == 0, run.stderr
    assert one_object(run)["counts"]["scored"] == planted["num_samples"]
    found = one_object(call("evaluate", planted["output"], "--truth", planted["truth"], "--json"))
    assert found["num_samples"] == planted["num_samples"]
    assert found["num_errors"] == planted["num_errors"]
    assert (found["num_without_truth"], found["num_without_score"]) == (0, 0)
    assert {row["kind"] for row in found["detections"]} >= {"all"}
    assert bool(found["segments"]) == (make is labelled_videos)
    assert bool(found["regions"]) == (make is masked_images)
    shown = call("evaluate", planted["output"], "--truth", planted["truth"])
    assert shown.exit_code == 0
    assert "AUROC" in shown.stdout
    assert ("Findings held to the components" in shown.stdout) == (make is masked_images)
    assert max(map(len, shown.stdout.splitlines())) <= 100


def test_inject_says_what_it_did_and_what_to_type_next(masks):
    result = inject(masks, "--rate", "0.3", "--kind", "swap", "--kind", "shift", "--seed", "5")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "Planted errors in 3 of 10 masks" in result.stderr
    assert (
        f"ray-audit train {masks.folder}/to/spec.yaml --to {masks.folder}/to/model" in result.stderr
    )
    assert f"ray-audit run {masks.folder}/to/model/spec.yaml" in result.stderr
    assert "--truth" in result.stderr
    kinds = pq.read_table(masks.folder / "to/truth.parquet")["kind"].to_pylist()
    assert sorted(filter(None, kinds)) == ["shift", "swap", "swap"]


def test_a_dry_run_says_so_and_writes_nothing(masks):
    result = inject(masks, "--rate", "0.3", "--dry-run")
    assert "Would plant" in result.stderr
    assert "nothing was written" in result.stderr
    assert not (masks.folder / "to").exists()


def test_an_override_goes_into_the_copy_of_the_specification(masks):
    planted = one_object(inject(masks, "--rate", "0.3", "--json", "--set", "vog.window=late"))
    assert AuditConfig.load(planted["spec"]).vog.window == "late"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "0.3", "--kinds", "nonsense"], "expected some of drop, swap"),
        (["--rate", "1.3"], "--rate"),
        ([], "--rate"),
        (["--rate", "0.3", "--class", "z"], "class 'z' is none of a, b, c"),
        (["--rate", "0.3", "--set", "dataset.uri=/none/*.png"], "matches no file"),
    ],
)
def test_wrong_wishes_end_with_2(masks, options, said):
    result = inject(masks, *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not (masks.folder / "to").exists()


def test_help_names_the_kinds_of_each_form():
    text = " ".join(call("inject", "--help").output.replace("│", " ").split())
    for kind in ("mislabel", "reversed", "scaled", "instance"):
        assert kind in text


def test_evaluating_what_is_not_there_ends_with_a_message(masks):
    truth = masks.folder / "truth.csv"
    result = call("evaluate", masks.out, "--truth", truth)
    assert result.exit_code == 1
    assert "truth.csv" in result.stderr
    truth.write_text("sample_id,is_error\ni0.png,1\n")
    result = call("evaluate", masks.out, "--truth", truth)
    assert result.exit_code == 1
    assert "has no complete run" in result.stderr
    assert call("run", masks.spec_file(), "--local", *DATE).exit_code == 0
    result = call("evaluate", masks.out, "--truth", truth, "--scores", "csl")
    assert result.exit_code == 2
    assert "all 1 scored samples are wrong" in result.stderr
    truth.write_text("sample_id,is_error\ni0.png,1\ni1.png,0\n")
    result = call("evaluate", masks.out, "--truth", truth, "--scores", "csl", "--json")
    assert [row["score"] for row in json.loads(result.stdout)["detections"]] == ["csl"]
