"""Intervals of differences between scores."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from benchmarks.quality.intervals import ScoredRun, _auprc, differences, interval


def ends(runs, ours, other):
    return interval(differences(runs, ours, other))


def a_run(seed=0, num=200, strength=1.5, groups=None):
    rng = np.random.default_rng(seed)
    errors = rng.random(num) < 0.2
    values = {
        "good": errors * strength + rng.normal(size=num),
        "noise": rng.normal(size=num),
        "coarse": np.round(errors + rng.normal(size=num)),
    }
    values["noise"][::7] = np.nan
    return ScoredRun(errors, np.arange(num) if groups is None else groups, values)


@pytest.mark.parametrize("score", ["good", "noise", "coarse"])
def test_average_precision_of_drawn_samples_is_that_of_their_repetition(score):
    run = a_run()
    times = np.random.default_rng(1).multinomial(200, np.full(200, 1 / 200), size=4)
    known = ~np.isnan(run.suspicions[score])
    for weights, found in zip(times, _auprc(run, score, times.astype(float)), strict=True):
        rows = np.repeat(np.flatnonzero(known), weights[known])
        expected = average_precision_score(run.is_error[rows], run.suspicions[score][rows])
        assert found == pytest.approx(expected)


def test_a_score_against_itself_differs_by_nothing():
    assert ends([a_run(0), a_run(1)], "good", "good") == (0.0, 0.0)


def test_what_is_better_lies_above_and_what_is_alike_on_both_sides():
    runs = [a_run(seed) for seed in range(3)]
    low, high = ends(runs, "good", "noise")
    assert 0 < low < high
    assert ends(runs, "noise", "good") == pytest.approx((-high, -low))


def test_samples_that_are_drawn_together_tell_less():
    single = ends([a_run()], "good", "coarse")
    rng = np.random.default_rng(0)
    errors = np.repeat(rng.random(20) < 0.3, 10)
    good = errors * 1.5 + np.repeat(rng.normal(size=20), 10)
    coarse = errors + np.repeat(rng.normal(size=20), 10)
    groups = np.repeat(np.arange(20), 10)
    values = {"good": good, "coarse": coarse}
    alone = ends([ScoredRun(errors, np.arange(200), values)], "good", "coarse")
    together = ends([ScoredRun(errors, groups, values)], "good", "coarse")
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])
    assert single[0] < single[1]


def test_draws_without_an_error_are_left_out():
    errors = np.array([True, False, False])
    values = {"one": np.array([3.0, 2.0, 1.0]), "other": np.array([1.0, 2.0, 3.0])}
    low, high = ends([ScoredRun(errors, np.arange(3), values)], "one", "other")
    assert 0 <= low < high <= 1


def test_streams_draw_independently():
    one, same, other = (differences([a_run()], "good", "coarse", stream) for stream in (0, 0, 1))
    assert (one == same).all()
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.15
