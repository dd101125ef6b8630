"""Bayes' rule with the mistakes made, against loops over whole matrices."""

import numpy as np
import pytest

from ray_audit.scores.mistakes import Mistakes

NUM_LABELS = np.array([40, 30, 20, 10])
GIVEN, RIGHT, SEEN = np.array([0, 1, 3]), np.array([1, 0, 2]), np.array([7.0, 3.0, 2.0])


def mistakes(share=0.2, given=GIVEN, right=RIGHT, seen=SEEN, class_count=NUM_LABELS):
    return Mistakes.of(given, right, seen, class_count, share)


def matrix(found):
    classes = np.arange(len(found.num_true))
    return np.stack([found.given_as(np.full_like(classes, y), classes) for y in classes])


def by_loops(share=0.2):
    """Labels of each pair: as many as counted and one more, scaled to the share; then the rows."""
    wrong = np.ones((4, 4)) - np.eye(4)  # [right, given]
    for g, y, num in zip(GIVEN, RIGHT, SEEN, strict=True):
        wrong[y, g] += num
    wrong *= share * NUM_LABELS.sum() / wrong.sum()
    labels = wrong + np.diag(NUM_LABELS - wrong.sum(axis=0))
    return labels / labels.sum(axis=1, keepdims=True)


def test_classes_are_given_as_others_as_often_as_was_counted():
    assert matrix(mistakes()) == pytest.approx(by_loops())


def test_pairs_may_come_in_any_order():
    turned = mistakes(given=GIVEN[::-1], right=RIGHT[::-1], seen=SEEN[::-1])
    assert np.array_equal(matrix(turned), matrix(mistakes()))


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_the_class_is_that_of_bayes_rule_where_the_rest_is_even(share):
    as_given = by_loops(share)
    given, other = np.array([0, 1, 2]), np.array([1, 3, 0])
    for g, s, p_g, p_s in zip(given, other, (0.2, 0.05, 0.0), (0.6, 0.9, 0.7), strict=True):
        q = np.full(4, (1 - p_g - p_s) / 2)
        q[[g, s]] = p_g, p_s
        seen = q @ as_given
        right = q * as_given[:, g] / seen[g]
        numbers = (np.array([seen[g]]), np.array([seen[s]]), np.array([g]), np.array([s]))
        found = mistakes(share).posterior(*numbers)
        assert [p[0] for p in found] == pytest.approx(right[[g, s]])


def test_mistakes_that_are_alike_between_all_classes_are_taken_away_from_each():
    num_classes, share = 10, 0.3
    even = mistakes(share, *[np.zeros(0, np.int64)] * 2, np.zeros(0), np.full(num_classes, 1000))
    each = share / (num_classes - 1)
    p_given, p_other = np.array([0.05]), np.array([0.5])
    one, two = even.posterior(p_given, p_other, np.array([2]), np.array([7]))
    assert one / two == pytest.approx((0.05 - each) * (1 - share) / ((0.5 - each) * each))


def test_a_class_that_is_often_mistaken_for_another_is_believed_sooner():
    found = mistakes(0.1)
    p_given, p_other = np.full(2, 0.1), np.full(2, 0.6)
    _, right = found.posterior(p_given, p_other, np.array([0, 0]), np.array([1, 2]))
    assert right[0] > right[1]


@pytest.mark.parametrize("num_classes", [1, 2, 3])
def test_where_no_label_is_wrong_no_other_class_is_right(num_classes):
    nothing = np.zeros(0, np.int64)
    found = mistakes(0.0, nothing, nothing, np.zeros(0), np.full(num_classes, 5))
    given, other = np.array([0]), np.array([num_classes - 1])
    _, right = found.posterior(np.array([0.01]), np.array([0.99]), given, other)
    assert right[0] == (0.0 if num_classes > 1 else pytest.approx(1.0, abs=1.0))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("class_count", [[40, 30, 20, 10], [0, 100, 0, 1], [0, 0, 0, 0]])
def test_probabilities_are_never_beyond_0_and_1(share, class_count):
    found = mistakes(share, class_count=np.array(class_count))
    p_given, p_other = np.meshgrid(np.linspace(0, 1, 11), np.linspace(0, 1, 11))
    keep = p_given + p_other <= 1
    p_given, p_other = p_given[keep], p_other[keep]
    for given, other in ((0, 1), (1, 0), (2, 3)):
        both = [np.full(len(p_given), c) for c in (given, other)]
        first, second = found.posterior(p_given, p_other, *both)
        assert (first >= 0).all()
        assert (second >= 0).all()
        assert (first + second <= 1 + 1e-9).all()
