from collections import Counter

import numpy as np
import pytest

from ray_audit.scores import confident
from ray_audit.scores.recount import (
    Counted,
    Recount,
    UpperHalves,
    cutoff,
    lower_halves,
    merge_tiles,
)
from tests.unit.scores.test_confident import data


def counted(labels, p, expected):
    """The second pass over one mask, pixel by pixel."""
    num_issues = num_below = num_wrong_below = 0
    wrong, right = [], []
    for y, x in np.ndindex(labels.shape):
        if labels[y, x] < 0:
            continue
        own, top = p[labels[y, x], y, x], int(p[:, y, x].argmax())
        is_wrong = p[top, y, x] > own
        num_issues += bool(is_wrong and p[top, y, x] >= expected.thresholds[top] - 1e-6)
        place = min(int(own * np.float32(expected.num_bins)), expected.num_bins - 1)
        num_below += place < expected.first_bin
        num_wrong_below += bool(place < expected.first_bin and is_wrong)
        if expected.first_bin <= place <= expected.last_bin:
            (wrong if is_wrong else right).append(own)
    values = (np.array(item, np.float32) for item in (wrong, right))
    return Counted(num_issues, num_below, num_wrong_below, *values)


def exact_cutoff(samples):
    halves = UpperHalves.of([])
    for item in samples:
        halves = halves.merge(UpperHalves.of([item]))
    found, lower = halves.place(), Counter()
    for item in samples if found else ():
        lower += lower_halves([item], found[0])
    return cutoff(halves, lower)


def flagged(labels, p, num_bins):
    state, _ = confident.observe(labels, p, num_bins)
    expected = Recount.of(state)
    samples = [counted(label, q, expected) for label, q in zip(labels, p, strict=True)]
    exact = exact_cutoff(samples)
    return np.array([exact.num_flagged(sample) for sample in samples])


@pytest.mark.parametrize("num_bins", [7, 1000])
@pytest.mark.parametrize("void", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_flagged_pixels_equal_the_exact_form(seed, void, num_bins):
    labels, p, _ = data(seed, num=3, size=20, void=void)
    expected = confident.find_issues(labels, p).sum(axis=(1, 2))
    np.testing.assert_array_equal(flagged(labels, p, num_bins), expected)


def test_flagged_pixels_equal_cleanlab():
    cleanlab = pytest.importorskip("cleanlab.segmentation.filter")
    labels, p, _ = data(9, num=4, size=24)
    expected = cleanlab.find_label_issues(labels, p, n_jobs=1, verbose=False)
    np.testing.assert_array_equal(flagged(labels, p, 1000), expected.sum(axis=(1, 2)))


@pytest.mark.parametrize("noise", [0.0, 0.9])
def test_nothing_and_nearly_everything_wrong(noise):
    labels, p, _ = data(2, num=2, size=16, noise=noise)
    expected = confident.find_issues(labels, p).sum(axis=(1, 2))
    np.testing.assert_array_equal(flagged(labels, p, 1000), expected)


def test_only_a_few_values_are_kept():
    labels, p, _ = data(0, num=6, size=64)
    expected = Recount.of(confident.observe(labels, p)[0])
    samples = [counted(label, q, expected) for label, q in zip(labels, p, strict=True)]
    assert sum(len(sample.wrong) + len(sample.right) for sample in samples) < 0.02 * labels.size


def test_ties_at_the_cutoff_are_shared():
    tied = np.full(2, 0.25, np.float32)
    samples = [
        Counted(3, 1, 1, tied, np.zeros(0, np.float32)),
        Counted(0, 0, 0, tied, np.full(1, 0.5, np.float32)),
    ]
    exact = exact_cutoff(samples)
    # Three issues: one below, and two of the four that tie.
    assert (exact.num_issues, exact.p_label, exact.tie_fraction) == (3, 0.25, 0.5)
    assert [exact.num_flagged(sample) for sample in samples] == [2.0, 1.0]


def test_right_ones_take_places_and_are_not_flagged():
    wrong, right = np.array([0.3], np.float32), np.array([0.1, 0.2], np.float32)
    exact = exact_cutoff([Counted(2, 0, 0, wrong, right)])
    assert exact.p_label == np.float32(0.2)
    assert exact.num_flagged(Counted(2, 0, 0, wrong, right)) == 0.0


def test_a_cutoff_beyond_what_was_kept():
    few = np.full(1, 0.5, np.float32)
    none = np.zeros(0, np.float32)
    everything = exact_cutoff([Counted(9, 3, 2, few, none)])
    assert everything.num_flagged(Counted(9, 3, 2, few, none)) == 3.0
    just_below = exact_cutoff([Counted(3, 3, 2, few, none)])
    assert just_below.num_flagged(Counted(3, 3, 2, few, none)) == 2.0
    nothing = exact_cutoff([Counted(0, 3, 2, few, none)])
    assert nothing.num_flagged(Counted(0, 3, 2, few, none)) == 0.0


def test_extreme_probabilities_keep_their_order():
    values = np.array([0.0, 1e-45, 1e-30, 1e-4, 0.5, 1.0], np.float32)
    none = np.zeros(0, np.float32)
    for num, value in enumerate(values, start=1):
        sample = Counted(num, 0, 0, values[::-1].copy(), none)
        exact = exact_cutoff([sample])
        assert np.float32(exact.p_label) == value
        assert exact.num_flagged(sample) == num


def test_tiles_add_up():
    a, b = np.array([0.1], np.float32), np.array([0.2, 0.3], np.float32)
    whole = merge_tiles([Counted(1, 2, 3, a, b), Counted(10, 20, 30, b, a)])
    assert (whole.num_issues, whole.num_below, whole.num_wrong_below) == (11, 22, 33)
    assert sorted(whole.wrong.tolist()) == sorted(whole.right.tolist())


def test_nothing_labelled():
    expected = Recount.of(confident.ConfidentState.empty(3))
    assert expected.thresholds == (2.0, 2.0, 2.0)
    none = np.zeros(0, np.float32)
    assert exact_cutoff([Counted(0, 0, 0, none, none)]).num_issues == 0
