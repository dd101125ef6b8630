import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from ray_audit.console.evaluation import detection_table
from ray_audit.errors import LabelError
from ray_audit.evaluation.truth import (
    directed_columns,
    evaluate_table,
    join_truth,
    read_truth,
)
from ray_audit.training.noise import TruthRow, truth_table

TRUTH = truth_table(
    [
        TruthRow("a", is_error=True, kind="swap", wrong_px=3),
        TruthRow("b", is_error=False),
        TruthRow("c", is_error=True, kind="drop", wrong_px=1),
        TruthRow("z", is_error=False),
    ]
)


def scores():
    def column(name, direction, kind):
        metadata = {"direction": direction} if direction else None
        return pa.field(name, kind, metadata=metadata)

    schema = pa.schema(
        [
            column("sample_id", "", pa.string()),
            column("csl", "higher", pa.float64()),
            column("correctness", "lower", pa.int32()),
            column("vog", "none", pa.float64()),
            column("late_loss", "higher", pa.float64()),
        ]
    )
    rows = {
        "sample_id": ["b", "c", "x", "a"],
        "csl": [1.0, 2.0, 5.0, 3.0],
        "correctness": [4, 5, 0, None],
        "vog": [1.0, 1.0, 1.0, 1.0],
        "late_loss": [None] * 4,
    }
    return pa.table(rows, schema=schema)


def test_join_is_by_name_in_the_order_of_the_scores():
    joined = join_truth(scores(), TRUTH)
    assert joined.table["sample_id"].to_pylist() == ["b", "c", "a"]
    assert joined.is_error.tolist() == [False, True, True]
    assert joined.kinds.tolist() == ["", "drop", "swap"]
    assert (joined.num_without_truth, joined.num_without_score) == (1, 1)


def test_only_scores_with_a_direction_and_a_value_are_measured():
    assert directed_columns(scores().schema) == {
        "csl": "higher",
        "correctness": "lower",
        "late_loss": "higher",
    }
    found = {(row.score, row.kind): row for row in evaluate_table(scores(), TRUTH)}
    assert {score for score, _ in found} == {"csl", "correctness"}
    assert found["csl", "all"].auroc == 1.0
    assert found["correctness", "all"].auroc == 0.0
    assert found["correctness", "swap"].reason == "no errors"
    assert found["correctness", "swap"].num_missing == 1


def test_nothing_in_common_is_an_error():
    with pytest.raises(LabelError, match="no sample of the truth"):
        join_truth(scores(), TRUTH.slice(3))


@pytest.mark.parametrize("name", ["truth.parquet", "truth.csv"])
def test_truth_files_are_read_alike(tmp_path, name):
    path = tmp_path / name
    if name.endswith("csv"):
        path.write_text("sample_id,is_error,kind\n01,1,swap\n02,0,\n")
    else:
        table = pa.table({"sample_id": ["01", "02"], "is_error": [1, 0], "kind": ["swap", None]})
        pq.write_table(table, path)
    truth = read_truth(str(path))
    joined = join_truth(pa.table({"sample_id": ["02", "01"]}), truth)
    assert joined.is_error.tolist() == [False, True]
    assert joined.kinds.tolist() == ["", "swap"]


@pytest.mark.parametrize(
    "names", [pa.array(["1", "2"]).dictionary_encode(), pa.array([1, 2]), pa.array([b"1", b"2"])]
)
def test_names_are_text_however_they_are_stored(tmp_path, names):
    pq.write_table(pa.table({"sample_id": names, "is_error": [1, 0]}), tmp_path / "t.parquet")
    joined = join_truth(
        pa.table({"sample_id": ["2", "1"]}), read_truth(str(tmp_path / "t.parquet"))
    )
    assert joined.is_error.tolist() == [False, True]


def test_names_that_cannot_be_text_are_refused(tmp_path):
    pq.write_table(pa.table({"sample_id": [["a"]], "is_error": [1]}), tmp_path / "t.parquet")
    with pytest.raises(LabelError, match="sample_id is of type list"):
        read_truth(str(tmp_path / "t.parquet"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample_id,kind\na,swap\n", "no column is_error"),
        ("sample_id,is_error\na,1\na,0\n", "not unique"),
        ("a,b\n1\n", "neither Parquet nor CSV"),
    ],
)
def test_bad_truth_files_are_named(tmp_path, text, message):
    path = tmp_path / "truth.csv"
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        read_truth(str(path))


def test_screen_shows_the_best_score_first_and_a_dash_for_no_number():
    shown = Console(file=io.StringIO(), width=120)
    shown.print(detection_table("found", evaluate_table(scores(), TRUTH)))
    lines = shown.file.getvalue().splitlines()
    body = [line for line in lines if "csl" in line or "correctness" in line]
    assert "csl" in body[0]
    assert "-" in body[1]
    assert any("lift" in line and "drop" in line and "swap" in line for line in lines)
