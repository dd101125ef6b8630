import numpy as np
import pytest

from ray_audit.corrections.adele import AdeleRule, Schedule
from ray_audit.samples import IGNORE
from ray_audit.scores.early_learning import curve

RNG = np.random.default_rng(5)
K = 4


def slow(labels, p, classes, tau_fg, tau_bg, background):
    """The rule, pixel by pixel and condition by condition."""
    present = set(labels.ravel().tolist()) - {IGNORE}
    new = labels.copy()
    if not present & set(classes):
        return new
    for y, x in np.ndindex(*labels.shape):
        q = p[:, y, x]
        best = int(np.argmax(q))
        foreground = max(q[k] for k in range(len(q)) if k != background)
        is_open = {background, *classes}
        if (
            (foreground > tau_fg or q[background] > tau_bg)
            and labels[y, x] in is_open
            and best in is_open
            and (best == background or best in present)
        ):
            new[y, x] = best
    return new


def probabilities(shape):
    z = RNG.normal(0, 2, (K, *shape))
    return np.exp(z) / np.exp(z).sum(axis=0)


@pytest.mark.parametrize("classes", [[1], [1, 3], [1, 2, 3], []])
@pytest.mark.parametrize("background", [0, 2])
def test_the_rule_equals_a_loop(classes, background):
    labels = RNG.integers(-1, K, (9, 11))
    p = probabilities(labels.shape)
    rule = AdeleRule(0.6, 0.5, background=background)
    expected = slow(labels, p, classes, 0.6, 0.5, background)
    assert np.array_equal(rule.correct(labels, p, classes), expected)


def test_unlabelled_pixels_stay():
    labels = np.full((4, 4), IGNORE)
    labels[0, 0] = 1
    p = np.zeros((K, 4, 4))
    p[1] = 1.0
    assert np.array_equal(AdeleRule().correct(labels, p, [1]), labels)


def test_a_class_that_the_image_lacks_is_never_written():
    labels = np.zeros((2, 2), int)
    labels[0, 0] = 1
    p = np.zeros((K, 2, 2))
    p[3] = 1.0
    assert np.array_equal(AdeleRule().correct(labels, p, [1, 3]), labels)


def test_one_confident_pixel_opens_the_gate_of_the_image():
    labels = np.ones((1, 2), int)
    p = np.array([[[0.95, 0.6]], [[0.05, 0.4]]])
    assert AdeleRule(0.7, 0.7, gate="pixel").correct(labels, p, [1]).tolist() == [[0, 1]]
    assert AdeleRule(0.7, 0.7, gate="image").correct(labels, p, [1]).tolist() == [[0, 0]]


def test_shapes_and_classes_are_checked():
    with pytest.raises(ValueError, match=r"\(4, 2, 2\)"):
        AdeleRule().correct(np.zeros((3, 3), int), np.zeros((4, 2, 2)), [1])
    with pytest.raises(ValueError, match="past onset"):
        AdeleRule().correct(np.zeros((2, 2), int), np.zeros((4, 2, 2)), [4])
    with pytest.raises(ValueError, match="confidence"):
        AdeleRule(confidence_foreground=70)


def learning(num_epochs):
    """IoU of a background, a class that levels off at epoch 8, and one that is never learnt."""
    t = np.arange(1.0, num_epochs + 1)
    return np.stack([curve(t, 0.9, 1.0, 1.0), curve(t, 0.8, 1.0, 3.0), 0.02 + 0 * t], axis=1)


def test_a_class_is_due_from_its_onset_on():
    schedule = Schedule()
    assert next(epoch for epoch in range(1, 13) if schedule.due(learning(epoch), {})) >= 8
    assert schedule.due(learning(12), {}) == [1]


def test_a_corrected_class_waits():
    assert Schedule().due(learning(18), {1: 9}) == []
    assert Schedule().due(learning(19), {1: 9}) == [1]


def test_untrusted_onsets_have_a_reason():
    onsets = zip(["bg", "organ", "rare"], Schedule().onsets(learning(12)), strict=True)
    reasons = {name: onset.reason for name, onset in onsets if onset.epoch is None}
    assert list(reasons) == ["rare"]
    assert "never learnt" in reasons["rare"]


def test_too_few_epochs_give_no_onset():
    assert Schedule().due(learning(3), {}) == []


def test_an_onset_counts_once_it_has_stood_still():
    iou = np.repeat(learning(12)[:, 1:2], 2, axis=1)
    iou[9:, 1] += 0.12 * np.arange(1, 4)  # rises anew: the fit of each epoch says another onset
    at_once = Schedule(stable_epochs=0)
    first = {
        name: next(epoch for epoch in range(1, 13) if schedule.due(learning(epoch), {}))
        for name, schedule in (("at once", at_once), ("still", Schedule()))
    }
    assert first["at once"] < first["still"]
    assert Schedule().due(iou, {}, background=-1) == [0]


def late_and_level(num_epochs):
    """A class that levels off at epoch 8, and one whose rise from epoch 10 on no curve fits."""
    t = np.arange(1.0, num_epochs + 1)
    late = np.clip(0.05 * (t - 9), 0.0, 0.6)
    return np.stack([curve(t, 0.9, 1.0, 1.0), curve(t, 0.8, 1.0, 3.0), late], axis=1)


def test_a_class_that_levels_off_late_is_corrected_with_the_others():
    rising, level = late_and_level(20), late_and_level(27)
    corrected = {1: 12}
    assert 2 not in Schedule().due(rising, corrected)
    assert 2 in Schedule().due(level, corrected)
    assert 2 not in Schedule(joins_late=False).due(level, corrected)
    alone = level[:, [0, 2]]
    assert Schedule().due(alone, {}) == []  # it waits for an onset of its own
