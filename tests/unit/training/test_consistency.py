import math

import numpy as np
import pytest
import torch

from ray_audit.training.consistency import (
    MultiScale,
    consistency,
    logits_at_scales,
    multi_scale_loss,
)
from ray_audit.training.cross_entropy import cross_entropy

N, K, H, W = 2, 3, 4, 5
RNG = np.random.default_rng(0)


def random_logits(num_scales, scale=2.0):
    return [torch.from_numpy(RNG.normal(0, scale, (N, K, H, W))) for _ in range(num_scales)]


def softmax(z):
    exps = [math.exp(v - max(z)) for v in z]
    return [v / sum(exps) for v in exps]


def slow_consistency(logits, weights, settings):
    total = 0.0
    for n in range(N):
        divergences, confident = np.zeros((H, W)), np.zeros((H, W), bool)
        for y, x in np.ndindex(H, W):
            p = [softmax(z[n, :, y, x].tolist()) for z in logits]
            q = [sum(w * item[k] for w, item in zip(weights, p, strict=True)) for k in range(K)]
            q = [min(max(v, 1e-3), 1 - 1e-3) for v in q]
            divergences[y, x] = sum(
                item[k] * (math.log(item[k]) - math.log(q[k])) for item in p for k in range(K)
            )
            confident[y, x] = max(q) >= settings.confidence
        if settings.gate == "image":
            confident[:] = confident.any()
        total += float((divergences * confident).sum())
    return total / (N * H * W)


@pytest.mark.parametrize("gate", ["image", "pixel"])
@pytest.mark.parametrize("confidence", [0.0, 0.8, 0.97])
def test_the_divergence_equals_a_loop(gate, confidence):
    logits, weights = random_logits(3), torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    settings = MultiScale(gate=gate, confidence=confidence)
    expected = slow_consistency(logits, weights.tolist(), settings)
    assert float(consistency(logits, weights, settings)) == pytest.approx(expected, abs=1e-9)


def test_equal_predictions_are_consistent():
    (result,) = random_logits(1, scale=0.5)
    third = torch.full((3,), 1 / 3, dtype=torch.float64)
    assert float(consistency([result] * 3, third, MultiScale(confidence=0))) == pytest.approx(0)


def targets():
    return torch.from_numpy(RNG.integers(-1, K, (N, H, W)))


def test_the_loss_adds_up():
    logits, requested = random_logits(3), targets()
    settings = MultiScale(weight=0.5, confidence=0, scaled_logits=True)
    third = torch.full((3,), 1 / 3, dtype=torch.float64)
    expected = sum(cross_entropy(z / 3, requested) for z in logits)
    expected = (expected + 0.5 * consistency(logits, third, settings)) / 3
    found = multi_scale_loss(logits, requested, settings, torch.ones(3, dtype=torch.float64))
    assert float(found) == pytest.approx(float(expected))


def test_plain_weighing_leaves_the_temperature_alone():
    logits, requested = random_logits(2), targets()
    settings = MultiScale(
        scales=(1.0, 2.0), confidence=1.0, scaled_logits=False, mean_over_scales=False
    )
    expected = sum(cross_entropy(z, requested) for z in logits) / 2
    assert float(multi_scale_loss(logits, requested, settings)) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("settings", "divisor"),
    [
        (MultiScale(), 1),
        (MultiScale(scaled_logits=True), 3),
        (MultiScale(scaled_logits=True, weight=0), 1),
    ],
)
def test_what_is_corrected_by_is_what_the_loss_fits(settings, divisor):
    logits = random_logits(3)
    assert torch.equal(settings.fitted(logits), logits[1] / divisor)


def test_without_the_term_one_scale_remains():
    logits, expected = random_logits(3), targets()
    found = multi_scale_loss(logits, expected, MultiScale(weight=0))
    assert float(found) == float(cross_entropy(logits[1], expected))


def test_probabilities_of_zero_and_one_stay_finite():
    sharp = [torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)]
    sharp[0][0, 0], sharp[1][0, 1] = 1e4, 1e4
    for z in sharp:
        z.requires_grad_()
    half = torch.full((2,), 0.5)
    loss = consistency(sharp, half, MultiScale(scales=(1.0, 2.0), confidence=0))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(z.grad).all() for z in sharp)


def test_scales_come_back_at_the_size_of_the_image():
    seen = []

    class Model(torch.nn.Module):
        def forward(self, images):
            seen.append(tuple(images.shape[2:]))
            return images[:, :2]

    logits = logits_at_scales(Model(), torch.rand(1, 3, 10, 8), (0.7, 1.0, 1.5))
    assert seen == [(7, 6), (10, 8), (15, 12)]
    assert {tuple(z.shape) for z in logits} == {(1, 2, 10, 8)}


@pytest.mark.parametrize(
    "wrong",
    [{"scales": ()}, {"scales": (0.0,)}, {"confidence": 80}, {"scales": (0.7,), "weight": 0}],
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=r"expected|must be|only scale"):
        MultiScale(**wrong)


def test_every_scale_needs_its_logits():
    with pytest.raises(ValueError, match="2 logits for 3 scales"):
        multi_scale_loss(random_logits(2), targets(), MultiScale())
