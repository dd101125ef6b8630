"""The fast path on the device equals slow loops over the definitions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from ray_audit.config import InputConfig
from ray_audit.probes.gradients import finish_moments
from ray_audit.probes.likelihood import likelihood
from ray_audit.probes.prober import Prober, ProbeSettings, ProbeTurn, without_payload
from ray_audit.samples import IGNORE
from ray_audit.scores.components import connected_components
from ray_audit.scores.segmentation import (
    finish_ccp,
    finish_coco,
    finish_iou,
    finish_softmin,
    finish_tccp,
    interior_mask,
    merge_components,
    merge_softmin,
    score_image,
)
from ray_audit.scores.void import void_components
from tests.support.batches import class_batch, dense_batch, frames_batch

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


def image_model(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(24, NUM_CLASSES),
    )  # fmt: skip


def dense_model(seed, stride=1):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, stride=stride), nn.ReLU(), nn.Conv2d(6, NUM_CLASSES, 1)
    )


class FrameModel(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.encode = nn.Linear(3 * 5 * 6, 8)
        self.mix = nn.Conv1d(8, NUM_CLASSES, 3, padding=1)

    def forward(self, x):
        hidden = torch.tanh(self.encode(x.flatten(2)))
        return self.mix(hidden.transpose(1, 2)).transpose(1, 2)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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
            got = arrays["trajectory/grad_sqnorm"][n]
            assert got == pytest.approx(squared, rel=1e-4)


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


def dense_inputs(rng, num=3, size=(12, 14)):
    inputs = rng.integers(0, 256, (num, 3, *size), np.uint8)
    masks = rng.integers(0, NUM_CLASSES, (num, *size))
    masks[:, 2:9, 3:11] = 1
    masks[0, :4] = IGNORE
    return inputs, masks


def probabilities(model, image):
    x = torch.from_numpy(image[None]).double() / 255
    p = torch.softmax(model.double()(x), 1)[0].numpy()
    model.float()
    return p


def test_dense_final_scores_equal_the_definitions_on_each_image(rng):
    inputs, masks = dense_inputs(rng)
    models = [dense_model(seed) for seed in range(2)]
    arrays = probe(models, dense_batch(inputs, masks))
    for n in range(len(inputs)):
        expected = score_image(probabilities(models[-1], inputs[n]), masks[n])
        counts = arrays["final/class_counts"][n]
        components = arrays["final/components"]
        mine = components[components[:, 0] == n, 1:]
        num_labelled = (masks[n] != IGNORE).sum()
        got = {
            "softmin": finish_softmin(arrays["final/softmin"][n]),
            "softmin_interior": finish_softmin(arrays["final/interior"][n]),
            "cil": arrays["trajectory/p_label"][n, -1] / num_labelled,
            "ccp": finish_ccp(counts),
            "tccp": finish_tccp(arrays["final/tccp"][n], counts),
            "iou": finish_iou(counts),
            "coco": finish_coco(merge_components([mine])),
        }
        assert got == pytest.approx(expected, rel=1e-4)


def test_dense_vog_is_that_of_the_mean_over_labelled_pixels(rng):
    inputs, masks = dense_inputs(rng)
    models = [dense_model(seed) for seed in range(3)]
    arrays = probe(models, dense_batch(inputs, masks), "loss")
    for n in range(len(inputs)):
        maps = []
        for model in models:
            x = (torch.from_numpy(inputs[n : n + 1]).double() / 255).requires_grad_()
            logits = model.double()(x)
            y = torch.from_numpy(masks[n : n + 1])
            (g,) = torch.autograd.grad(F.cross_entropy(logits, y, ignore_index=IGNORE), x)
            model.float()
            maps.append(g[0].mean(0).numpy())
        vog = np.std(maps, axis=0).mean()
        assert arrays["vog/sum"][n] / arrays["vog/num_px"][n] == pytest.approx(vog, rel=1e-4)


@pytest.mark.parametrize(("precision", "within"), [("fp16", 0.01), ("bf16", 0.1)])
def test_gradients_of_a_large_mask_do_not_vanish_in_16_bit(rng, precision, within):
    """Each of 65,536 pixels has a 65,536th of the loss: halves lose such gradients unscaled."""
    inputs = rng.integers(0, 256, (1, 3, 256, 256), np.uint8)
    masks = rng.integers(0, NUM_CLASSES, (1, 256, 256))
    models = [dense_model(seed) for seed in range(3)]
    exact = probe(models, dense_batch(inputs, masks), "loss")
    rough = probe(models, dense_batch(inputs, masks), "loss", precision=precision)
    assert rough["vog/sum"] == pytest.approx(exact["vog/sum"], rel=within)
    assert rough["trajectory/loss"] == pytest.approx(exact["trajectory/loss"], rel=within)


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


def test_small_logits_are_resized_to_the_mask_before_the_softmax(rng):
    inputs, masks = dense_inputs(rng)
    model = dense_model(0, stride=2)
    arrays = probe([model], dense_batch(inputs, masks))
    logits = model(torch.from_numpy(inputs).float() / 255)
    logits = F.interpolate(logits, size=masks.shape[1:], mode="bilinear", align_corners=False)
    loss = F.cross_entropy(logits, torch.from_numpy(masks), ignore_index=IGNORE, reduction="none")
    assert arrays["trajectory/loss"][:, 0] == pytest.approx(loss.sum((1, 2)).numpy(), rel=1e-5)


def test_confusion_counts_given_against_predicted(rng):
    inputs, masks = dense_inputs(rng)
    model = dense_model(0)
    arrays = probe([model], dense_batch(inputs, masks))
    expected = np.zeros((NUM_CLASSES, NUM_CLASSES), int)
    for image, mask in zip(inputs, masks, strict=True):
        predicted = probabilities(model, image).argmax(0)
        for given, seen in zip(mask.ravel(), predicted.ravel(), strict=True):
            if given != IGNORE:
                expected[given, seen] += 1
    given = arrays["confusion/given"]
    assert len(np.unique(given, axis=0)) == len(given)
    seen = np.zeros_like(expected)
    np.add.at(seen, given[:, 1], arrays["trajectory/confusion"][..., 0])
    assert (seen == expected).all()


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


def test_tiles_of_an_image_add_up_to_the_whole(rng):
    """With a model that sees one pixel at a time, tiles must change nothing."""
    inputs, masks = dense_inputs(rng, num=1, size=(12, 14))
    torch.manual_seed(0)
    model = nn.Conv2d(3, NUM_CLASSES, 1)
    whole = probe([model], dense_batch(inputs, masks))
    halves = [probe([model], dense_tile(inputs, masks, y0, own)) for y0, own in HALVES]
    for name in ("loss", "p_label", "correct", "el2n"):
        total = sum(half[f"trajectory/{name}"] for half in halves)
        assert total == pytest.approx(whole[f"trajectory/{name}"], rel=1e-6)
    for name in ("final/class_counts", "final/tccp", "final/below", "confident/p_label"):
        assert np.array_equal(sum(half[name] for half in halves), whole[name]), name
    parts = np.concatenate([half["confident/off_diagonal"] for half in halves])
    for _, predicted, *histogram in whole["confident/off_diagonal"]:
        of_class = parts[parts[:, 1] == predicted]
        assert np.array_equal(of_class[:, 2:].sum(axis=0), histogram)
    for name in ("final/softmin", "final/interior"):
        merged = finish_softmin(merge_softmin(np.concatenate([half[name] for half in halves])))
        assert merged == pytest.approx(finish_softmin(whole[name][0]))
    components = merge_components([half["final/components"][:, 1:] for half in halves])
    assert components == pytest.approx(merge_components([whole["final/components"][:, 1:]]))


HALVES = ((0, (0, 0, 6, 14)), (4, (2, 0, 8, 14)))


def dense_tile(inputs, masks, y0, owned):
    """Rows y0 to y0 + 8 of the image, of which `owned` counts."""
    part = slice(y0, y0 + 8)
    maps = {
        "owned_rect": np.array([owned], np.int32),
        "interior": interior_mask(masks[0])[None, part].astype(np.uint8),
        "components": connected_components(masks[0])[None, part],
        "void_components": void_components(masks[0])[None, part],
        "placement": np.array([[y0, 0, *masks.shape[1:]]], np.int64),
    }
    return dense_batch(inputs[:, :, part], masks[:, part], **maps)


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


def test_vog_by_class_reads_each_pixel_in_the_class_under_its_centre(rng):
    masks = rng.integers(-1, 3, (2, 9, 13))
    for size in ((9, 13), (18, 26), (4, 5)):
        maps = rng.random((3, 2, *size), np.float32)
        arrays = {
            "vog/count": np.array([3]),
            "vog/mean": maps.mean(0),
            "vog/m2": ((maps - maps.mean(0)) ** 2).sum(0),
        }
        rects = np.array([[0, 0, *size], [1, 2, size[0], size[1] - 1]])
        got = finish_moments(arrays, rects, masks, 4)
        std = maps.std(0)
        sums, num_px = np.zeros((2, 4)), np.zeros((2, 4), int)
        for n, (y0, x0, y1, x1) in enumerate(rects):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    label = masks[n, int((y + 0.5) * 9 / size[0]), int((x + 0.5) * 13 / size[1])]
                    if label >= 0:
                        sums[n, label] += std[n, y, x]
                        num_px[n, label] += 1
        assert got["vog/class_px"].tolist() == num_px.tolist()
        assert got["vog/class_sum"] == pytest.approx(sums, rel=1e-5)
