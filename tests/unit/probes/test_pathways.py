"""Models that take one clip at several rates, against plain loops over its frames."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from ray_audit.config import InputConfig
from ray_audit.errors import SpecificationError
from ray_audit.probes.pathways import pathways_of
from ray_audit.probes.prober import ProbeTurn
from ray_audit.samples import Batch
from ray_audit.task import Task
from tests.support.batches import frames_batch, rows
from tests.support.probed import NUM_CLASSES, probe, prober
from tests.support.tiny_models import TwoRates

PATHWAYS = InputConfig(layout="NCTHW", pathways=[4, 1])


@pytest.mark.parametrize(
    ("num_frames", "slow"),
    [(8, [0, 7]), (32, [0, 4, 8, 13, 17, 22, 26, 31]), (30, [0, 4, 9, 14, 19, 24, 29])],
)
def test_the_slow_pathway_has_the_frames_that_slowfast_packs_and_the_fast_one_all(num_frames, slow):
    clips = torch.arange(num_frames).view(1, -1, 1, 1, 1).expand(2, -1, 3, 2, 2)
    first, second = pathways_of(clips, [4, 1])
    assert first[0, :, 0, 0, 0].tolist() == first[1, :, 2, 1, 1].tolist() == slow
    assert torch.equal(second, clips)


def test_a_clip_that_is_too_short_for_a_pathway_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="at least 4 frames, this one has 3"):
        pathways_of(torch.zeros(1, 3, 3, 4, 4), [4, 1])


def test_pathways_that_leave_frames_to_none_are_refused_with_what_thins_a_clip():
    with pytest.raises(SpecificationError, match=r"dataset\.clip\.every: 2"):
        InputConfig(pathways=[8, 2])


def two_rates(seed, by_frame):
    torch.manual_seed(seed)
    return TwoRates(NUM_CLASSES, by_frame)


def videos_batch(inputs, labels):
    samples = rows(len(inputs), label=list(map(int, labels)))
    arrays = {"inputs": inputs, "targets": np.asarray(labels, np.int8)}
    return Batch("unit", 0, Task.CLIPS, samples, arrays)


def by_hand(model, clip, label, target):
    """Loss or logit of one clip, and its gradient by frame, from two inputs of their own."""
    frames = torch.from_numpy(clip).double().transpose(0, 1)[None]
    places = [0, 7]
    slow = frames[:, :, places].clone().requires_grad_()
    fast = frames.clone().requires_grad_()
    logits = model.double()([slow, fast])[0].reshape(-1, NUM_CLASSES)
    labels = torch.as_tensor(label).reshape(-1).long()
    losses = F.cross_entropy(logits, labels, reduction="none")
    value = losses if target == "loss" else logits[torch.arange(len(labels)), labels]
    of_slow, of_fast = torch.autograd.grad(value.sum(), [slow, fast])
    model.float()
    for at, place in enumerate(places):
        of_fast[:, :, place] += of_slow[:, :, at]
    return losses.detach().numpy(), of_fast[0].mean(0).numpy()


@pytest.mark.parametrize("target", ["loss", "logit"])
@pytest.mark.parametrize("by_frame", [False, True])
def test_losses_and_vog_are_those_of_the_whole_clip_through_all_pathways(by_frame, target):
    rng = np.random.default_rng(0)
    inputs = rng.random((2, 8, 3, 5, 6), np.float32)
    models = [two_rates(seed, by_frame) for seed in range(3)]
    if by_frame:
        labels = rng.integers(0, NUM_CLASSES, (2, 8))
        batch = frames_batch(inputs, labels, np.ones((2, 8), bool))
    else:
        labels = rng.integers(0, NUM_CLASSES, 2)
        batch = videos_batch(inputs, labels)
    arrays = probe(models, batch, target, input=PATHWAYS)
    for n in range(2):
        found = [by_hand(model, inputs[n], labels[n], target) for model in models]
        losses, maps = (np.stack(each) for each in zip(*found, strict=True))
        vog = maps.std(axis=0)
        its = slice(8 * n, 8 * n + 8) if by_frame else slice(n, n + 1)
        np.testing.assert_allclose(arrays["trajectory/loss"][its], losses.T, rtol=1e-5)
        per_row = vog.mean((1, 2)) if by_frame else vog.mean()
        result = arrays["vog/sum"][its] / arrays["vog/num_px"][its]
        np.testing.assert_allclose(result, np.atleast_1d(per_row), rtol=1e-4)


class Backbone(nn.Module):
    """What two checkpoints share; it spoils what it is given."""

    calls = 0

    def __init__(self):
        super().__init__()
        self.body = nn.Conv3d(3, 4, 3, padding=1)

    def forward(self, clips):
        Backbone.calls += 1
        both = [torch.tanh(self.body(clip)).mean((2, 3, 4)) for clip in clips]
        for clip in clips:
            clip.zero_()
        return torch.cat(both, dim=1)


def test_a_frozen_backbone_of_two_pathways_runs_once_and_changes_nothing_for_the_next():
    torch.manual_seed(0)
    shared = Backbone()
    models = [nn.Sequential(shared, nn.Linear(8, NUM_CLASSES)) for _ in range(2)]
    rng = np.random.default_rng(1)
    batch = videos_batch(rng.random((2, 8, 3, 4, 4), np.float32), [1, 2])
    alone = [probe([model], batch, input=PATHWAYS)["trajectory/loss"][:, 0] for model in models]
    Backbone.calls = 0
    turns = {0: ProbeTurn(False, False), 1: ProbeTurn(True, False)}
    together = prober(models, input=PATHWAYS).observe(batch, turns)
    assert Backbone.calls == 1
    np.testing.assert_array_equal(together["trajectory/loss"], np.stack(alone, axis=1))
