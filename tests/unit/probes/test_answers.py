"""Models of every shape: what they take and what they answer."""

from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ray_audit.config import InputConfig
from ray_audit.errors import SpecificationError
from ray_audit.probes.answers import AnswerForm, logits_of
from ray_audit.probes.prepare import ModelInput, as_laid_out, model_input
from ray_audit.probes.prober import Prober, ProbeSettings, ProbeTurn
from ray_audit.task import Task
from tests.support.batches import frames_batch

CPU = torch.device("cpu")
Z = torch.tensor([[1.0, 2.0]])
Pair = namedtuple("Pair", "loss logits")


@dataclass
class Output:
    logits: torch.Tensor
    hidden: None = None


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (Z, None),
        ({"out": Z}, "out"),
        ({"out": {"aux": Z}}, "out.aux"),
        (Output(Z), "logits"),
        (Pair(0, Z), "logits"),
        (SimpleNamespace(head=SimpleNamespace(logits=Z)), "head.logits"),
        ([0, Z], -1),
        (torch.stack([Z * 0, Z]), -1),
        ({"stages": [0, Z]}, "stages.-1"),
        ({1: Z}, 1),
    ],
)
def test_logits_are_found_by_name_attribute_path_and_index(answer, output):
    assert logits_of(answer, output) is Z or torch.equal(logits_of(answer, output), Z)


@pytest.mark.parametrize(
    ("answer", "output", "message"),
    [
        ({"out": Z, "aux": Z}, "logits", "'logits' is not in .* a dict with out, aux"),
        (Output(Z), "out", "an? Output with logits, hidden"),
        (Pair(0, Z), "out", "Pair with loss, logits"),
        ([Z], 3, "3 is not in .* a list of 1 entries"),
        ({"out": {"aux": Z}}, "out.main", "'main' of 'out.main' is not in .*with aux"),
        (Output(Z), None, r"answered a Output with logits, hidden.*model\.output"),
    ],
)
def test_what_is_missing_names_what_is_there(answer, output, message):
    with pytest.raises(ValueError, match=message):
        logits_of(answer, output)


def test_class_indices_are_no_logits():
    with pytest.raises(ValueError, match="indices of classes"):
        AnswerForm(3).logits(torch.tensor([1, 2]), Task.CLASS)


def softmax_of(form, answer, task, num_frames=None):
    logits = form.logits(answer, task, num_frames)
    return torch.softmax(logits.double(), dim=1 if task.is_dense else -1)


@pytest.mark.parametrize("task", [Task.CLASS, Task.FRAMES, Task.DENSE])
def test_probabilities_and_their_logarithms_give_the_same_as_logits(task):
    shape = {Task.CLASS: (4, 3), Task.FRAMES: (2, 5, 3), Task.DENSE: (2, 3, 4, 5)}[task]
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    axis = 1 if task.is_dense else -1
    p = torch.softmax(z, axis)
    frames = 5 if task is Task.FRAMES else None
    expected = softmax_of(AnswerForm(3), z, task, frames)
    for answers, given in (("probabilities", p), ("log_probabilities", p.log())):
        actual = softmax_of(AnswerForm(3, answers=answers), given, task, frames)
        torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("task", "shape", "frames"),
    [
        (Task.CLASS, (4, 1), None),
        (Task.CLASS, (4,), None),
        (Task.FRAMES, (2, 5, 1), 5),
        (Task.FRAMES, (2, 5), 5),
        (Task.DENSE, (2, 1, 4, 5), None),
        (Task.DENSE, (2, 4, 5), None),
    ],
)
@pytest.mark.parametrize("answers", ["logits", "sigmoid", "probabilities", "log_probabilities"])
def test_one_number_for_two_classes_is_the_second_ones(task, shape, frames, answers):
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    given = {"probabilities": z.sigmoid(), "log_probabilities": z.sigmoid().log()}.get(answers, z)
    p = softmax_of(AnswerForm(2, answers=answers), given, task, frames)
    second = p.select(1 if task.is_dense else -1, 1)
    torch.testing.assert_close(second.flatten(), z.sigmoid().double().flatten())


def test_sigmoids_of_many_classes_are_taken_in_proportion():
    z = torch.tensor([[0.0, 1.0, -2.0]])
    p = softmax_of(AnswerForm(3, answers="sigmoid"), z, Task.CLASS)
    torch.testing.assert_close(p, (z.sigmoid() / z.sigmoid().sum()).double())


def test_maps_with_classes_last_and_sequences_with_frames_last_are_turned():
    dense = torch.randn(2, 4, 5, 3)
    assert torch.equal(AnswerForm(3, layout="NHWC").logits(dense, Task.DENSE), dense.movedim(-1, 1))
    frames = torch.randn(2, 3, 7)
    assert torch.equal(AnswerForm(3).logits(frames, Task.FRAMES, 7), frames.transpose(1, 2))
    square = torch.randn(2, 3, 3)
    assert torch.equal(AnswerForm(3).logits(square, Task.FRAMES, 3), square)
    turned = AnswerForm(3, layout="NDT").logits(square, Task.FRAMES, 3)
    assert torch.equal(turned, square.transpose(1, 2))


