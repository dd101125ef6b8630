import numpy as np
import pytest

from ray_audit.scores.fit_profile import FitProfile


def of(csl, correct, losses=None):
    return FitProfile.of(np.asarray(csl, float), np.asarray(correct, float), None, losses)


def many(seed=0, num=200, num_checkpoints=8):
    rng = np.random.default_rng(seed)
    return rng.gamma(1.0, 1.0, num), rng.random((num, num_checkpoints)) < 0.6


def test_parts_add_up_in_any_order():
    csl, correct = many()
    losses = np.random.default_rng(1).gamma(1.0, 1.0, correct.shape)
    parts = [of(csl[i::3], correct[i::3], losses[i::3]) for i in range(3)]
    for order in ([0, 1, 2], [2, 0, 1]):
        first, second, third = (parts[i] for i in order)
        whole = first.merge(second).merge(third)
        for name in ("bins", "counts", "missed", "moments"):
            expected = getattr(of(csl, correct, losses), name)
            np.testing.assert_array_equal(getattr(whole, name), expected)


def test_memorised_labels_are_fitted_in_the_end_only():
    csl = np.append(np.full(19, 0.1), 3.0)
    correct = np.ones((20, 8))
    correct[-1, :6] = 0
    profile = of(csl, correct)
    assert profile.fitted == 1.0
    assert profile.agreement == 1.0
    assert profile.gain == pytest.approx(0.05)


def test_labels_that_stay_contradicted_are_not_fitted():
    csl = np.append(np.full(19, 0.1), 3.0)
    correct = np.append(np.ones((19, 4)), np.zeros((1, 4)), axis=0)
    profile = of(csl, correct)
    assert profile.fitted == pytest.approx(0.0)
    assert profile.agreement == pytest.approx(0.95)


def test_of_equal_losses_all_count_alike_whatever_their_order():
    correct = np.array([[1.0], [0.0], [0.0], [1.0]])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]):
        assert of(np.ones(4), correct[order]).fitted == pytest.approx(0.5)


def test_a_loss_of_zero_and_one_sample_are_no_error():
    profile = of([0.0], [[1.0]])
    assert (profile.fitted, profile.agreement, profile.gain) == (1.0, 1.0, 0.0)


def losses_of(wobble, num=500, seed=0):
    """Each label has a loss of its own, and another one at each of six checkpoints."""
    rng = np.random.default_rng(seed)
    return rng.gamma(1.0, 1.0, (num, 1)) + wobble * rng.gamma(1.0, 1.0, (num, 6))


@pytest.mark.parametrize("wobble", [0.0, 0.2, 1.0, 3.0])
def test_settled_is_the_correlation_of_the_last_two_checkpoints(wobble):
    losses = losses_of(wobble)
    expected = np.corrcoef(losses[:, -1], losses[:, -2])[0, 1]
    found = of(losses.mean(axis=1), losses < 0.7, losses).settled
    assert found == pytest.approx(expected, abs=2e-3)


def test_samples_that_left_early_do_not_say_that_a_training_settled():
    losses = losses_of(1.0)
    reached = np.ones(losses.shape, bool)
    reached[::2, 1:-1] = False
    losses[~reached] = np.nan
    found = FitProfile.of(np.ones(500), np.ones(losses.shape), reached, losses).settled
    expected = np.corrcoef(losses[1::2, -1], losses[1::2, -2])[0, 1]
    assert found == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    "losses", [np.ones((9, 1)), np.ones((9, 4)), np.eye(9)[:, :2] * [1.0, 0.0], np.ones((1, 2))]
)
def test_one_checkpoint_and_equal_losses_say_nothing(losses):
    assert np.isnan(of(losses.mean(axis=1), losses < 0.7, losses).settled)
