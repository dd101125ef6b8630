import warnings

import numpy as np
import pytest

from ray_audit.scores import class_filter
from ray_audit.scores.class_filter import (
    confident_joint,
    find_issues_by_class,
    flag_by_class,
    num_wrong_by_class,
)
from ray_audit.scores.confident import Scan


def rows(seed=0, num=800, num_classes=5, noise=0.15, sharpness=2.0):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, num_classes, num)
    logits = rng.normal(size=(num, num_classes))
    logits[np.arange(num), true] += sharpness
    p = np.exp(logits)
    labels = np.where(rng.random(num) < noise, rng.integers(0, num_classes, num), true)
    return labels, p / p.sum(axis=1, keepdims=True), labels != true


def cleanlab_flags(labels, p):
    cleanlab = pytest.importorskip("cleanlab.filter")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="May not flag all label issues")
        return cleanlab.find_label_issues(labels, p, filter_by="prune_by_class", n_jobs=1)


@pytest.mark.parametrize("num_classes", [2, 3, 5, 12])
@pytest.mark.parametrize("seed", range(4))
def test_flags_equal_cleanlab(seed, num_classes):
    labels, p, wrong = rows(seed, num_classes=num_classes)
    result = find_issues_by_class(labels, p)
    np.testing.assert_array_equal(result, cleanlab_flags(labels, p))
    assert result[wrong].mean() > result[~wrong].mean() + 0.25


@pytest.mark.parametrize("sharpness", [0.0, 0.5, 6.0])
@pytest.mark.parametrize("num", [10, 40])
def test_few_and_hard_rows_equal_cleanlab(num, sharpness):
    for seed in range(20):
        labels, p, _ = rows(seed, num, sharpness=sharpness)
        labels[:5] = np.arange(5)
        np.testing.assert_array_equal(find_issues_by_class(labels, p), cleanlab_flags(labels, p))


@pytest.mark.parametrize("seed", range(3))
def test_pixels_are_flagged_as_the_same_rows_are(seed):
    labels, p, _ = rows(seed, num=4 * 12 * 9)
    masks = labels.reshape(4, 12, 9)
    p_NKHW = p.reshape(4, 12, 9, 5).transpose(0, 3, 1, 2)
    flags = find_issues_by_class(masks, p_NKHW)
    np.testing.assert_array_equal(flags.ravel(), cleanlab_flags(labels, p))


def test_void_pixels_count_nowhere():
    labels, p, _ = rows(1, num=400)
    void = np.random.default_rng(0).random(400) < 0.3
    flags = find_issues_by_class(np.where(void, -1, labels), p)
    np.testing.assert_array_equal(flags[~void], cleanlab_flags(labels[~void], p[~void]))
    assert not flags[void].any()


def test_joint_equals_a_loop_and_cleanlab(monkeypatch):
    monkeypatch.setattr(class_filter, "_CHUNK", 37)
    count = pytest.importorskip("cleanlab.count")
    labels, p, _ = rows(3)
    thresholds = Scan.of(labels, p).thresholds
    expected = np.zeros((5, 5), int)
    for given, row in zip(labels, p, strict=True):
        confident = [k for k in range(5) if row[k] >= thresholds[k] - 1e-6]
        if confident:
            expected[given, confident[0] if len(confident) == 1 else row.argmax()] += 1
    joint = confident_joint(labels, p, thresholds)
    np.testing.assert_array_equal(joint, expected)
    np.testing.assert_array_equal(joint, count.compute_confident_joint(labels, p, calibrate=False))


def test_counts_by_hand():
    joint = np.array([[6, 2], [1, 3]])
    # 6/8 of 80 and 3/4 of 10 are right: 60, and 7.5, which rounds to 8 beside 2.5 (to 2).
    assert num_wrong_by_class(joint, np.array([80, 10])).tolist() == [20, 2]
    assert num_wrong_by_class(joint, np.array([1, 0])).tolist() == [0, 0]
    assert num_wrong_by_class(np.zeros((2, 2), int), np.array([5, 5])).tolist() == [0, 0]
    assert num_wrong_by_class(np.array([[0, 9], [0, 9]]), np.array([4, 4])).tolist() == [3, 0]


def test_a_class_is_never_flagged_away():
    labels = np.array([0, 0, 0, 1, 1, 1])
    p = np.array([[0.0, 1.0]] * 6)
    # t_0 is 0 (floored), t_1 is 1: every element is confidently of class 1.
    assert find_issues_by_class(labels, p).tolist() == [True, True, False, False, False, False]


def test_of_equal_ones_the_earlier_are_flagged():
    flags = flag_by_class(np.zeros(4, int), np.full(4, 0.2), np.ones(4, bool), np.array([2]))
    assert flags.tolist() == [True, True, False, False]
    unflagged = np.array([False, True, True, True])
    flags = flag_by_class(np.zeros(4, int), np.full(4, 0.2), unflagged, np.array([2]))
    assert flags.tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("labels", "p"),
    [
        (np.zeros(0, int), np.zeros((0, 3))),
        (np.full(4, -1), np.full((4, 3), 1 / 3)),
        (np.zeros(4, int), np.ones((4, 1))),
        (np.array([0]), np.array([[0.0, 1.0]])),
        (np.array([0, 0, 1, 1]), np.eye(2)[[0, 0, 1, 1]]),
        (np.zeros((0, 4, 4), int), np.zeros((0, 3, 4, 4))),
    ],
    ids=["no rows", "all void", "one class", "one row", "certain and right", "no masks"],
)
def test_nothing_to_flag(labels, p):
    flags = find_issues_by_class(labels, p)
    assert flags.shape == labels.shape
    assert not flags.any()


def test_a_class_that_labels_nothing():
    labels, p, _ = rows(2, num=300)
    labels[labels == 4] = 0
    np.testing.assert_array_equal(find_issues_by_class(labels, p), cleanlab_flags(labels, p))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(N, K, \.\.\.\)"):
        find_issues_by_class(np.zeros((2, 3), int), np.ones((2, 3)))
