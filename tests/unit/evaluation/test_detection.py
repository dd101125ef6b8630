import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ray_audit.errors import SpecificationError
from ray_audit.evaluation.detection import evaluate_scores, fpr_at_tpr, precision_at

HIGHER = {"score": "higher"}


def only(values, is_error, **options):
    (row,) = evaluate_scores({"score": values}, HIGHER, is_error, **options)
    return row


def test_hand_computed_values():
    row = only(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]))
    assert row.auroc == 0.75  # 3 of the 4 pairs of an error and a right one are in order
    assert row.auprc == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert row.fpr_at_95_tpr == 0.5
    assert (row.precision, row.lift) == (0.5, 1.0)
    assert (row.num_samples, row.num_errors, row.num_missing) == (4, 2, 0)


@pytest.mark.parametrize("seed", range(5))
def test_areas_are_those_of_scikit_learn_with_ties(seed):
    rng = np.random.default_rng(seed)
    errors = rng.random(200) < 0.2
    values = np.round(rng.normal(size=200) + errors, 1)
    row = only(values, errors)
    assert row.auroc == pytest.approx(roc_auc_score(errors, values))
    assert row.auprc == pytest.approx(average_precision_score(errors, values))


def test_lower_is_the_mirror_of_higher():
    rng = np.random.default_rng(0)
    values, errors = rng.normal(size=50), rng.random(50) < 0.3
    columns = {"up": values, "down": -values}
    up, down = evaluate_scores(columns, {"up": "higher", "down": "lower"}, errors)
    assert (up.auroc, up.auprc, up.fpr_at_95_tpr) == (down.auroc, down.auprc, down.fpr_at_95_tpr)
    assert (up.precision, up.lift) == (down.precision, down.lift)


def test_each_kind_is_held_against_the_right_samples():
    values = np.array([3.0, 1.0, 2.0, 2.5])
    errors = np.array([True, True, False, False])
    rows = evaluate_scores({"score": values}, HIGHER, errors, kinds=["swap", "drop", None, "swap"])
    found = {row.kind: (row.auroc, row.num_samples, row.num_errors) for row in rows}
    assert found == {"all": (0.5, 4, 2), "drop": (0.0, 3, 1), "swap": (1.0, 3, 1)}
    assert [row.kind for row in rows] == ["all", "drop", "swap"]


def test_nulls_are_left_out_and_counted():
    values = np.array([np.nan, 2.0, 1.0, np.nan])
    row = only(values, np.array([True, True, False, False]))
    assert (row.num_samples, row.num_errors, row.num_missing, row.auroc) == (2, 1, 2, 1.0)


@pytest.mark.parametrize(
    ("values", "errors", "reason"),
    [
        ([1.0, 2.0], [False, False], "no errors"),
        ([1.0, 2.0], [True, True], "every sample is an error"),
        ([math.nan, math.nan], [True, False], "no sample has this score"),
    ],
)
def test_one_class_is_no_number_with_a_reason(values, errors, reason):
    row = only(np.array(values), np.array(errors))
    assert row.reason == reason
    numbers = (row.auroc, row.auprc, row.fpr_at_95_tpr, row.precision, row.lift)
    assert all(math.isnan(number) for number in numbers)


def test_infinite_scores_are_ranks_like_others():
    row = only(np.array([np.inf, 1.0, -np.inf]), np.array([True, False, False]))
    assert row.auroc == 1.0


def test_ties_at_the_cut_count_by_their_mean():
    suspicion = np.array([2.0, 1.0, 1.0, 1.0, 0.0])
    errors = np.array([False, True, True, False, False])
    assert precision_at(suspicion, errors, 2) == pytest.approx((0 + 1 * 2 / 3) / 2)
    assert precision_at(suspicion, errors, 5) == pytest.approx(2 / 5)


def test_false_positive_rate_counts_right_samples_above_the_last_needed_error():
    suspicion = np.arange(40, dtype=float)
    errors = np.zeros(40, dtype=bool)
    errors[20:] = True
    errors[0] = True
    assert fpr_at_tpr(suspicion, errors, 0.95) == 0.0  # 20 of 21 errors come first
    assert fpr_at_tpr(suspicion, errors, 0.96) == 1.0


def test_a_score_without_direction_or_length_is_refused():
    with pytest.raises(SpecificationError, match="direction 'none'"):
        evaluate_scores({"score": np.ones(2)}, {"score": "none"}, np.ones(2, dtype=bool))
    with pytest.raises(SpecificationError, match="3 rows, is_error has 2"):
        only(np.ones(3), np.ones(2, dtype=bool))
