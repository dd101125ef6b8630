import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_audit.scores import csl, dynamics

bits = st.lists(st.integers(0, 1), min_size=1, max_size=8)


@given(bits)
def test_forgetting_counts_right_then_wrong(row):
    actual = dynamics.forgetting(np.array([row]))[0]
    expected = sum(a == 1 and b == 0 for a, b in itertools.pairwise(row))
    assert math.isnan(actual) if len(row) < 2 else actual == expected


@given(bits)
def test_learning_time_is_the_start_of_the_last_unbroken_run(row):
    times = [e + 1 for e in range(len(row)) if all(row[e:])]
    result = dynamics.learning_time(np.array([row]))[0]
    assert result == times[0] if times else math.isnan(result)


@given(bits)
def test_correctness_counts(row):
    assert dynamics.correctness(np.array([row]))[0] == sum(row)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=9))
def test_mean_loss_is_at_least_the_loss_of_the_mean_probability(row):
    p = np.array([row])
    assert csl.csl(-np.log(p))[0] >= -np.log(dynamics.confidence(p)[0]) - 1e-12


def test_constant_probability_gives_equality_and_no_variability():
    p = np.full((1, 4), 0.3)
    assert csl.csl(-np.log(p))[0] == pytest.approx(-np.log(0.3))
    assert dynamics.variability(p)[0] == pytest.approx(0, abs=1e-12)


def test_variability_is_the_population_spread():
    assert dynamics.variability(np.array([[0.2, 0.6]]))[0] == pytest.approx(0.2)


def test_closeness_is_largest_at_even_odds():
    p = np.array([[0.5, 0.5], [0.9, 0.9], [0.0, 0.0]])
    assert dynamics.closeness(p) == pytest.approx([0.25, 0.09, 0.0])


@pytest.mark.parametrize(
    "score",
    [
        dynamics.confidence,
        dynamics.variability,
        dynamics.aum,
        dynamics.prob_margin,
        dynamics.el2n,
        dynamics.correctness,
        dynamics.forgetting,
        dynamics.learning_time,
    ],
)
class TestEdges:
    def test_no_checkpoint_is_null(self, score):
        assert np.isnan(score(np.empty((3, 0)))).tolist() == [True] * 3

    def test_no_sample_is_empty(self, score):
        assert score(np.empty((0, 4))).shape == (0,)

    def test_nan_is_passed_on(self, score):
        result = score(np.array([[1.0, np.nan], [1.0, 1.0]]))
        assert np.isnan(result).tolist() == [True, False]


def test_dense_fractions_count_as_right_from_one_half():
    assert dynamics.learning_time(np.array([[0.2, 0.5, 0.9]]))[0] == 2
    assert dynamics.correctness(np.array([[0.25, 0.5]]))[0] == pytest.approx(0.75)


def test_a_planted_wrong_label_lies_at_the_suspicious_end():
    p = np.array([[0.6, 0.8, 0.9], [0.1, 0.05, 0.2]])
    wrong = p < 0.5
    assert dynamics.confidence(p)[1] < dynamics.confidence(p)[0]
    assert dynamics.aum(np.log(p / (1 - p)))[1] < 0 < dynamics.aum(np.log(p / (1 - p)))[0]
    assert dynamics.el2n((1 - p) * np.sqrt(2)).argmax() == 1
    assert dynamics.correctness(~wrong).tolist() == [3, 0]
