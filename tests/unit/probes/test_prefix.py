"""Layers that checkpoints share run once, and every bit is as if they had not."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ray_audit.config import InputConfig
from ray_audit.probes.prefix import SharedChain, shared_note
from ray_audit.probes.prober import Prober, ProbeSettings, ProbeTurn
from tests.support.batches import class_batch, dense_batch

NUM_CLASSES = 3


class Counting(nn.Module):
    """Does nothing, and counts how often."""

    calls = 0

    def forward(self, x):
        Counting.calls += 1
        return x


class PrefixAndHead(nn.Module):
    def __init__(self, layers, cut):
        super().__init__()
        self.prefix, self.head = nn.Sequential(*layers[:cut]), nn.Sequential(*layers[cut:])

    def forward(self, x):
        return self.head(self.prefix(x))


class ScaledBetween(PrefixAndHead):
    """Shows a prefix and a head, and is more than the two."""

    def forward(self, x):
        return self.head(self.prefix(x) * 2)


def layers(is_dense=False):
    """The layer after the cut changes its input in place."""
    body = [
        Counting(), nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(inplace=True),
    ]  # fmt: skip
    if is_dense:
        return [*body, nn.Conv2d(6, NUM_CLASSES, 1)]
    return [*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, NUM_CLASSES)]


def checkpoints(frozen, make=lambda made: nn.Sequential(*made), is_dense=False):
    """Models of which number i shares `frozen[i]` layers with the one before."""
    torch.manual_seed(0)
    made, models = layers(is_dense), []
    made[2].running_mean.normal_()
    for num in frozen:
        made = copy.deepcopy(made)
        for place, layer in enumerate(made):
            for parameter in layer.parameters() if place >= num else ():
                nn.init.normal_(parameter, std=0.3)
        models.append(make(made).eval().requires_grad_(False))
    return models


def observed(models, batch, gradients, together):
    settings = ProbeSettings(NUM_CLASSES, InputConfig(), None, "loss", 0.1, "float32")
    turns = {i: ProbeTurn(i == len(models) - 1, gradients[i]) for i in range(len(models))}
    if together:
        return Prober(models, settings, torch.device("cpu")).observe(batch, turns)
    for i, model in enumerate(models):
        alone = Prober([model], settings, torch.device("cpu"))
        batch = batch.with_arrays(alone.observe(batch, {0: turns[i]}))
    return batch.arrays


def images(is_dense=False):
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (4, 3, 8, 10), np.uint8)
    if is_dense:
        return dense_batch(inputs, rng.integers(0, NUM_CLASSES, (4, 8, 10)))
    return class_batch(inputs, rng.integers(0, NUM_CLASSES, 4))


def assert_same(first, other):
    assert first.keys() == other.keys()
    for name in first.keys() - {"trajectory/probe_s"}:
        assert np.array_equal(first[name], other[name], equal_nan=True), name


@pytest.mark.parametrize("gradients", ["none", "all", "late"])
@pytest.mark.parametrize("make", ["sequential", "prefix_and_head"])
@pytest.mark.parametrize("is_dense", [False, True])
def test_shared_layers_run_once_and_change_no_bit(make, gradients, is_dense):
    makers = {"sequential": lambda m: nn.Sequential(*m), "prefix_and_head": cut_at_3}
    models = checkpoints([0, 5, 5, 3, 4], makers[make], is_dense)
    turns = {"none": [False] * 5, "all": [True] * 5, "late": [False, False, False, True, True]}
    batch = images(is_dense)
    expected = observed(models, batch, turns[gradients], together=False)
    Counting.calls = 0
    assert_same(observed(models, batch, turns[gradients], together=True), expected)
    checks = 2 if make == "prefix_and_head" else 0  # the model against its parts, once
    assert Counting.calls == checks + (2 if gradients == "late" else 1)


def cut_at_3(made):
    return PrefixAndHead(made, 3)


def test_a_turn_left_out_is_not_taken_for_the_one_before():
    models = checkpoints([0, 5, 3, 5])
    settings = ProbeSettings(NUM_CLASSES, InputConfig(), None, None, 0.1, "float32")
    prober = Prober(models, settings, torch.device("cpu"))
    turn = ProbeTurn(is_final=False, in_window=False)
    batch = images()
    chosen = prober.observe(batch, {0: turn, 2: turn, 3: turn})
    every = prober.observe(batch, dict.fromkeys(range(4), turn))
    assert np.array_equal(chosen["trajectory/loss"], every["trajectory/loss"][:, [0, 2, 3]])
    other = prober.observe(class_batch(255 - batch.arrays["inputs"], [0] * 4), {0: turn, 1: turn})
    assert not np.array_equal(other["trajectory/loss"][:, 0], every["trajectory/loss"][:, 0])


def test_buffers_that_differ_end_what_is_shared():
    models = checkpoints([0, 5, 5])
    assert SharedChain(models, None).starts == (0, 8, 8)
    models[1][2].running_var += 1e-3
    assert SharedChain(models, None).starts == (0, 2, 2)
    models[1][1].weight.data[0, 0, 0, 0] += 1e-6
    assert not SharedChain(models, None).shares  # a layer without weights is not worth it


def test_nested_layers_are_looked_into():
    models = checkpoints([0, 5], lambda m: nn.Sequential(nn.Sequential(*m[:6]), *m[6:]))
    assert SharedChain(models, None).starts == (0, 8)


def test_a_model_that_is_more_than_its_prefix_and_head_shares_nothing():
    models = checkpoints([0, 5], lambda made: ScaledBetween(made, 3))
    expected = observed(models, images(), [True] * 2, together=False)
    assert_same(observed(models, images(), [True] * 2, together=True), expected)


def test_weights_beside_prefix_and_head_or_hooks_forbid_sharing():
    models = checkpoints([0, 5], cut_at_3)
    for model in models:
        model.extra = nn.Parameter(torch.zeros(1))
    assert not SharedChain(models, None).shares
    models = checkpoints([0, 5])
    models[0].register_forward_hook(lambda *given: None)
    assert not SharedChain(models, None).shares


def test_the_note_names_the_layers_and_checkpoints():
    note = shared_note(["e1", "e2", "e3"], SharedChain(checkpoints([0, 5, 3]), None))
    assert note.startswith("4 to 8 of 9 layers are the same in checkpoint e2 and 1 more")
    assert shared_note(["e1", "e2"], SharedChain(checkpoints([0, 0]), None)) == ""
