import numpy as np
import pytest

from ray_audit.scores import component_doubt
from ray_audit.scores.component_doubt import ComponentSample
from tests.support.states import assert_same_state

NUM_CLASSES = 3
CONFIDENCE = np.array([0.95, 0.7, 0.4])
"""Usual for each class."""


def masks(num=60, wrong=(5, 40), seed=0):
    """Of each mask components (C, 5); in wrong ones the largest has less than half the usual p."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(num):
        classes = rng.integers(0, NUM_CLASSES, rng.integers(1, 6))
        num_px = rng.integers(20, 200, len(classes))
        p = CONFIDENCE[classes] * rng.uniform(0.95, 1.0, len(classes))
        if index in wrong:
            p[num_px.argmax()] *= 0.4
        ids = np.arange(len(classes))
        found.append(np.stack([ids, classes, p * num_px, num_px, 7 * ids], axis=1).astype(float))
    return [f"m{index}" for index in range(num)], found


def state_of(names, components):
    return ComponentSample.of(names, components, NUM_CLASSES)


def test_masks_with_a_component_that_is_unsure_for_its_class_come_first():
    names, components = masks()
    doubts = state_of(names, components).finish().of(components)
    assert set(np.argsort(-doubts)[:2]) == {5, 40}
    assert 0 <= doubts.min() < doubts.max() < 1


def test_a_doubt_is_the_mean_over_pixels_of_what_components_lack():
    names, components = masks()
    found = state_of(names, components).finish()
    every = np.concatenate(components)
    for index in (0, 5):
        lack = 0.0
        for _, k, total, num_px, _ in components[index]:
            own = every[every[:, 1] == k]
            lack += num_px * max(0.0, own[:, 2].sum() / own[:, 3].sum() - total / num_px)
        expected = lack / components[index][:, 3].sum()
        assert found.of([components[index]])[0] == pytest.approx(expected, abs=1e-5)


def test_a_deviation_is_counted_in_spreads_of_the_class_and_weighs_by_the_root_of_pixels():
    names, components = masks()
    found = state_of(names, components).finish()
    every = np.concatenate(components)
    for index in (0, 5, 17):
        lack, weights = 0.0, 0.0
        for _, k, total, num_px, _ in components[index]:
            own = every[every[:, 1] == k]
            p, root = own[:, 2] / own[:, 3], np.sqrt(own[:, 3])
            middle = np.average(p, weights=root)
            spread = np.sqrt(np.average((p - middle) ** 2, weights=root))
            lack += np.sqrt(num_px) * max(0.0, middle - total / num_px) / (spread + 0.05)
            weights += np.sqrt(num_px)
        assert found.deviations([components[index]])[0] == pytest.approx(lack / weights, abs=1e-5)


def test_a_small_component_deviates_by_what_is_unusual_in_its_class():
    # The large class differs by .2 from mask to mask anyway, the small one hardly.
    rng = np.random.default_rng(0)
    large, small = rng.uniform(0.5, 0.9, 40), rng.uniform(0.79, 0.81, 40)
    large[3], small[7] = 0.5, 0.5
    components = [
        np.array([[0, 0, p * 400, 400, 0], [1, 1, q * 100, 100, 0]])
        for p, q in zip(large, small, strict=True)
    ]
    found = state_of([f"m{index}" for index in range(40)], components).finish()
    assert found.deviations(components).argmax() == 7
    assert found.of(components).argmax() != 7


@pytest.mark.parametrize("score", ["of", "deviations"])
def test_masks_labelled_in_single_pixels_are_not_wrong_for_that(score):
    rng, found = np.random.default_rng(0), []
    for index in range(40):
        p = np.clip(CONFIDENCE[:2] + rng.normal(0, 0.4, (200, 2)), 0, 1)
        if index in (4, 8):
            p[:, 0] *= 0.8
        rows = [[k, p[:, k].sum(), 200] for k in (0, 1)]
        if index % 2:  # every second pixel is labelled, and none beside another
            rows = [[k, value, 1] for k in (0, 1) for value in p[::2, k]]
        found.append(np.array([[place, *row, place] for place, row in enumerate(rows)]))
    usual = state_of([f"m{index}" for index in range(40)], found).finish()
    assert set(np.argsort(-getattr(usual, score)(found))[:2]) == {4, 8}


def test_specks_of_a_class_in_a_mask_are_one_component():
    apart = [[0, 1, 0.5, 1, 0], [1, 1, 1.5, 2, 5], [2, 0, 2.0, 3, 9], [3, 1, 2.0, 4, 20]]
    together = [[0, 1, 2.0, 3, 0], [2, 0, 2.0, 3, 9], [3, 1, 2.0, 4, 20]]
    names, components = masks(4)
    found = []
    for sample in (np.array(apart), np.array(together)):
        state = state_of([*names, "s"], [*components, sample])
        usual = state.finish()
        found.append([state.class_moments, usual.of([sample]), usual.deviations([sample])])
    for one, other in zip(*found, strict=True):
        assert np.allclose(one, other)


@pytest.mark.parametrize("most", [4096, 20])
def test_parts_add_up_in_any_order(most, monkeypatch):
    monkeypatch.setattr(component_doubt, "MAX_MASKS", most)
    names, components = masks()
    parts = [state_of(names[i::3], components[i::3]) for i in range(3)]
    one = parts[0].merge(parts[1]).merge(parts[2])
    other = parts[2].merge(parts[0].merge(parts[1]))
    whole = state_of(names, components)
    assert len(whole.digests) == min(most, len(names))
    assert np.allclose(one.class_sum, whole.class_sum)
    assert np.allclose(one.class_moments, whole.class_moments)
    for name in ("distribution", "distribution_of_deviations"):
        first, *others = (getattr(state.finish(), name) for state in (one, whole, other))
        for found in others:
            assert_same_state(first, found)


def test_a_sample_of_masks_stands_for_all(monkeypatch):
    names, components = masks(num=2000, wrong=range(0, 2000, 20))
    whole = state_of(names, components).finish()
    monkeypatch.setattr(component_doubt, "MAX_MASKS", 500)
    some = state_of(names, components).finish()
    doubts = whole.of(components)
    assert np.array_equal(doubts, some.of(components))
    ranks = whole.distribution.cdf(doubts), some.distribution.cdf(doubts)
    assert np.abs(ranks[0] - ranks[1]).max() < 0.06


def test_equal_masks_tie_whatever_rounding_makes_of_them():
    names = [f"m{index}" for index in range(7)]
    components = [np.array([[0, 0, 90.0 + 1e-6 * (i % 3), 100, 0]]) for i in range(7)]
    found = state_of(names, components).finish()
    assert len(set(found.of(components))) == len(set(found.deviations(components))) == 1
    assert found.distribution.is_constant
    assert found.distribution_of_deviations.is_constant


def test_a_mask_without_components_has_no_doubt_and_no_mask_no_distribution():
    empty = np.empty((0, 5))
    found = state_of(["m"], [empty]).finish()
    assert np.isnan(found.of([empty])).all()
    assert np.isnan(found.deviations([empty])).all()
    assert len(state_of([], []).finish().distribution.bins) == 0
