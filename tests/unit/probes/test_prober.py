"""The fast path on the device equals slow loops over the definitions."""

import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from ray_audit.probes.likelihood import likelihood
from ray_audit.probes.payload import without_payload
from ray_audit.probes.prober import ProbeTurn
from ray_audit.samples import IGNORE
from tests.support.batches import class_batch, dense_batch, frames_batch
from tests.support.probed import NUM_CLASSES, dense_inputs, dense_model, probe, prober


def image_model(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(24, NUM_CLASSES),
    )  # fmt: skip


class FrameModel(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.encode = nn.Linear(3 * 5 * 6, 8)
        self.mix = nn.Conv1d(8, NUM_CLASSES, 3, padding=1)

    def forward(self, x):
        hidden = torch.tanh(self.encode(x.flatten(2)))
        return self.mix(hidden.transpose(1, 2)).transpose(1, 2)


def test_likelihood_equals_plain_softmax(rng):
    logits = torch.from_numpy(rng.normal(0, 3, (50, NUM_CLASSES)))
    labels = torch.from_numpy(rng.integers(0, NUM_CLASSES, 50))
    seen = likelihood(logits.float().clone(), labels)
    p = torch.softmax(logits, 1).numpy()
    for i, y in enumerate(labels.numpy()):
        others = np.delete(logits[i].numpy(), y)
        onehot = np.eye(NUM_CLASSES)[y]
        assert seen.loss[i] == pytest.approx(-np.log(p[i, y]), rel=1e-5, abs=1e-6)
        assert seen.p_label[i] == pytest.approx(p[i, y], rel=1e-5)
        assert seen.observed["margin"][i] == pytest.approx(
            float(logits[i, y]) - others.max(), rel=1e-5
        )
        assert seen.observed["prob_margin"][i] == pytest.approx(
            p[i, y] - np.delete(p[i], y).max(), abs=1e-6
        )
        assert seen.observed["el2n"][i] == pytest.approx(
            np.linalg.norm(p[i] - onehot), rel=1e-5, abs=1e-6
        )
        assert seen.predicted[i] == p[i].argmax()


def test_likelihood_keeps_extreme_logits_finite():
    logits = torch.tensor([[200.0, -200.0], [0.0, 0.0]])
    seen = likelihood(logits.clone(), torch.tensor([1, 0]))
    assert seen.loss.tolist() == pytest.approx([400.0, np.log(2)])
    assert seen.predicted.tolist() == [0, 0]


def test_likelihood_resolves_the_error_of_a_fitted_label():
    seen = likelihood(torch.tensor([[10.0, 0.0]]), torch.tensor([0]))
    assert seen.observed["el2n"].item() == pytest.approx(np.sqrt(2) / (1 + np.exp(10)), rel=1e-2)


def test_image_trajectories_equal_a_loop_over_single_images(rng):
    inputs = rng.integers(0, 256, (5, 3, 8, 9), np.uint8)
    labels = rng.integers(0, NUM_CLASSES, 5)
    models = [image_model(seed) for seed in range(3)]
    arrays = probe(models, class_batch(inputs, labels))
    for n in range(5):
        for e, model in enumerate(models):
            x = torch.from_numpy(inputs[n : n + 1]).double() / 255
            loss = F.cross_entropy(model.double()(x), torch.tensor([labels[n]]))
            model.float()
            assert arrays["trajectory/loss"][n, e] == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize("target", ["loss", "logit"])
def test_vog_of_images_equals_gradients_kept_whole(rng, target):
    inputs = rng.random((4, 3, 6, 5), np.float32)
    labels = rng.integers(0, NUM_CLASSES, 4)
    models = [image_model(seed) for seed in range(4)]
    arrays = probe(models, class_batch(inputs, labels), target)
    for n in range(4):
        maps, squared = [], []
        for model in models:
            x = torch.from_numpy(inputs[n : n + 1]).double().requires_grad_()
            logits = model.double()(x)
            y = torch.tensor([labels[n]])
            value = F.cross_entropy(logits, y) if target == "loss" else logits[0, labels[n]]
            (g,) = torch.autograd.grad(value, x)
            model.float()
            maps.append(g[0].mean(0).numpy())
            squared.append(float((g**2).sum()))
        vog = np.std(maps, axis=0).mean()
        assert arrays["vog/sum"][n] / arrays["vog/num_px"][n] == pytest.approx(vog, rel=1e-4)
        if target == "loss":
            result = arrays["trajectory/grad_sqnorm"][n]
            assert result == pytest.approx(squared, rel=1e-4)


def test_vog_of_frames_reads_each_frame_in_its_own_clip(rng):
    inputs = rng.random((2, 4, 3, 5, 6), np.float32)
    targets = rng.integers(0, NUM_CLASSES, (2, 4))
    targets[0, 0] = IGNORE
    owned = np.array([[0, 1, 1, 0], [0, 0, 1, 1]], bool)
    models = [FrameModel(seed) for seed in range(3)]
    arrays = probe(models, frames_batch(inputs, targets, owned), "loss")
    for row, (n, t) in enumerate(zip(*np.nonzero(owned), strict=True)):
        maps = []
        for model in models:
            x = torch.from_numpy(inputs[n : n + 1]).double().requires_grad_()
            logits = model.double()(x)[0]
            y = torch.from_numpy(targets[n])
            loss = F.cross_entropy(logits, y, ignore_index=IGNORE, reduction="sum")
            (g,) = torch.autograd.grad(loss, x)
            model.float()
            maps.append(g[0, t].mean(0).numpy())
        vog = np.std(maps, axis=0).mean()
        assert arrays["vog/sum"][row] / arrays["vog/num_px"][row] == pytest.approx(vog, rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("default:The .grad attribute")  # of torch's own compiler
def test_compiled_models_give_the_same_but_for_rounding(rng):
    models = [image_model(seed) for seed in range(2)]
    for num in (3, 5):  # another shape is another program
        inputs = rng.integers(0, 256, (num, 3, 8, 9), np.uint8)
        batch = class_batch(inputs, rng.integers(0, NUM_CLASSES, num))
        exact, compiled = (probe(models, batch, "loss", compiles=c) for c in (False, True))
        for name in ("trajectory/loss", "trajectory/margin", "vog/sum"):
            assert compiled[name] == pytest.approx(exact[name], rel=1e-4, abs=1e-6), name


def test_in_any_thread_a_compiled_model_may_have_a_program_for_every_shape(rng, monkeypatch):
    from torch._dynamo import config

    limits = []
    model = image_model(0)
    model.register_forward_hook(lambda *_: limits.append(config.cache_size_limit))
    monkeypatch.setattr("ray_audit.probes.prober.compiled", lambda model: model)
    made = prober([model], None, compiles=True)
    batch = class_batch(rng.integers(0, 256, (2, 3, 8, 9), np.uint8), [0, 1])
    turns = {0: ProbeTurn(is_final=True, in_window=False)}
    thread = threading.Thread(target=made.observe, args=(batch, turns))
    thread.start()
    thread.join()
    assert len(limits) == 1
    assert limits[0] >= 1000


def test_a_model_that_changes_its_input_spoils_nothing_for_the_next(rng):
    class InPlace(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x.mul_(0.5))

    batch = class_batch(rng.integers(0, 256, (4, 3, 8, 9), np.uint8), [0, 1, 2, 3])
    models = [InPlace(image_model(seed)) for seed in range(3)]
    turns = {i: ProbeTurn(is_final=i == 2, in_window=True) for i in range(3)}
    for gradient in (None, "loss"):
        together = without_payload(
            batch.with_arrays(prober(models, gradient).observe(batch, turns))
        ).arrays
        alone = probe(models, batch, gradient)
        for name in alone.keys() - {"trajectory/probe_s"}:
            assert np.array_equal(alone[name], together[name]), name


def test_one_checkpoint_after_another_or_two_in_one_actor_is_the_same(rng):
    inputs, masks = dense_inputs(rng)
    models = [dense_model(seed) for seed in range(4)]
    first = probe(models, dense_batch(inputs, masks), "loss")
    again = probe(models, dense_batch(inputs, masks), "loss")
    for name in first:
        if name != "trajectory/probe_s":
            assert np.array_equal(first[name], again[name], equal_nan=True), name


@pytest.mark.parametrize("shape", [(5, NUM_CLASSES + 1), (4, NUM_CLASSES), (5, NUM_CLASSES, 2)])
def test_logits_of_another_shape_are_refused_with_both_shapes(rng, shape):
    class Wrong(nn.Module):
        def forward(self, x):
            return torch.zeros(shape)

    inputs = rng.random((5, 3, 4, 4), np.float32)
    with pytest.raises(ValueError, match=r"expected \(5, 4\)"):
        probe([Wrong()], class_batch(inputs, [0] * 5))


def test_output_names_the_entry_of_an_answer(rng):
    class Answers(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = image_model(0)

        def forward(self, x):
            return {"features": x, "logits": self.inner(x)}

    inputs = rng.random((2, 3, 4, 4), np.float32)
    arrays = probe([Answers()], class_batch(inputs, [0, 1]), output="logits")
    plain = probe([image_model(0)], class_batch(inputs, [0, 1]))
    assert np.array_equal(arrays["trajectory/loss"], plain["trajectory/loss"])
    with pytest.raises(ValueError, match=r"model\.output"):
        probe([Answers()], class_batch(inputs, [0, 1]))


def test_weights_that_are_no_numbers_give_a_loss_that_is_none_and_no_exception(rng):
    inputs, masks = dense_inputs(rng)
    model = dense_model(0)
    model[0].weight.data[0] = torch.nan
    arrays = probe([model], dense_batch(inputs, masks), "loss")
    assert np.isnan(arrays["trajectory/loss"]).all()


def test_a_model_whose_views_need_the_plain_layout_gets_it(rng):
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.head = nn.Linear(4 * 36, NUM_CLASSES)

        def forward(self, x):
            hidden = self.conv(x)
            return self.head(hidden.view(len(x), -1))

    inputs = rng.random((3, 3, 6, 6), np.float32)
    arrays = probe([Views()], class_batch(inputs, [0, 1, 2]), "loss")
    logits = Views()(torch.from_numpy(inputs))
    expected = F.cross_entropy(logits, torch.tensor([0, 1, 2]), reduction="none")
    assert arrays["trajectory/loss"][:, 0] == pytest.approx(expected.detach().numpy(), rel=1e-5)
