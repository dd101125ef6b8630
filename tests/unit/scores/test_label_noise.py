import numpy as np
import pytest

from ray_audit.scores import confident
from ray_audit.scores.label_noise import (
    NoiseState,
    estimate_pixels,
    wilson_interval,
)
from ray_audit.scores.suggested import suggested_class
from tests.support.states import assert_same_state, folded_both_ways


def rows(seed=0, num=3000, num_classes=6, noise=0.12, num_checkpoints=1, jitter=0.3):
    """Labels, and probabilities (E, N, K) of checkpoints that nearly agree."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, num_classes, num)
    logits = rng.normal(size=(num, num_classes))
    logits[np.arange(num), true] += 3.0
    each = logits + jitter * rng.normal(size=(num_checkpoints, num, num_classes))
    p = np.exp(each)
    labels = np.where(rng.random(num) < noise, (true + 1) % num_classes, true)
    return labels, p / p.sum(axis=2, keepdims=True), int((labels != true).sum())


def two_best(labels, p):
    """Probability of the given class, and of the best other class, at one checkpoint."""
    safe = np.maximum(labels, 0)
    others = p.copy()
    others[np.arange(len(labels)), safe] = -1.0
    other = others.argmax(axis=1)
    every = np.arange(len(labels))
    return p[every, safe], others[every, other], other


def state_of(labels, p, num_bins=1000):
    p_label, p_other, other = two_best(labels, p)
    return NoiseState.observe(p_label, p_other, labels, other, p.shape[1], num_bins)


def exact(labels, p):
    """Off-diagonal count by (given, predicted), element by element."""
    num_classes = p.shape[1]
    thresholds = [
        p[labels == k, k].mean() if (labels == k).any() else 2.0 for k in range(num_classes)
    ]
    counts = np.zeros((num_classes, num_classes), int)
    for given, row in zip(labels, p, strict=True):
        top = int(row.argmax())
        if given >= 0 and top != given and row[top] >= thresholds[top] - 1e-6:
            counts[given, top] += 1
    return counts, np.array(thresholds)


def edge_elements(labels, p, thresholds, num_bins):
    """Wrongly predicted elements whose probability shares a bin with its class's threshold."""
    _, p_other, other = two_best(labels, p)
    wrong = (p.argmax(axis=1) != labels) & (labels >= 0)
    place = np.floor((thresholds - 1e-6) * num_bins)
    return int((wrong & (np.floor(p_other * num_bins) == place[other])).sum())


@pytest.mark.parametrize("num_bins", [50, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_estimate_differs_from_exact_by_the_bins_of_the_thresholds_at_most(seed, num_bins):
    labels, (p,), _ = rows(seed)
    labels[::7] = -1
    counts, thresholds = exact(labels, p)
    result = state_of(labels, p, num_bins).finish()
    np.testing.assert_allclose(result.thresholds, thresholds, rtol=1e-12)
    bound = edge_elements(labels, p, thresholds, num_bins)
    assert abs(result.num_wrong - counts.sum()) <= bound
    assert abs(result.by_given - counts.sum(axis=1)).sum() <= bound
    assert abs(result.by_other - counts.sum(axis=0)).sum() <= bound
    assert result.by_given.sum() == pytest.approx(result.num_wrong)
    assert result.low <= counts.sum() <= result.high
    assert result.num_labelled == (labels >= 0).sum()


@pytest.mark.parametrize("sure", [1.0, 1 - 1e-7, 1 - 1e-5, 1 - 1e-4])
def test_labels_that_a_saturated_checkpoint_contradicts_are_counted(sure):
    labels = np.repeat([0, 1, 2], 40)
    seen = labels.copy()
    seen[::10] = (labels[::10] + 1) % 3
    p = np.full((120, 3), (1 - sure) / 2)
    p[np.arange(120), seen] = sure
    # Thresholds are means over all of a class, those contradicted too: so near 1 only of few.
    assert state_of(labels, p).finish().num_wrong == pytest.approx(12)
    alone = np.concatenate([labels, np.repeat([0, 1, 2], 4000)])
    p = np.concatenate([p, np.repeat(np.full((1, 3), (1 - sure) / 2), 12000, axis=0)])
    p[np.arange(120, 12120), alone[120:]] = sure
    found = state_of(alone, p).finish()
    assert found.num_wrong == pytest.approx(12)
    assert 0 <= found.low <= 12 <= found.high
    state, _ = confident.observe(alone, p)
    assert estimate_pixels(state).num_wrong == pytest.approx(12)
    assert state.finish().num_issues == pytest.approx(12)


def weak_checkpoint(noise, seed=0, num=4000, num_classes=10):
    """A checkpoint that knows easy samples and guesses hard ones, of which more are wrong."""
    rng = np.random.default_rng(seed)
    true, easy = rng.integers(0, num_classes, num), rng.random(num)
    logits = rng.normal(0, 1, (num, num_classes))
    logits[np.arange(num), true] += 5 * easy**2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    is_wrong = rng.random(num) < noise * (1.3 - 0.6 * easy)
    shift = rng.integers(1, num_classes, num)
    return np.where(is_wrong, (true + shift) % num_classes, true), p, is_wrong.mean()


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.4])
def test_errors_of_a_weak_checkpoint_are_not_all_counted_as_wrong_labels(noise):
    labels, p, truth = weak_checkpoint(noise)
    state = state_of(labels, p)
    counted, found = state.finish(), state.finish(is_held_out=True)
    assert abs(found.wrong_fraction - truth) < 0.6 * abs(counted.wrong_fraction - truth)
    assert found.low <= found.num_wrong <= found.high
    assert found.by_given.sum() == pytest.approx(found.num_wrong)
    assert found.by_other.sum() == pytest.approx(found.num_wrong)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.3])
