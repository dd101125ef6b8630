import numpy as np
import pytest

from ray_audit.corrections.extent import ChangeCounts, refusal
from ray_audit.corrections.refurbish import flagged, refurbish
from ray_audit.samples import IGNORE

RNG = np.random.default_rng(2)
K = 3


def probabilities(shape):
    z = RNG.normal(0, 2, (K, *shape))
    return np.exp(z) / np.exp(z).sum(axis=0)


def test_refurbishing_equals_a_loop():
    labels, where = RNG.integers(-1, K, (8, 9)), RNG.random((8, 9)) < 0.5
    p = probabilities(labels.shape)
    done = refurbish(labels, p, 0.6, where)
    for y, x in np.ndindex(8, 9):
        best = int(np.argmax(p[:, y, x]))
        replaced = labels[y, x] != IGNORE and where[y, x] and p[best, y, x] > 0.6
        assert done.labels[y, x] == (best if replaced else labels[y, x])
        if labels[y, x] != IGNORE:
            assert done.p_given[y, x] == p[labels[y, x], y, x]
            assert done.p_new[y, x] == p[done.labels[y, x], y, x]


def test_a_memorised_label_gives_way_to_the_best_other_class():
    p = np.array([[0.96], [0.035], [0.005]])
    given = np.array([0])
    assert refurbish(given, p, 0.8).labels.tolist() == [0]
    done = refurbish(given, p, 0.8, memorised=True)
    assert done.labels.tolist() == [1]
    assert done.p_new.tolist() == [0.035]


def test_a_doubtful_other_class_does_not_replace_a_memorised_label():
    p = np.array([[0.96], [0.02], [0.02]])
    assert refurbish(np.array([0]), p, 0.8, memorised=True).labels.tolist() == [0]


def test_probability_one_for_the_given_class_has_no_other():
    p = np.array([[1.0], [0.0], [0.0]])
    assert refurbish(np.array([0]), p, 0.5, memorised=True).labels.tolist() == [0]


def test_what_is_not_labelled_stays_so():
    p = np.array([[0.0], [1.0], [0.0]])
    assert refurbish(np.array([IGNORE]), p, 0.5).labels.tolist() == [IGNORE]


@pytest.mark.parametrize("confidence", [-0.1, 90])
def test_confidence_is_a_fraction(confidence):
    with pytest.raises(ValueError, match="confidence"):
        refurbish(np.array([0]), np.ones((K, 1)), confidence)


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="shape"):
        refurbish(np.zeros((2, 2), int), np.ones((K, 4)), 0.5)


def test_the_most_suspicious_are_flagged():
    chosen = flagged(np.array([0.2, np.nan, 0.9, 0.5, 0.1]), 0.4)
    assert np.flatnonzero(chosen).tolist() == [2, 3]
    assert not flagged(np.array([np.nan, np.nan]), 1.0).any()


def test_changes_are_counted_by_pair_and_add_up():
    before, after = np.array([0, 0, 1, IGNORE]), np.array([1, 0, 2, IGNORE])
    half = np.full(4, 0.5)
    result = ChangeCounts.of(before, after, half, half, K)
    both = result.merge(result).merge(ChangeCounts.none(K))
    assert both.num_changed == 4
    assert both.num_elements == 6
    assert both.pairs[0, 1] == 2
    assert both.pairs[1, 2] == 2
    assert both.harmed == 2.0


def test_a_rule_that_changes_too_much_is_refused():
    before, after = np.zeros((2, 5), int), np.zeros((2, 5), int)
    after[0] = 1
    assert refusal(before, after, None, 0.5) is None
    assert "50%" in refusal(before, after, None, 0.4)


def test_a_rule_that_empties_an_image_is_refused():
    before, after = np.zeros((10, 10), int), np.zeros((10, 10), int)
    before[:1] = 1
    assert "empty" in refusal(before, after, 0, 1.0)
    assert refusal(before, after, None, 1.0) is None
    after[0, :6] = 1
    assert refusal(before, after, 0, 1.0) is None


def test_nothing_labelled_is_nothing_refused():
    nothing = np.full((2, 2), IGNORE)
    assert refusal(nothing, nothing, 0, 0.1) is None


def test_of_equally_suspicious_samples_that_do_not_all_fit_none_is_flagged():
    suspicion = np.array([0.5, 0.9, 0.5, 0.5])
    assert flagged(suspicion, 0.5).tolist() == [False, True, False, False]
    assert flagged(suspicion, 1.0).all()
    assert not flagged(np.full(6, 0.3), 0.5).any()
