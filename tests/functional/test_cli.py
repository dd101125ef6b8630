import json
import shutil

import pytest
from typer.testing import CliRunner

from ray_audit.cli import app
from tests.support.small_sets import class_folders

DATE = ["--date", "2026-01-31"]


@pytest.fixture
def images(tmp_path):
    return class_folders(tmp_path)


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(small_set, *options):
    return call("run", small_set.spec_file(), "--local", *DATE, *options)


def one_object(result):
    assert result.stdout.endswith("\n")
    return json.loads(result.stdout)


def test_a_run_prints_one_object_and_nothing_else_on_standard_output(images):
    result = run(images, "--json")
    assert result.exit_code == 0
    summary = one_object(result)
    assert set(summary) >= {"run_id", "state", "counts", "duration_s", "manifest", "top"}
    assert summary["state"] == "complete"
    assert summary["run_id"].startswith("2026-01-31-")
    assert summary["counts"]["scored"] == 12
    assert summary["top"][0]["sample_id"]
    assert (images.out / "runs" / summary["run_id"] / "manifest.json").samefile(summary["manifest"])


def test_without_json_standard_output_stays_empty(images):
    result = run(images)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "12 scored" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "engine.batchsize=1"], "did you mean batch_size?"),
        (["--set", "engine.batch_size"], "expected dotted.key=value"),
        (["--set", "checkpoints=/none/*.pt"], "/none/*.pt matches no file"),
        (["--set", "dataset.uri=/none/*.png"], "/none/*.png matches no file"),
        (["--set", "dataset.classes=[a, b]"], "label 'c' is none of the 2 classes"),
        (["--set", "model.kwargs.num_classes=4"], "head.bias is (3,), the model has (4,)"),
        (["--set", "engine.actors_per_pool=999"], "engine.actors_per_pool"),
    ],
)
def test_a_wrong_specification_ends_with_2_and_no_traceback(images, options, said):
    for command in (["run"], ["run", "--json"], ["plan"]):
        result = call(*command, images.spec_file(), "--local", *options)
        assert result.exit_code == 2
        assert said in result.stderr
        assert "Traceback" not in result.stderr
        assert result.stdout == ""
        assert images.files_written() == {}


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["nonsense"], ["run", "x.yaml", "--limit", "0"], ["run", "x.yaml", "--nonsense"]],
)
def test_wrong_usage_ends_with_2(arguments):
    assert call(*arguments).exit_code == 2


@pytest.mark.parametrize("date", ["soon", "../2026-01-31"])
def test_a_date_that_is_none_ends_with_2(images, date):
    result = call("run", images.spec_file(), "--local", "--date", date)
    assert result.exit_code == 2
    assert "expected YYYY-MM-DD" in result.stderr


def test_a_missing_specification_ends_with_2(tmp_path):
    result = call("run", tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert "none.yaml" in result.stderr


def test_too_many_failures_end_with_1(images):
    (images.folder / "data/a/0.png").write_bytes(b"")
    result = run(images, "--json")
    assert result.exit_code == 1
    assert "1 of 12 samples failed" in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_breached_gate_ends_with_3_and_still_prints_the_object(images):
    (images.folder / "data/a/0.png").write_bytes(b"")
    result = run(
        images, "--json", "--set", "failures.max_count=1", "--set", "gates.max_failed_fraction=0"
    )
    assert result.exit_code == 3
    assert one_object(result)["counts"]["failed"] == 1


def test_a_message_stays_on_one_line_whatever_its_length_and_brackets(images):
    name = "[red]" + "x" * 200 + "[/]"
    result = run(images, "--set", f"checkpoints='/none/{name}.pt'")
    assert result.stderr.splitlines()[-1].count(name) == 1


def test_verbose_shows_the_traceback(images):
    result = run(images, "--set", "vog.window=none", "--verbose")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "vog.window" in result.stderr.splitlines()[-1]


def test_a_plan_writes_nothing_and_counts_what_is_new_and_reused(images):
    planned = one_object(call("plan", images.spec_file(), "--local", "--json", *DATE))
    assert images.files_written() == {}
    assert (planned["num_shards"], planned["num_new"], planned["num_reused"]) == (12, 3, 0)
    assert planned["expected_s"] is None
    summary = one_object(run(images, "--json"))
    before = images.files_written()
    again = one_object(call("plan", images.spec_file(), "--local", "--json", *DATE))
    assert images.files_written() == before
    assert (again["num_new"], again["num_reused"]) == (0, 3)
    assert again["run_id"] == planned["run_id"] == summary["run_id"]


def test_a_plan_is_shown_as_a_table(images):
    result = call("plan", images.spec_file(), "--local")
    assert result.exit_code == 0
    assert "unknown" in result.stderr
    assert "epoch_0.safetensors" in result.stderr


def test_calibration_gives_a_duration_and_writes_nothing(images):
    result = call("plan", images.spec_file(), "--local", "--json", "--calibrate")
    assert one_object(result)["expected_s"] > 0
    assert images.files_written() == {}


def test_a_limit_takes_the_first_shards(images):
    counts = one_object(run(images, "--json", "--limit", "5"))["counts"]
    assert counts["entered"] == 5


def test_an_override_changes_the_run(images):
    elsewhere = images.folder / "elsewhere"
    summary = one_object(run(images, "--json", "--set", f"output={elsewhere}"))
    assert summary["manifest"].startswith(str(elsewhere))
    assert images.files_written() == {}


def status(small_set):
    return one_object(call("status", small_set.out, "--json"))


@pytest.mark.parametrize("command", ["status", "report", "diff", "correct", "export", "review"])
def test_a_specification_in_place_of_its_output_is_refused(images, command):
    done = call(command, images.spec_file())
    assert done.exit_code == 2
    assert "give the folder that has the runs" in " ".join(done.stderr.replace("│", " ").split())


def test_status_before_after_a_failure_and_after_a_run(images):
    empty = status(images)
    assert (empty["runs"], empty["num_units"]) == ([], 0)
    (images.folder / "data/a/0.png").write_bytes(b"")
    assert run(images).exit_code == 1
    (failed,) = status(images)["runs"]
    assert failed["state"] == "failed"
    assert "1 of 12 samples failed" in failed["message"]
    assert run(images, "--set", "failures.max_count=1").exit_code == 0
    (complete,) = status(images)["runs"]
    assert (complete["run_id"], complete["state"]) == (failed["run_id"], "complete")
    assert complete["counts"]["failed"] == 1
    assert status(images)["num_units"] == 1


def test_status_of_an_interrupted_run_counts_what_is_committed(images):
    run(images)
    shutil.rmtree(images.out / "runs")
    assert (status(images)["runs"], status(images)["num_parts"]) == ([], 1)


def test_status_is_shown_as_a_table(images):
    assert "no finished run" in call("status", images.out).stdout
    run(images)
    shown = call("status", images.out).stdout
    assert "complete" in shown
    assert "2026-01-31-" in shown
