"""Which early checkpoints are chosen to mend memorised masks."""

import numpy as np
import pytest

from ray_audit.corrections.early_window import MAX_CHECKPOINTS, LookedAt, best_window

NUM, NUM_FLAGGED = 4000, 1200
RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 2, NUM)
IS_FLAGGED = np.arange(NUM) < NUM_FLAGGED
GIVEN = np.where(IS_FLAGGED & (RNG.random(NUM) < 0.3), 1 - TRUE, TRUE)


def sees(classes, sureness, error=0.0):
    """(2, N) probabilities of a checkpoint that sees these classes, but for a share of errors."""
    seen = np.where(RNG.random(NUM) < error, 1 - classes, classes)
    p = np.full((2, NUM), 1 - sureness)
    p[seen, np.arange(NUM)] = sureness
    return p


def looked_at(*checkpoints, is_flagged=IS_FLAGGED):
    return LookedAt(np.stack(checkpoints), GIVEN, is_flagged)


def test_checkpoints_that_know_better_than_the_labels_are_chosen():
    unlearnt, knowing, learnt = sees(TRUE, 0.6, 0.4), sees(TRUE, 0.9, 0.02), sees(GIVEN, 0.97)
    found = best_window(looked_at(unlearnt, unlearnt, knowing, knowing, learnt, learnt))
    assert 2 <= found.first < found.stop <= 4
    assert found.gain.wrong_before == pytest.approx(0.3, abs=0.08)
    assert found.gain.is_clear


def test_where_all_checkpoints_have_learnt_the_labels_no_gain_is_clear():
    assert not best_window(looked_at(*[sees(GIVEN, 0.97)] * 5)).gain.is_clear


def test_a_window_is_no_longer_than_said():
    alike = [sees(TRUE, 0.8, 0.1) for _ in range(20)]
    found = best_window(looked_at(*alike))
    assert 1 < found.stop - found.first <= MAX_CHECKPOINTS


@pytest.mark.parametrize("is_flagged", [np.zeros(NUM, bool), np.ones(NUM, bool)])
def test_without_flagged_masks_or_others_nothing_is_promised(is_flagged):
    found = best_window(looked_at(*[sees(TRUE, 0.9)] * 3, is_flagged=is_flagged))
    assert found.gain is None
    assert 0 <= found.first < found.stop <= 3


def test_one_candidate_is_the_window():
    found = best_window(looked_at(sees(TRUE, 0.9, 0.02)))
    assert (found.first, found.stop) == (0, 1)
