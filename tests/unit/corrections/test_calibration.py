import numpy as np
import pytest
from scipy.special import softmax

from ray_audit.corrections.calibration import ExpectedGain, LabelCalibration, calibrate

RNG = np.random.default_rng(0)


def drawn(num, scale, bias):
    """Probabilities, and labels that are drawn as a scale and biases make of them."""
    p = softmax(RNG.normal(0, 2, (len(bias), num)), axis=0)
    right = softmax(np.log(p) * scale + np.reshape(bias, (-1, 1)), axis=0)
    labels = (right.cumsum(axis=0) < RNG.random(num)).sum(axis=0)
    return p, labels


def test_the_temperature_and_the_lean_of_predictions_are_found():
    p, labels = drawn(40_000, 0.5, (0.0, 1.0, -1.0))
    found = calibrate(p, labels)
    assert found.scale == pytest.approx(0.5, abs=0.03)
    assert np.subtract(found.bias, found.bias[0]) == pytest.approx((0, 1, -1), abs=0.06)


def test_calibrated_predictions_are_as_sure_as_they_are_right():
    p, labels = drawn(40_000, 0.4, (0.0, 0.8, -0.5, 0.2))
    q = calibrate(p, labels).of(p)
    assert q.sum(axis=0) == pytest.approx(np.ones(q.shape[1]), abs=1e-5)
    assert q.max(axis=0).mean() == pytest.approx((q.argmax(axis=0) == labels).mean(), abs=0.01)


def test_maps_are_calibrated_pixel_by_pixel():
    p, labels = drawn(600, 0.5, (0.0, 1.0, -1.0))
    found = calibrate(p, labels)
    maps = found.of(p.reshape(3, 20, 30))
    np.testing.assert_array_equal(maps.reshape(3, -1), found.of(p))
    assert maps.dtype == np.float32


def test_a_class_without_labels_and_predictions_that_are_sure_give_finite_numbers():
    p = np.repeat(np.eye(3)[:, :2], 50, axis=1)
    found = calibrate(p, np.repeat([0, 1], 50))
    assert np.isfinite([found.scale, *found.bias]).all()
    assert (found.of(p).argmax(axis=0) == np.repeat([0, 1], 50)).all()


def test_nothing_to_fit_changes_nothing():
    assert calibrate(np.empty((2, 0)), np.empty(0, int)) == LabelCalibration(1.0, (0.0, 0.0))


@pytest.mark.parametrize(
    ("flagged", "others", "unsure", "positive"),
    [
        (0.18, 0.01, 0.02, True),  # they see something else in flagged samples only
        (0.04, 0.03, 0.03, False),  # and everywhere
        (0.10, 0.01, 0.06, False),  # and are not sure of it
        (0.0, 0.0, 0.0, False),
    ],
)
def test_a_gain_is_expected_where_flagged_samples_disagree_more_than_the_model_errs(
    flagged, others, unsure, positive
):
    gain = ExpectedGain(flagged, others, unsure)
    assert gain.is_clear is positive
    assert 0 <= gain.wrong_before <= flagged
