import numpy as np
import pytest
import torch
from torch.nn import functional

from ray_audit.training.gradient_spread import (
    GradientSpread,
    mean_per_sample_loss,
    per_sample_gradient,
)
from ray_audit.training.sample_store import SampleStore

RNG = np.random.default_rng(1)
IDS = ["a/../x y%", "b#2", "c"]


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    return SampleStore(tmp_path / "store" if request.param == "folder" else None)


def test_the_spread_equals_the_definition(store):
    gradients = RNG.normal(0, 1, (5, 3, 2, 4, 4)).astype(np.float32)
    spread = GradientSpread(store=store)
    for epoch in gradients:
        spread.observe(IDS, torch.from_numpy(epoch))
        spread.end_epoch()
    expected = gradients.astype(np.float64).mean(axis=2).std(axis=0).mean(axis=(1, 2))
    assert list(spread.scores().values()) == pytest.approx(expected.tolist(), rel=1e-5)
    assert sorted(store.sample_ids()) == sorted(IDS)


def test_one_epoch_has_no_spread():
    spread = GradientSpread()
    spread.observe(["a"], torch.ones(1, 1, 2, 2))
    assert np.isnan(spread.scores()["a"])


def test_a_full_window_is_reset_with_the_next_epoch(store):
    spread = GradientSpread(window_epochs=2, store=store)
    for value in (1.0, 3.0):
        spread.observe(["a"], torch.full((1, 1, 2, 2), value))
        spread.end_epoch()
    assert spread.scores() == {"a": 1.0}
    spread.observe(["a"], torch.full((1, 1, 2, 2), 9.0))
    assert spread.num_epochs == 0
    assert np.isnan(spread.scores()["a"])


def test_a_window_needs_two_epochs():
    with pytest.raises(ValueError, match="window_epochs 1"):
        GradientSpread(window_epochs=1)


def test_the_batch_gradient_gives_each_samples_own():
    model = torch.nn.Conv2d(2, 3, 3, padding=1)
    images = torch.randn(4, 2, 5, 5, requires_grad=True)
    targets = torch.from_numpy(RNG.integers(-1, 3, (4, 5, 5)))
    targets[3] = -1
    functional.cross_entropy(model(images), targets, ignore_index=-1).backward()
    found = per_sample_gradient(images.grad, targets)
    for n in range(3):
        result = images[n : n + 1].detach().requires_grad_()
        functional.cross_entropy(model(result), targets[n : n + 1], ignore_index=-1).backward()
        torch.testing.assert_close(found[n], result.grad[0], rtol=1e-4, atol=1e-7)
    assert not found[3].any()


def test_mean_loss_leaves_unlabelled_elements_out():
    loss = torch.tensor([[1.0, 3.0, float("nan")], [1.0, 2.0, 3.0]])
    targets = torch.tensor([[0, 1, -1], [-1, -1, -1]])
    found = mean_per_sample_loss(loss, targets)
    assert found[0] == 2.0
    assert torch.isnan(found[1])


def test_a_store_on_disk_survives_the_process(tmp_path):
    SampleStore(tmp_path).put("x", np.arange(3))
    assert SampleStore(tmp_path).get("x").tolist() == [0, 1, 2]
    SampleStore(tmp_path).clear()
    assert SampleStore(tmp_path).get("x") is None
