import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from ray_audit.probes.gradients import finish_moments
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
from tests.support.batches import dense_batch
from tests.support.probed import NUM_CLASSES, dense_inputs, dense_model, probe


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
        actual = {
            "softmin": finish_softmin(arrays["final/softmin"][n]),
            "softmin_interior": finish_softmin(arrays["final/interior"][n]),
            "cil": arrays["trajectory/p_label"][n, -1] / num_labelled,
            "ccp": finish_ccp(counts),
            "tccp": finish_tccp(arrays["final/tccp"][n], counts),
            "iou": finish_iou(counts),
            "coco": finish_coco(merge_components([mine])),
        }
        assert actual == pytest.approx(expected, rel=1e-4)


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
        result = finish_moments(arrays, rects, masks, 4)
        std = maps.std(0)
        sums, num_px = np.zeros((2, 4)), np.zeros((2, 4), int)
        for n, (y0, x0, y1, x1) in enumerate(rects):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    label = masks[n, int((y + 0.5) * 9 / size[0]), int((x + 0.5) * 13 / size[1])]
                    if label >= 0:
                        sums[n, label] += std[n, y, x]
                        num_px[n, label] += 1
        assert result["vog/class_px"].tolist() == num_px.tolist()
        assert result["vog/class_sum"] == pytest.approx(sums, rel=1e-5)
