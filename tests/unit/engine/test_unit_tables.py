import numpy as np
import pytest

from ray_audit.engine.reduce.summary import Summary
from ray_audit.engine.reduce.unit_tables import class_pairs_table, class_stats_table
from ray_audit.schemas import CLASS_STATS
from ray_audit.scores.class_pairs import ClassPairs
from ray_audit.scores.confident import ConfidentState
from ray_audit.scores.early_learning import curve, fit_onset
from ray_audit.task import Task

CLASSES = ["learnt", "never", "absent"]


def confusion(num_checkpoints, num=1000):
    """One class learnt along a curve of known onset, one never predicted, one absent."""
    counts = np.zeros((num_checkpoints, 3, 3), np.int64)
    share = curve(np.arange(1.0, num_checkpoints + 1), 0.8, 1.0, 3.0)
    counts[:, 0, 0] = np.rint(num * share)
    counts[:, 0, 2] = num - counts[:, 0, 0]  # the absent class is predicted, never given
    counts[:, 1, 0] = 0
    counts[:, 1, 2] = num
    return counts


def rows(counts, thresholds=None):
    return class_stats_table(ClassPairs.of_matrices(counts), thresholds, CLASSES, {}).to_pylist()


def test_counts_and_iou_equal_a_loop():
    counts = np.random.default_rng(0).integers(0, 9, (4, 3, 3))
    result = rows(counts)
    assert [(r["checkpoint"], r["class"]) for r in result] == [
        (e, name) for e in range(4) for name in CLASSES
    ]
    for row, (e, k) in zip(result, np.ndindex(4, 3), strict=True):
        given, predicted, correct = counts[e, k].sum(), counts[e, :, k].sum(), counts[e, k, k]
        assert (row["num_given"], row["num_predicted"]) == (given, predicted)
        assert row["num_correct"] == correct
        assert row["iou"] == pytest.approx(correct / (given + predicted - correct))
        assert row["predicted_as"] == counts[e, k].tolist()


def test_onset_of_a_known_curve_is_in_every_row_of_its_class():
    learnt = [row for row in rows(confusion(20)) if row["class"] == "learnt"]
    # 1 + c ln 10 rounded up: 8, as for the curve itself.
    assert [row["onset_epoch"] for row in learnt] == [8] * 20
    iou = np.array([row["iou"] for row in learnt])
    assert {row["onset_reason"] for row in learnt} == {fit_onset(iou).reason}


def test_a_class_that_is_never_learnt_or_absent_has_a_reason():
    by_class = {row["class"]: row for row in rows(confusion(20))}
    assert by_class["never"]["onset_epoch"] is by_class["absent"]["onset_epoch"] is None
    assert "never learnt" in by_class["never"]["onset_reason"]
    assert "never learnt" in by_class["absent"]["onset_reason"]


def test_a_class_absent_everywhere_has_neither_iou_nor_onset():
    counts = confusion(20)
    counts[:, :, 2] = 0
    absent = [row for row in rows(counts) if row["class"] == "absent"]
    assert {row["iou"] for row in absent} == {row["onset_epoch"] for row in absent} == {None}
    assert absent[0]["onset_reason"].startswith("0 epochs known")


def test_one_checkpoint_has_no_onset():
    result = rows(confusion(1))
    assert [row["onset_epoch"] for row in result] == [None] * 3
    assert result[0]["onset_reason"].startswith("1 epochs known")


def test_nothing_known_gives_the_columns_and_no_row():
    table = class_stats_table(None, None, CLASSES, {})
    assert table.num_rows == 0
    assert table.column_names == [column.name for column in CLASS_STATS]


def test_unknown_thresholds_are_null():
    thresholds = np.array([[np.nan, 0.5, 0.25]])
    assert [r["threshold"] for r in rows(confusion(1), thresholds)] == [None, 0.5, 0.25]
    assert [r["threshold"] for r in rows(confusion(1))] == [None] * 3


def test_thresholds_of_rows_are_means_at_each_checkpoint():
    empty = Summary(Task.CLASS)
    assert empty.thresholds is None
    counts = np.array([[[3, 1], [0, 0]], [[4, 0], [0, 0]]])
    sums = np.array([[2.0, 0.0], [3.0, 0.0]])
    summary = Summary(
        Task.CLASS, {"confusion": ClassPairs.of_matrices(counts), "p_label_sum": sums}
    )
    expected = np.array([[0.5, np.nan], [0.75, np.nan]])
    np.testing.assert_array_equal(summary.thresholds, expected)
    np.testing.assert_array_equal(empty.merge(summary).merge(summary).thresholds, expected)


def test_thresholds_of_pixels_are_known_at_the_last_checkpoint():
    state = ConfidentState.empty(2)
    state.class_sum[:], state.class_count[:] = [2.0, 0.0], [4, 0]
    counts = np.array([[[3, 1], [0, 0]], [[4, 0], [0, 0]]])
    summary = Summary(Task.DENSE, {"confusion": ClassPairs.of_matrices(counts), "confident": state})
    expected = np.array([[np.nan, np.nan], [0.5, np.nan]])
    np.testing.assert_array_equal(summary.thresholds, expected)


def test_of_many_classes_rows_of_the_matrix_are_null_and_the_rest_is_there():
    pairs = ClassPairs.of(np.array([[0, 1], [7, 7], [1, -1]]), np.array([0, 7, 2]), 1001)
    names = [f"c{index}" for index in range(1001)]
    table = class_stats_table(pairs, None, names, {})
    assert table["predicted_as"].null_count == table.num_rows == 2002
    (seen,) = (r for r in table.to_pylist() if r["class"] == "c7" and r["checkpoint"] == 1)
    assert (seen["num_given"], seen["num_correct"], seen["iou"]) == (1, 1, 1.0)
    differ = class_pairs_table(pairs, names, {}).to_pylist()
    assert [tuple(row.values()) for row in differ] == [(0, "c2", "c1", 1), (1, "c0", "c1", 1)]
