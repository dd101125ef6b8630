"""The forms that a GPU takes, tried where there is none: torch's meta device knows no values."""

import numpy as np
import pytest
import torch

from ray_audit.config import InputConfig
from ray_audit.probes import dense_final
from ray_audit.probes.gradients import Moments
from ray_audit.probes.prober import Prober, ProbeSettings, ProbeTurn
from tests.support.batches import class_batch, dense_batch
from tests.support.probed import NUM_CLASSES, dense_model
from tests.unit.probes.test_prober import image_model

META = torch.device("meta")


@pytest.mark.parametrize("gradient", [None, "loss", "logit"])
@pytest.mark.parametrize("is_dense", [False, True])
def test_no_checkpoint_asks_the_device_for_a_value(gradient, is_dense):
    """`item`, `cpu`, `nonzero` and masks as indices raise on tensors without values."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (3, 3, 12, 10), np.uint8)
    masks = rng.integers(-1, NUM_CLASSES, (3, 12, 10))
    masks[:, 2:9, 2:9] = -1  # large enough to be looked at
    batch = dense_batch(inputs, masks) if is_dense else class_batch(inputs, [0, 1, 2])
    make = dense_model if is_dense else image_model
    config = InputConfig(size=(12, 10), mean=[0.5] * 3, std=[0.2] * 3)
    settings = ProbeSettings(NUM_CLASSES, config, None, gradient, 0.1, "float32")
    moments = Moments(batch.arrays, META)
    for seed in range(2):
        prober = Prober([make(seed).eval().requires_grad_(False).to(META)], settings, META)
        given = prober._given(batch)
        turn = ProbeTurn(is_final=False, in_window=gradient is not None)
        seen = prober._turn(0, given, turn, moments)
        assert seen["loss"].shape == (3,)
        assert all(v.device == META for v in seen.values() if torch.is_tensor(v))


def test_sums_by_class_do_not_depend_on_the_form(monkeypatch):
    rng = np.random.default_rng(0)
    classes = torch.from_numpy(rng.integers(0, 7, (4, 30, 30)))
    kept = torch.from_numpy(rng.random((4, 30, 30)) < 0.7)
    values = torch.from_numpy(rng.random((4, 30, 30), np.float32))
    on_cpu = dense_final.count(classes, kept, 7), dense_final.class_sums(values, classes, kept, 7)
    monkeypatch.setattr(dense_final, "_is_cpu", lambda tensor: False)
    on_gpu = dense_final.count(classes, kept, 7), dense_final.class_sums(values, classes, kept, 7)
    assert torch.equal(on_cpu[0], on_gpu[0])
    assert torch.allclose(on_cpu[1], on_gpu[1], rtol=1e-12)


@pytest.mark.parametrize("num_classes", [1, 4, 12])
def test_thresholds_passed_do_not_depend_on_the_form(num_classes):
    rng = np.random.default_rng(num_classes)
    logits = torch.from_numpy(3 * rng.normal(size=(num_classes, 500)).astype(np.float32))
    label = torch.from_numpy(rng.integers(0, num_classes, 500))
    counted = torch.from_numpy(rng.random(500) < 0.7)
    p = torch.softmax(logits, dim=0)
    listed = dense_final._listed_above(p, label, counted)
    every, own = dense_final._counted_above(p, label, counted)
    assert torch.equal(listed[0], every)
    assert torch.equal(listed[1], own)