def test_layouts_of_inputs():
    assert as_laid_out(torch.zeros(2, 5, 3, 8, 9), "NCTHW").shape == (2, 3, 5, 8, 9)
    assert as_laid_out(torch.zeros(2, 3, 8, 9), "NHWC").shape == (2, 8, 9, 3)
    assert as_laid_out(torch.zeros(2, 5, 4), "NDT").shape == (2, 4, 5)
    with pytest.raises(ValueError, match=r"layout NCTHW does not fit inputs \(2, 3, 8, 9\)"):
        as_laid_out(torch.zeros(2, 3, 8, 9), "NCTHW")


def test_channels_scale_and_their_units():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5)).astype(np.uint8)
    plain = torch.from_numpy(pixels).float()
    assert torch.equal(model_input(pixels, InputConfig(scale=255), CPU), plain)
    bgr = model_input(pixels, InputConfig(scale=255, channels="bgr"), CPU)
    assert torch.equal(bgr, plain.flip(1))
    grey = model_input(pixels, InputConfig(scale=255, channels="grey"), CPU)
    luma = (plain * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(grey, luma)
    result = model_input(pixels[:, :1], InputConfig(channels="rgb"), CPU)
    torch.testing.assert_close(result, plain[:, :1].repeat(1, 3, 1, 1) / 255)
    scaled = InputConfig(scale=255, mean=[123.0, 116.0, 103.0], std=[58.0, 57.0, 57.0])
    small = model_input(pixels.astype(np.float32) / 255, scaled, CPU)
    torch.testing.assert_close(small, model_input(pixels, scaled, CPU), atol=1e-4, rtol=1e-4)


def test_a_mean_in_units_of_255_names_scale():
    with pytest.raises(SpecificationError, match=r"mean 123\.7 is above 1.*scale: 255"):
        InputConfig(mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4])


class Colour(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.head(x).mean((2, 3))


def test_a_grey_image_is_given_three_channels_where_the_model_takes_no_other():
    model = Colour().eval()
    grey = np.random.default_rng(0).integers(0, 256, (2, 1, 4, 5)).astype(np.uint8)
    made = ModelInput(InputConfig(), CPU)
    assert torch.equal(made(grey, model), model_input(grey, InputConfig(channels="rgb"), CPU))
    any_number = ModelInput(InputConfig(), CPU)
    assert any_number(grey, lambda x: x.mean((2, 3))).shape == (2, 1, 4, 5)


def test_colour_behind_grey_that_went_through_is_refused_with_the_key_that_helps():
    grey = np.random.default_rng(0).integers(0, 256, (2, 1, 4, 5)).astype(np.uint8)
    made, model = ModelInput(InputConfig(), CPU), nn.Conv2d(1, 3, 1).eval()
    assert torch.equal(made(grey, model), model_input(grey, InputConfig(), CPU))
    with pytest.raises(ValueError, match=r"takes grey images only: give model\.input\.channels"):
        made(np.repeat(grey, 3, 1), model)
    as_configured = ModelInput(InputConfig(channels="grey"), CPU)
    assert as_configured(np.repeat(grey, 3, 1), model).shape == (2, 1, 4, 5)


class Volume(nn.Module):
    """(N, C, T, H, W) to a row of logits per frame."""

    def __init__(self, num_classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU())
        self.flat = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        y = self.body(x).transpose(1, 2)
        n, t = y.shape[:2]
        return self.head(self.flat(y.flatten(0, 1)).mean((2, 3)).view(n, t, -1))


@pytest.mark.parametrize("gradient", [None, "loss"])
def test_models_with_convolutions_of_three_dimensions_are_probed(gradient):
    model = Volume().eval().requires_grad_(False)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 3, 8, 8)).astype(np.uint8)
    batch = frames_batch(pixels, np.array([[0, 1, 2, 0], [1, 1, 2, 2]], np.int8), np.ones((2, 4)))
    given = torch.from_numpy(pixels).float().div(255).transpose(1, 2)
    with torch.no_grad():
        expected = model(given)
    settings = ProbeSettings(3, InputConfig(layout="NCTHW"), None, gradient, 0.1, "float32")
    arrays = Prober([model], settings, CPU).observe(batch, {0: ProbeTurn(True, True)})
    labels = torch.from_numpy(batch.arrays["targets"]).long()
    loss = torch.nn.functional.cross_entropy(
        expected.flatten(0, 1), labels.flatten(), reduction="none"
    )
    np.testing.assert_allclose(arrays["trajectory/loss"][:, 0], loss.numpy(), rtol=1e-5)
