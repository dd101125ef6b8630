"""Small models, and what a prober says of a batch."""

import numpy as np
import torch
from torch import nn

from ray_audit.config import InputConfig
from ray_audit.probes.payload import without_payload
from ray_audit.probes.prober import Prober, ProbeSettings, ProbeTurn
from ray_audit.samples import IGNORE

NUM_CLASSES = 4


def settings(gradient=None, **changed):
    values = {
        "num_classes": NUM_CLASSES,
        "input": InputConfig(),
        "output": None,
        "gradient": gradient,
        "temperature": 0.1,
        "precision": "float32",
    }
    return ProbeSettings(**(values | changed))


def probe(models, batch, gradient=None, **changed):
    for i, model in enumerate(models):
        turn = ProbeTurn(is_final=i == len(models) - 1, in_window=gradient is not None)
        arrays = prober([model], gradient, **changed).observe(batch, {0: turn})
        batch = batch.with_arrays(arrays)
    return without_payload(batch).arrays


def prober(models, gradient=None, **changed):
    models = [model.eval().requires_grad_(False) for model in models]
    return Prober(models, settings(gradient, **changed), torch.device("cpu"))


def dense_model(seed, stride=1):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, stride=stride), nn.ReLU(), nn.Conv2d(6, NUM_CLASSES, 1)
    )


def dense_inputs(rng, num=3, size=(12, 14)):
    inputs = rng.integers(0, 256, (num, 3, *size), np.uint8)
    masks = rng.integers(0, NUM_CLASSES, (num, *size))
    masks[:, 2:9, 3:11] = 1
    masks[0, :4] = IGNORE
    return inputs, masks