def test_a_good_checkpoint_is_counted_as_before(noise):
    state, _ = good_checkpoint(4000, noise=noise)
    assert state.finish(is_held_out=True).num_wrong == pytest.approx(
        state.finish().num_wrong, rel=0.15, abs=1
    )


def test_a_class_without_labels_is_never_held_to_be_right_however_sure_a_checkpoint_is():
    labels, p = np.array([0, 0, 1, 1]), np.eye(3)[[0, 2, 1, 2]]
    assert state_of(labels, p).finish().num_wrong == 0


def test_fine_bins_give_the_count_of_cleanlab():
    batched = pytest.importorskip("cleanlab.experimental.label_issues_batched")
    labels, (p,), _ = rows(5)
    inspector = batched.LabelInspector(num_class=6, verbose=False, n_jobs=1)
    inspector.update_confident_thresholds(labels, p)
    inspector.score_label_quality(labels, p)
    result = state_of(labels, p, num_bins=10**9).finish()
    assert result.num_wrong == pytest.approx(inspector.get_num_issues(), abs=0.5)
    assert state_of(labels, p).finish().num_wrong == pytest.approx(result.num_wrong, rel=0.02)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_planted_errors_are_counted(noise):
    labels, (p,), num_planted = rows(3, num=20_000, noise=noise)
    result = state_of(labels, p).finish()
    # Not all wrong labels are confidently so, and some right ones look wrong.
    assert 0.5 * num_planted - 100 <= result.num_wrong <= num_planted + 1500
    assert result.wrong_fraction == result.num_wrong / 20_000


