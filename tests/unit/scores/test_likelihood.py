import math

import numpy as np
import pytest

from ray_audit.scores import likelihood

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(0, 4, (30, 5))
LABELS = RNG.integers(0, 5, 30)


def softmax(row):
    exps = [math.exp(z - max(row)) for z in row]
    return [e / sum(exps) for e in exps]


def test_losses_equal_a_loop():
    expected = [-math.log(softmax(z)[y]) for z, y in zip(LOGITS, LABELS, strict=True)]
    np.testing.assert_allclose(likelihood.cross_entropy(LOGITS, LABELS), expected, rtol=1e-10)


def test_loss_stays_finite_where_the_probability_underflows():
    assert likelihood.cross_entropy(np.array([[0.0, 2000.0]]), np.array([0])) == [2000.0]
    assert likelihood.loss_of_probability(np.array([0.0, 1.0])).tolist() == pytest.approx(
        [708.396, 0], abs=1e-3
    )


def test_margins_equal_a_loop():
    expected = [
        z[y] - max(v for k, v in enumerate(z) if k != y)
        for z, y in zip(LOGITS, LABELS, strict=True)
    ]
    np.testing.assert_allclose(likelihood.margin(LOGITS, LABELS), expected)


def test_one_class_has_no_margin():
    assert np.isnan(likelihood.margin(np.ones((2, 1)), np.zeros(2, int))).all()


def test_error_norm_equals_a_loop():
    p = np.array([softmax(z) for z in LOGITS])
    expected = [
        math.sqrt(sum((v - (k == y)) ** 2 for k, v in enumerate(row)))
        for row, y in zip(p, LABELS, strict=True)
    ]
    np.testing.assert_allclose(likelihood.error_norm(p, LABELS), expected)


def test_inputs_are_left_as_they_were():
    before = LOGITS.copy()
    likelihood.margin(LOGITS, LABELS)
    likelihood.error_norm(LOGITS, LABELS)
    assert (before == LOGITS).all()
