import math

import numpy as np
import pytest

from ray_audit.scores.memorisation import FitState


def state(fitted):
    correct = np.zeros((1000, 2))
    correct[:, 1] = 1.0
    correct[fitted:100, 1] = 0.0
    return FitState.of(correct, np.arange(1000) < 100)


@pytest.mark.parametrize(
    ("fitted", "verdict"),
    [(100, "early"), (80, "early"), (50, "mean"), (20, "final"), (0, "final")],
)
def test_verdict_follows_what_is_memorised(fitted, verdict):
    judged = state(fitted).finish(dense=False)
    assert judged.verdict == verdict
    assert judged.fitted_fraction == pytest.approx(fitted / 100)
    assert judged.train_accuracy == pytest.approx(1 - (100 - fitted) / 1000)
    assert f"{fitted}%" in judged.reason


def test_parts_add_up():
    rng = np.random.default_rng(0)
    correct, suspicious = rng.random((30, 4)), rng.random(30) < 0.3
    whole = FitState.of(correct, suspicious)
    parts = FitState.of(correct[:11], suspicious[:11]).merge(
        FitState.of(correct[11:], suspicious[11:])
    )
    assert (parts.num, parts.num_suspicious) == (whole.num, whole.num_suspicious)
    np.testing.assert_allclose(parts.errors, whole.errors)
    np.testing.assert_allclose(parts.errors_suspicious, whole.errors_suspicious)


@pytest.mark.parametrize(
    ("wrong_px", "verdict"),
    [([0.6, 0.5, 0.5], "final"), ([0.6, 0.3, 0.1], "early"), ([0.6, 0.5, 0.35], "mean")],
)
def test_wrong_masks_are_memorised_where_their_excess_error_goes(wrong_px, verdict):
    right_px = [0.3, 0.1, 0.1]
    correct = 1 - np.array([right_px] * 19 + [wrong_px])
    judged = FitState.of(correct, np.arange(20) == 19).finish(dense=True)
    assert judged.verdict == verdict


def test_without_samples_the_mean_is_trusted():
    judged = FitState.of(np.zeros((0, 3)), np.zeros(0, bool)).finish(dense=False)
    assert judged.verdict == "mean"
    assert math.isnan(judged.fitted_fraction)
    assert math.isnan(judged.train_accuracy)
