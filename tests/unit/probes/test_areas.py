"""Areas against a search of the pixels that disagree, one mask at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ray_audit import rle
from ray_audit.measures.areas import AREA_COLUMNS, MAX_AREAS
from ray_audit.probes.areas import area_states
from ray_audit.probes.disagreement import disagreeing
from ray_audit.probes.likelihood import likelihood
from ray_audit.probes.masks import Maps, Masks
from ray_audit.samples import IGNORE
from tests.support.batches import dense_batch


def emitted(masks, logits):
    """Areas of each mask: their pixels, and the columns by name."""
    batch = dense_batch(np.zeros((len(masks), 1, *masks.shape[1:]), np.uint8), masks)
    targets = Masks.of(batch, torch.device("cpu"))
    maps = Maps.of(batch, slice(0, len(masks)), targets.voids, torch.device("cpu"))
    seen = likelihood(torch.tensor(logits).float(), targets.labels.clamp_min(0))
    states = area_states(disagreeing(seen, targets, maps), maps, targets.labels.shape)
    runs, size = states["final/area_runs"], masks.shape[1:]
    found, start = [[] for _ in masks], 0
    for row in states["final/areas"]:
        result = dict(zip(("mask", *AREA_COLUMNS), row, strict=True))
        mine = runs[start : start + int(result["num_runs"])]
        start += len(mine)
        assert (mine[:, 0] == result["mask"]).all()
        found[int(result["mask"])].append(
            (rle.decode(rle.encode_runs(mine[:, 1:], size), size), result)
        )
    assert start == len(runs)
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_areas_are_the_connected_pixels_that_disagree_whatever_their_classes(seed):
    rng = np.random.default_rng(seed)
    masks = np.kron(rng.integers(0, 3, (2, 6, 5)), np.ones((1, 4, 5), int))
    shown = np.kron(rng.integers(0, 3, (2, 5, 6)), np.ones((1, 5, 4), int))[:, :24, :24]
    masks = np.where(rng.random(masks.shape) < 0.02, IGNORE, masks)[:, :24, :24]
    logits = rng.normal(0, 0.3, (2, 3, 24, 24)) + 3.0 * np.eye(3)[shown].transpose(0, 3, 1, 2)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for mask, of_mask, found in zip(masks, p, emitted(masks, logits), strict=True):
        wrong = (of_mask.argmax(0) != mask) & (mask != IGNORE)
        numbers, num = ndimage.label(wrong)
        expected = [numbers == n for n in range(1, num + 1) if (numbers == n).sum() >= 16]
        assert len(found) == len(expected)
        given_p = np.take_along_axis(of_mask, mask.clip(0)[None], 0)[0]
        doubts = []
        for pixels, first in found:
            assert any((pixels == other).all() for other in expected)
            assert first["num_px"] == pixels.sum()
            assert first["p_given"] == pytest.approx(given_p[pixels].sum(), rel=1e-4)
            assert first["loss"] == pytest.approx(-np.log(given_p[pixels]).sum(), rel=1e-4)
            doubts.append(first["num_px"] - first["p_given"])
        assert doubts == sorted(doubts, reverse=True)


def test_classes_that_tie_with_the_given_one_speak_for_no_area():
    mask = np.kron(np.array([[[0, 1], [1, 2]]]), np.ones((1, 12, 12), int))
    assert emitted(mask, np.zeros((1, 3, 24, 24)))[0] == []


def test_a_mask_keeps_no_more_areas_than_the_limit():
    mask = np.zeros((1, 60, 60), int)
    shown = np.zeros((60, 60), int)
    for number in range(49):
        y, x = 8 * (number // 7), 8 * (number % 7)
        shown[y : y + 5, x : x + 5] = 1
    logits = 4.0 * np.eye(2)[shown].transpose(2, 0, 1)[None]
    assert len(emitted(mask, logits)[0]) == MAX_AREAS
