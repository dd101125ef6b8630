import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_audit.scores import early_learning as el

EPOCHS = np.arange(1, 21, dtype=np.float64)


def slow_onset(b, c, num_epochs):
    def slope(t):
        return b / c * t ** (b - 1) * math.exp(-(t**b) / c)

    count = 0
    for t in range(1, num_epochs):
        change = abs(slope(1) - slope(t + 1e-6)) / abs(slope(1))
        count += change <= 0.9 or change > 1
    return count + 1


@pytest.mark.parametrize(
    ("a", "b", "c", "epoch"),
    [(0.8, 1, 3, 8), (0.8, 1, 1, 4), (0.8, 0.5, 1, 6), (0.6, 0.7, 2, 9), (0.8, 1, 40, 94)],
)
def test_onset_of_known_curves(a, b, c, epoch):
    assert el.onset_of_curve(a, b, c, 100) == epoch


@given(st.floats(0.1, 1), st.floats(0.5, 30), st.integers(2, 60))
def test_onset_equals_a_loop(b, c, num_epochs):
    assert el.onset_of_curve(0.7, b, c, num_epochs) == slow_onset(b, c, num_epochs)


def test_slope_is_the_derivative():
    step = 1e-6
    numeric = (el.curve(EPOCHS + step, 0.8, 0.7, 3) - el.curve(EPOCHS - step, 0.8, 0.7, 3)) / (
        2 * step
    )
    np.testing.assert_allclose(el.curve_slope(EPOCHS, 0.8, 0.7, 3), numeric, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("parameters", [(0.8, 1.0, 3.0), (0.6, 0.7, 2.0), (0.9, 0.5, 1.5)])
def test_fit_of_clean_points_returns_their_curve(parameters):
    onset = el.fit_onset(el.curve(EPOCHS, *parameters))
    assert onset.parameters == pytest.approx(parameters, abs=2e-2)
    assert onset.epoch == el.onset_of_curve(*parameters, num_epochs=20)


def test_noise_moves_the_onset_by_little():
    rng = np.random.default_rng(0)
    epochs = [
        el.fit_onset(el.curve(EPOCHS, 0.8, 1, 3) + rng.normal(0, 0.02, 20)).epoch for _ in range(10)
    ]
    assert all(epoch is not None and 7 <= epoch <= 10 for epoch in epochs)


@pytest.mark.parametrize(
    ("iou", "reason"),
    [
        ([], "needs at least 4"),
        ([0.1, 0.5, 0.6], "needs at least 4"),
        ([np.nan] * 9, "needs at least 4"),
        ([0.0] * 10, "never learnt"),
        ([0.01, 0.05, 0.09, 0.02, 0.03], "never learnt"),
        ([0.7] * 10, "rose by"),
        (np.linspace(0.9, 0.3, 10), "rose by"),
        (np.linspace(0.05, 0.9, 12), "still rising"),
    ],
)
def test_a_fit_that_says_nothing_gives_no_onset(iou, reason):
    onset = el.fit_onset(np.array(iou, np.float64))
    assert onset.epoch is None
    assert reason in onset.reason


def test_a_fit_that_stays_at_its_start_gives_no_onset():
    onset = el.fit_onset(el.curve(EPOCHS, 1.0, 1.0, 1.0))
    assert (onset.epoch, onset.parameters) == (None, None)


def test_unknown_epochs_are_skipped_without_moving_the_others():
    iou = el.curve(EPOCHS, 0.8, 1, 3)
    iou[[0, 5]] = np.nan
    assert el.fit_onset(iou).epoch == 8


def test_iou_counts():
    tp, predicted, given_ = np.array([3, 0, 0]), np.array([4, 2, 0]), np.array([5, 0, 0])
    result = el.iou_from_counts(tp, predicted, given_)
    assert result[:2].tolist() == [0.5, 0.0]
    assert math.isnan(result[2])
