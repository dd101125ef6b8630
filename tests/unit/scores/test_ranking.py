import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from ray_audit.scores.ranking import (
    RankHistogram,
    combine_ranks,
    rank_fraction,
)

numbers = st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=30)


def observed(values):
    return RankHistogram.empty().observe(np.array(values, np.float64))


def slow_cdf(values, value):
    return (sum(v < value for v in values) + 0.5 * sum(v == value for v in values)) / len(values)


@given(st.lists(st.integers(-4000, 4000), min_size=1, max_size=30))
def test_ranks_of_short_numbers_are_exact(values):
    expected = [slow_cdf(values, value) for value in values]
    np.testing.assert_allclose(observed(values).cdf(np.array(values, float)), expected)


@given(numbers)
def test_ranks_never_contradict_the_order(values):
    values = np.sort(np.array(values, np.float64))
    ranks = observed(values).cdf(values)
    assert (np.diff(ranks) >= 0).all()
    assert ((ranks > 0) & (ranks < 1)).all()


@given(numbers)
def test_ranks_of_negated_values_are_mirrored(values):
    values = np.array(values, np.float64)
    np.testing.assert_allclose(observed(-values).cdf(-values), 1 - observed(values).cdf(values))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_ranks_agree_with_a_sort_at_any_scale(scale):
    values = np.random.default_rng(0).lognormal(0, 2, 5000) * scale
    values[::3] *= -1
    exact = (rankdata(values) - 0.5) / len(values)
    assert np.abs(observed(values).cdf(values) - exact).max() < 2e-3


def test_histogram_stays_small():
    values = np.random.default_rng(0).exponential(1, 300_000)
    assert len(observed(values).bins) < 60_000


def test_states_merge_in_any_order():
    values = np.random.default_rng(1).normal(size=100).round(1)
    a, b, c = (observed(part) for part in np.array_split(values, 3))
    whole = observed(values)
    for merged in (
        a.merge(b).merge(c),
        a.merge(c.merge(b)),
        RankHistogram.empty().merge(observed(values)),
    ):
        assert merged.bins.tolist() == whole.bins.tolist()
        assert merged.counts.tolist() == whole.counts.tolist()


def test_nan_is_not_counted_and_has_no_rank():
    histogram = observed([1.0, np.nan, 2.0])
    assert histogram.counts.sum() == 2
    assert histogram.cdf(np.array([2.0, np.nan]))[0] == 0.75
    assert math.isnan(histogram.cdf(np.array([np.nan]))[0])


def test_infinities_rank_at_the_ends():
    values = np.array([-np.inf, 0.0, np.inf])
    assert observed(values).cdf(values) == pytest.approx([1 / 6, 0.5, 5 / 6])


def test_zero_has_one_sign():
    assert observed([0.0, -0.0]).cdf(np.array([-0.0, 0.0])).tolist() == [0.5, 0.5]


def test_an_empty_histogram_gives_no_ranks():
    assert np.isnan(RankHistogram.empty().cdf(np.ones(2))).all()
    assert RankHistogram.empty().cdf(np.empty(0)).shape == (0,)


def test_rank_fraction_is_high_for_the_suspicious_end():
    values = np.array([0.1, 0.5, 0.9])
    histogram = observed(values)
    assert rank_fraction(values, histogram, "higher").argmax() == 2
    assert rank_fraction(values, histogram, "lower").argmax() == 0


def test_combined_ranks_are_geometric_means_of_what_is_ranked_higher():
    ranks = np.array([[0.2, 0.4, np.nan], [0.4, np.nan, np.nan]])
    assert combine_ranks(ranks)[:2] == pytest.approx([1 - math.sqrt(0.8 * 0.6), 0.4])
    assert math.isnan(combine_ranks(ranks)[2])
    assert combine_ranks(np.empty((2, 0))).shape == (0,)


@given(numbers, st.floats(allow_nan=False, width=32))
def test_values_above_are_counted_by_bin(values, value):
    exact = sum(v > value for v in values)
    above = observed(values).num_above(np.array([value]))[0]
    assert above <= exact
    assert above == exact or any(v != value and np.isclose(v, value, rtol=1e-3) for v in values)


@given(numbers, st.floats(0, 1))
def test_a_quantile_is_passed_by_about_the_rest(values, fraction):
    value = observed(values).quantile(fraction)
    ordered = sorted(values)
    exact = ordered[min(int(fraction * len(values)), len(values) - 1)]
    assert np.isclose(value, exact, rtol=1e-3, atol=1e-300)


def test_nothing_has_no_quantile():
    assert math.isnan(RankHistogram.empty().quantile(0.5))


def test_weights_count_where_a_score_is_known():
    ranks = np.array([[0.2, 0.2, np.nan], [0.8, np.nan, np.nan]])
    combined = combine_ranks(ranks, np.array([3.0, 1.0]))
    np.testing.assert_allclose(combined, [1 - 0.8**0.75 * 0.2**0.25, 0.2, np.nan])


def test_a_rank_that_says_nothing_does_not_outvote_one_that_is_sure():
    sure = np.array([0.999, 0.6, 0.55])
    nothing = np.array([0.1, 0.9, 0.95])
    assert combine_ranks(np.stack([sure, nothing])).argmax() == 0
    assert ((sure + nothing) / 2).argmax() != 0
