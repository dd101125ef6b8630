"""VoG at the features equals gradients by hand, or by autograd through the whole model."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from ray_audit.samples import IGNORE
from tests.support.batches import class_batch, dense_batch, frames_batch
from tests.support.probed import NUM_CLASSES, dense_inputs, probe


class ImageModel(nn.Module):
    """Features are kept, so that the oracle can be given them; an auxiliary head comes last."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(5 * 30, NUM_CLASSES)
        self.auxiliary = nn.Linear(5 * 30, NUM_CLASSES)

    def forward(self, x):
        features = self.body(x)
        return {"out": self.head(features), "aux": self.auxiliary(features)}


class DenseModel(nn.Module):
    def __init__(self, seed, stride=1):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, stride=stride), nn.ReLU())
        self.head = nn.Conv2d(6, NUM_CLASSES, 1)

    def forward(self, x):
        return self.head(self.body(x))


class FrameModel(nn.Module):
    def __init__(self, seed, head):
        super().__init__()
        torch.manual_seed(seed)
        self.encode = nn.Linear(3 * 5 * 6, 8)
        self.by_frame = head == "linear"
        is_flat = head != "conv"
        self.head = (
            nn.Linear(8, NUM_CLASSES) if is_flat else nn.Conv1d(8, NUM_CLASSES, 3, padding=1)
        )
        self.flattens = head == "flat"

    def forward(self, x):
        hidden = torch.tanh(self.encode(x.flatten(2)))
        if self.flattens:
            return self.head(hidden.flatten(0, 1)).unflatten(0, x.shape[:2])
        if self.by_frame:
            return self.head(hidden)
        return self.head(hidden.transpose(1, 2)).transpose(1, 2)


def test_of_images_it_is_the_weights_times_p_minus_y_whatever_auxiliary_heads_there_are(rng):
    inputs = rng.random((4, 3, 6, 5), np.float32)
    labels = rng.integers(0, NUM_CLASSES, 4)
    models = [ImageModel(seed) for seed in range(4)]
    arrays = probe(
        models, class_batch(inputs, labels), "loss", output="out", gradient_at="features"
    )
    gradients = []
    for model in models:
        with torch.no_grad():
            p = torch.softmax(model(torch.from_numpy(inputs))["out"].double(), 1).numpy()
        gradients.append((p - np.eye(NUM_CLASSES)[labels]) @ model.head.weight.double().numpy())
    vog = np.std(gradients, axis=0).mean(axis=1)
    assert arrays["vog/sum"] / arrays["vog/num_px"] == pytest.approx(vog, rel=1e-4)
    squared = np.square(gradients).sum(axis=2).T
    assert arrays["trajectory/grad_sqnorm"] == pytest.approx(squared, rel=1e-4)


@pytest.mark.parametrize("target", ["loss", "logit"])
@pytest.mark.parametrize("stride", [1, 2])
def test_of_masks_it_is_the_gradient_of_autograd_through_an_upsampling(rng, target, stride):
    inputs, masks = dense_inputs(rng)
    models = [DenseModel(seed, stride) for seed in range(3)]
    arrays = probe(models, dense_batch(inputs, masks), target, gradient_at="features")
    for n, mask in enumerate(masks):
        maps = []
        for model in models:
            features = model.body(torch.from_numpy(inputs[n : n + 1]).float() / 255)
            features = features.detach().double().requires_grad_()
            logits = F.interpolate(
                model.head.double()(features), size=mask.shape, mode="bilinear", align_corners=False
            )
            y = torch.from_numpy(mask)[None]
            value = F.cross_entropy(logits, y, ignore_index=IGNORE)
            if target == "logit":
                value = logits.gather(1, y.clamp_min(0)[:, None])[0, 0][y[0] != IGNORE].mean()
            maps.append(torch.autograd.grad(value, features)[0][0].mean(0).numpy())
            model.head.float()
        vog = np.std(maps, axis=0).mean()
        assert arrays["vog/sum"][n] / arrays["vog/num_px"][n] == pytest.approx(vog, rel=1e-3)


@pytest.mark.parametrize("head", ["conv", "linear", "flat"])
def test_of_frames_it_is_that_of_each_frame_however_the_head_takes_them(rng, head):
    inputs = rng.random((2, 4, 3, 5, 6), np.float32)
    targets = rng.integers(0, NUM_CLASSES, (2, 4))
    owned = np.ones((2, 4), bool)
    models = [FrameModel(seed, head) for seed in range(3)]
    batch = frames_batch(inputs, targets, owned)
    arrays = probe(models, batch, "loss", gradient_at="features")
    gradients = []
    for model in models:
        hidden = torch.tanh(model.encode(torch.from_numpy(inputs).flatten(2))).requires_grad_()
        if head == "conv":
            logits = model.head(hidden.transpose(1, 2)).transpose(1, 2)
        else:
            logits = model.head(hidden)
        loss = F.cross_entropy(
            logits.flatten(0, 1), torch.from_numpy(targets).flatten(), reduction="sum"
        )
        gradients.append(torch.autograd.grad(loss, hidden)[0].flatten(0, 1).numpy())
    vog = np.std(gradients, axis=0).mean(axis=1)
    assert arrays["vog/sum"] / arrays["vog/num_px"] == pytest.approx(vog, rel=1e-4)


def test_a_model_without_such_a_layer_is_refused_with_the_remedy(rng):
    class Bare(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :NUM_CLASSES]

    batch = class_batch(rng.random((2, 3, 6, 5), np.float32), [0, 1])
    with pytest.raises(ValueError, match=r"Use vog\.at: inputs"):
        probe([Bare()], batch, "loss", gradient_at="features")