def good_checkpoint(num, seed=0, noise=0.1, num_squared=None):
    """State of independent samples by a checkpoint that is nearly always right; errors planted."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (num, 6))
    true = rng.integers(0, 6, num)
    logits[np.arange(num), true] += 8
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(rng.random(num) < noise, (true + rng.integers(1, 6, num)) % 6, true)
    mine = p[np.arange(num), labels]
    p[np.arange(num), labels] = -1
    state = NoiseState.observe(
        mine, p.max(axis=1), labels, p.argmax(axis=1), 6, num_squared=num_squared
    )
    return state, int((labels != true).sum())


def test_interval_narrows_with_the_number_of_elements():
    def width(num):
        result = good_checkpoint(num)[0].finish()
        return (result.high - result.low) / num

    assert width(20_000) < 0.5 * width(1000)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1, 0.3])
def test_the_interval_holds_the_truth(noise):
    found = [good_checkpoint(1000, seed, noise) for seed in range(20)]
    inside = [state.finish().low <= truth <= state.finish().high for state, truth in found]
    assert sum(inside) >= 18


def test_elements_that_hang_together_count_as_few():
    alone, together = good_checkpoint(2000)[0], good_checkpoint(2000, num_squared=2000 * 40)[0]
    widths = [item.finish().high - item.finish().low for item in (alone, together)]
    assert widths[1] > 3 * widths[0]


@pytest.mark.parametrize("num_checkpoints", [1, 5])
def test_mean_over_checkpoints_bounds_the_exact_mean_from_below(num_checkpoints):
    labels, p, _ = rows(2, num_checkpoints=num_checkpoints)
    mean = p.mean(axis=0)
    pairs = [two_best(labels, first) for first in p]
    other, p_other = suggested_class(
        np.stack([pair[2] for pair in pairs], axis=1),
        np.stack([pair[1] for pair in pairs], axis=1),
    )
    assert (p_other <= mean[np.arange(len(labels)), other] + 1e-12).all()
    _, exact_p, exact_other = two_best(labels, mean)
    if num_checkpoints == 1:
        np.testing.assert_allclose(p_other, exact_p, rtol=1e-12)
        np.testing.assert_array_equal(other, exact_other)
    p_label = mean[np.arange(len(labels)), labels]
    result = NoiseState.observe(p_label, p_other, labels, other, 6).finish()
    counts, _ = exact(labels, mean)
    assert result.num_wrong <= counts.sum() + edge_elements(labels, mean, result.thresholds, 1000)
    assert result.num_wrong == pytest.approx(counts.sum(), rel=0.05)


def test_states_merge_in_any_order():
    labels, (p,), _ = rows(4)
    parts = [state_of(labels[i::5], p[i::5]) for i in range(5)]
    whole = state_of(labels, p)
    for merged in folded_both_ways(NoiseState.empty(6), parts):
        assert_same_state(merged, whole)
    assert len(whole.places) <= (p.argmax(axis=1) != labels).sum()


def test_states_of_other_classes_are_not_added():
    with pytest.raises(ValueError, match="6 classes and 1000 bins, and of 5 and 1000"):
        NoiseState.empty(6).merge(NoiseState.empty(5))


def test_pixels_give_the_count_of_their_rows():
    labels, (p,), _ = rows(6, num=6 * 25 * 20)
    masks, maps = labels.reshape(6, 25, 20), p.reshape(6, 25, 20, 6).transpose(0, 3, 1, 2)
    state, _ = confident.observe(masks, maps)
    result, of_rows = estimate_pixels(state), state_of(labels, p).finish()
    assert result.num_wrong == pytest.approx(of_rows.num_wrong)
    assert result.num_wrong == pytest.approx(state.finish().num_issues)
    assert (result.low, result.high) == (None, None)
    np.testing.assert_allclose(result.by_other, of_rows.by_other)
    assert result.by_given is None
    assert result.num_labelled == labels.size


def test_wilson_interval_equals_scipy():
    stats = pytest.importorskip("scipy.stats")
    for num, total in ((0, 10), (3, 10), (10, 10), (17, 5000)):
        expected = stats.binomtest(num, total).proportion_ci(0.95, "wilson")
        actual = wilson_interval(num, total)
        assert actual == pytest.approx((expected.low * total, expected.high * total), abs=1e-9)


@pytest.mark.parametrize("labels", [np.zeros(0, int), np.full(5, -1)], ids=["none", "all void"])
def test_no_labels(labels):
    p = np.full((len(labels), 3), 1 / 3)
    result = state_of(labels, p).finish()
    assert (result.num_labelled, result.num_wrong, result.low, result.high) == (0, 0.0, 0.0, 0.0)
    assert np.isnan(result.wrong_fraction)
    assert result.thresholds.tolist() == [2.0, 2.0, 2.0]
    assert estimate_pixels(confident.ConfidentState.empty(3)).num_wrong == 0.0


def test_one_class_only():
    result = NoiseState.observe(np.ones(4), np.zeros(4), np.zeros(4, int), np.zeros(4, int), 1)
    assert result.finish().num_wrong == 0.0
    assert result.finish().low == 0.0
    assert 0.0 < result.finish().high < 4.0


def test_a_class_that_labels_nothing_is_never_what_a_label_should_be():
    labels = np.zeros(10, int)
    p_label, p_other, other = np.full(10, 0.1), np.full(10, 0.9), np.ones(10, int)
    assert NoiseState.observe(p_label, p_other, labels, other, 2).finish().num_wrong == 0.0


def test_a_class_absent_from_a_batch_has_its_threshold_from_the_others():
    labels, (p,), _ = rows(7)
    with_0, without_0 = labels == 0, labels != 0
    merged = state_of(labels[with_0], p[with_0]).merge(state_of(labels[without_0], p[without_0]))
    assert merged.finish().num_wrong == pytest.approx(state_of(labels, p).finish().num_wrong)


def test_probabilities_of_exactly_0_and_1():
    p = np.eye(2)[[0, 0, 1, 0, 1, 1]]
    result = state_of(np.array([0, 0, 0, 1, 1, 1]), p).finish()
    assert result.num_wrong == 2.0
    assert result.by_given.tolist() == result.by_other.tolist() == [1.0, 1.0]


def test_what_is_exactly_1_reaches_a_threshold_of_1():
    p = np.eye(2)[[0, 0, 1, 1, 1, 1]]
    result = state_of(np.array([0, 0, 0, 1, 1, 1]), p).finish()
    assert result.num_wrong == 1.0
    assert result.low <= 1.0 < result.high


@pytest.mark.parametrize(
    ("p_label", "p_other", "given", "other", "match"),
    [
        (0.1, 0.9, 3, 0, "given classes 3 to 3 with 3"),
        (0.1, 0.9, 0, -1, "other classes -1 to -1 with 3"),
        (1.5, 0.1, 0, 1, "p_label from 1.5"),
        (0.1, np.nan, 0, 1, "p_other from nan"),
    ],
)
def test_what_is_no_class_or_probability_is_refused(p_label, p_other, given, other, match):
    arrays = (np.array([value]) for value in (p_label, p_other, given, other))
    with pytest.raises(ValueError, match=match):
        NoiseState.observe(*arrays, num_classes=3)
