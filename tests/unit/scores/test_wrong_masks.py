"""Which masks have losses of their own."""

import numpy as np
import pytest

from ray_audit.scores.mixture import WrongShare
from ray_audit.scores.wrong_masks import WrongMasks, sampling_step, wrong_masks

NUM, NUM_WRONG = 60, 15


def losses(num_early=4, num_late=12, seed=0):
    """The first masks lose three times as much over the first checkpoints, and as much later."""
    rng = np.random.default_rng(seed)
    factor = np.where(np.arange(NUM) < NUM_WRONG, 3.0, 1.0)[:, None]
    noise = np.exp(rng.normal(0, 0.15, (NUM, 1)))
    early = np.repeat(0.5 * factor * noise, num_early, axis=1)
    late = np.exp(rng.normal(-3, 0.3, (NUM, num_late)))
    return np.concatenate([early, late], axis=1)


def test_masks_that_were_memorised_are_told_by_their_early_losses():
    found = wrong_masks(losses(), memorised=True)
    assert np.flatnonzero(found.holds(losses())).tolist() == list(range(NUM_WRONG))
    assert (found.start, found.stop <= 6) == (0, True)


def test_masks_that_were_not_memorised_are_told_by_the_mean_over_all_checkpoints():
    never = np.repeat(losses(num_late=0), 4, axis=1)
    found = wrong_masks(never, memorised=False)
    assert (found.start, found.stop, found.holds(never).sum()) == (0, 16, NUM_WRONG)


def test_masks_that_all_are_first_seen_as_are_told_by_the_losses_after_that():
    # Right masks lose more while the network draws all as the wrong ones are, wrong ones after it.
    rng, is_wrong = np.random.default_rng(0), np.arange(NUM) < NUM_WRONG
    first, then = np.where(is_wrong, 0.3, 0.9), np.where(is_wrong, 0.6, 0.2)
    means = np.stack([first] * 4 + [then] * 4 + [np.full(NUM, 0.05)] * 8, axis=1)
    seen = means * np.exp(rng.normal(0, 0.15, (NUM, 1)))
    found = wrong_masks(seen, memorised=True)
    assert (found.start, found.stop) == (4, 8)
    assert np.flatnonzero(found.holds(seen)).tolist() == list(range(NUM_WRONG))


@pytest.mark.parametrize("seed", range(5))
def test_of_losses_of_one_group_none_stands_apart(seed):
    one_group = losses(seed=seed)[NUM_WRONG:]
    found = wrong_masks(one_group, memorised=True)
    assert not found.holds(one_group).any()


def test_of_equal_losses_and_of_few_none_stands_apart():
    for equal in (np.full((NUM, 8), 0.3), losses()[:4], np.full((NUM, 8), np.nan)):
        assert not wrong_masks(equal, memorised=True).holds(equal).any()


def test_losses_of_checkpoints_that_a_mask_did_not_pass_do_not_count():
    some = np.array([[np.nan, 2.0, 0.0], [0.5, 0.4, 9.0], [np.nan, np.nan, 5.0], [1.5, 0.6, 0.0]])
    wrong = WrongMasks(WrongShare(0.5, 3.0, ""), start=0, stop=2, threshold=1.0)
    assert wrong.holds(some).tolist() == [True, False, False, True]


def test_of_many_masks_some_are_looked_at():
    assert [sampling_step(num) for num in (0, 200_000, 1_000_000)] == [1, 1, 5]
