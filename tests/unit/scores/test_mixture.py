"""The share of wrong samples by their losses: near the truth where two groups lie apart, else 0."""

import numpy as np
import pytest

from ray_audit.scores.mixture import MIN_SAMPLES, wrong_share


def losses(num, share, seed, factor=6.0):
    rng = np.random.default_rng(seed)
    num_wrong = round(share * num)
    right = rng.lognormal(-1.5, 0.35, num - num_wrong)
    return np.concatenate([right, factor * rng.lognormal(-1.5, 0.35, num_wrong)])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.45])
@pytest.mark.parametrize("seed", range(3))
def test_the_share_is_near_the_truth_where_losses_lie_apart(share, seed):
    assert wrong_share(losses(80, share, seed)).fraction == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_what_most_samples_have_is_no_error(seed):
    share = wrong_share(losses(80, 0.7, seed))
    assert share.fraction == 0.0
    assert "more than can be wrong" in share.reason


@pytest.mark.parametrize("seed", range(10))
def test_one_group_of_losses_tells_of_no_errors(seed):
    share = wrong_share(losses(80, 0.0, seed))
    assert share.fraction == 0.0
    assert "form one group" in share.reason


def test_the_order_of_samples_and_unknown_losses_do_not_count():
    values = losses(60, 0.3, 0)
    shuffled = np.random.default_rng(1).permutation(np.append(values, [np.nan, np.inf]))
    assert wrong_share(shuffled).fraction == wrong_share(values).fraction


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_samples_does_not_count_where_two_groups_are_hardly_apart(seed):
    values, rng = losses(80, 0.1, seed, factor=4.0), np.random.default_rng(seed)
    assert len({wrong_share(rng.permutation(values)) for _ in range(8)}) == 1


@pytest.mark.parametrize("values", [np.ones(100), np.zeros(100), np.ones(MIN_SAMPLES - 1), []])
def test_too_few_or_equal_losses_tell_nothing(values):
    share = wrong_share(np.array(values))
    assert share.fraction == 0.0
    assert np.isnan(share.gap)
