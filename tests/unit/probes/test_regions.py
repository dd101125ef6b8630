from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_audit import rle
from ray_audit.measures.regions import MAX_REGIONS, REGION_COLUMNS
from ray_audit.probes.disagreement import disagreeing
from ray_audit.probes.likelihood import likelihood
from ray_audit.probes.masks import Maps, Masks
from ray_audit.probes.regions import region_states
from ray_audit.probes.void import void_states
from ray_audit.samples import IGNORE
from ray_audit.scores.components import connected_components
from ray_audit.scores.segmentation import interior_mask
from tests.support.batches import dense_batch

SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))
AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


def emitted(masks, logits, **arrays):
    """Regions of each mask as dicts with their pixels, from the probe's own arrays."""
    masks = np.asarray(masks)
    batch = dense_batch(np.zeros((len(masks), 1, *masks.shape[1:]), np.uint8), masks, **arrays)
    targets = Masks.of(batch, torch.device("cpu"))
    every = slice(0, len(masks))
    maps = Maps.of(batch, every, targets.voids, torch.device("cpu"))
    seen = likelihood(torch.tensor(np.asarray(logits)).float(), targets.labels.clamp_min(0))
    states = region_states(disagreeing(seen, targets, maps), targets, maps)
    height, width = maps.placements[0, 2:]
    runs, start, found = states["final/region_runs"], 0, [[] for _ in masks]
    for row in states["final/regions"]:
        result = dict(zip(("mask", *REGION_COLUMNS), row, strict=True))
        mine = runs[start : start + int(result["num_runs"])]
        start += len(mine)
        assert (mine[:, 0] == result["mask"]).all()
        result["pixels"] = rle.decode(
            rle.encode_runs(mine[:, 1:], (height, width)), (height, width)
        )
        assert result["pixels"].sum() == result["num_px"]
        found[int(result["mask"])].append(result)
    assert start == len(runs)
    return found


def slow_regions(mask, logits):
    """Breadth-first over the pixels that disagree, one at a time."""
    p = np.exp(logits - logits.max(0))
    p /= p.sum(0)
    guess, inside, ids = p.argmax(0), interior_mask(mask), connected_components(mask)
    inner = {at for at in np.ndindex(mask.shape) if inside[at] and guess[at] != mask[at]}
    number = np.full(mask.shape, -1)
    kinds = []
    for start in sorted(inner):
        if number[start] >= 0:
            continue
        queue = deque([start])
        number[start] = len(kinds)
        while queue:
            y, x = queue.popleft()
            for dy, dx in SIDES:
                at = (y + dy, x + dx)
                same = at in inner and (ids[at], guess[at]) == (ids[start], guess[start])
                if same and number[at] < 0:
                    number[at] = len(kinds)
                    queue.append(at)
        kinds.append((ids[start], guess[start]))
    grown = number.copy()
    for y, x in np.ndindex(mask.shape):
        if mask[y, x] < 0 or inside[y, x] or guess[y, x] == mask[y, x]:
            continue
        near = [(y + dy, x + dx) for dy, dx in AROUND]
        mine = [
            number[at]
            for at in near
            if on(mask, at) and number[at] >= 0 and kinds[number[at]] == (ids[y, x], guess[y, x])
        ]
        grown[y, x] = min(mine, default=-1)
    regions = [describe(grown == n, mask, guess, p) for n in range(len(kinds))]
    large = [region for region in regions if region["num_px"] >= 16]
    order = sorted(large, key=lambda item: item["p_given"] - item["p_suggested"])
    return order[:MAX_REGIONS]


def on(mask, at):
    return 0 <= at[0] < mask.shape[0] and 0 <= at[1] < mask.shape[1]


def describe(pixels, mask, guess, p):
    at = [tuple(map(int, item)) for item in np.argwhere(pixels)]
    given, suggested = int(mask[at[0]]), int(guess[at[0]])
    outline = [
        (y, x)
        for y, x in at
        if any(on(mask, o) and not pixels[o] for o in [(y + dy, x + dx) for dy, dx in SIDES])
    ]
    near = [
        any(
            on(mask, o) and mask[o] == suggested
            for o in [(y + r * dy, x + r * dx) for dy, dx in SIDES for r in (1, 2)]
        )
        for y, x in outline
    ]
    return {
        "given": given,
        "suggested": suggested,
        "component": int(connected_components(mask)[at[0]]),
        "num_px": len(at),
        "loss": sum(-np.log(p[given][item]) for item in at),
        "p_given": sum(p[given][item] for item in at),
        "p_suggested": sum(p[suggested][item] for item in at),
        "outline_px": len(outline),
        "contact_px": sum(near),
        "pixels": pixels,
    }


def blocks(rng, size, num_classes, block, void=0.1):
    coarse = rng.integers(0, num_classes, (size[0] // block + 1, size[1] // block + 1))
    coarse[rng.random(coarse.shape) < void] = IGNORE
    return np.kron(coarse, np.ones((block, block), int))[: size[0], : size[1]]


def logits_of(rng, seen, num_classes):
    one_hot = np.eye(num_classes)[np.clip(seen, 0, None)].transpose(2, 0, 1)
    return 3 * one_hot + rng.normal(0, 0.4, (num_classes, *seen.shape))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.tuples(st.integers(5, 40), st.integers(5, 40)))
def test_regions_equal_a_search_pixel_by_pixel(seed, size):
    rng = np.random.default_rng(seed)
    masks = np.stack([blocks(rng, size, 3, 9) for _ in range(3)])
    logits = np.stack([logits_of(rng, blocks(rng, size, 3, 7, 0), 3) for _ in masks])
    for mask, logit, actual in zip(masks, logits, emitted(masks, logits), strict=True):
        seen = [first for first in actual if first["given"] >= 0]
        expected = slow_regions(mask, logit)
        assert len(seen) == len(expected)
        for first, other in zip(seen, expected, strict=True):
            assert np.array_equal(first["pixels"], other["pixels"])
            for name in set(REGION_COLUMNS) - {"num_runs"}:
                assert first[name] == pytest.approx(other[name], rel=1e-4), name


def scene(height=40, width=50):
    mask = np.zeros((height, width), int)
    mask[:, 30:] = 1
    return mask


def test_a_dropped_square_is_one_region_with_all_its_pixels():
    seen = scene()
    seen[10:20, 5:15] = 2
    (found,) = emitted([scene()], [5 * np.eye(3)[seen].transpose(2, 0, 1)])
    (result,) = found
    assert (result["given"], result["suggested"], result["num_px"]) == (0, 2, 100)
    assert np.array_equal(result["pixels"], seen == 2)
    assert (result["outline_px"], result["contact_px"]) == (36, 0)


def test_a_strip_beside_a_boundary_is_whole_up_to_the_boundary():
    seen = scene()
    seen[:, 25:30] = 1
    (found,) = emitted([scene()], [5 * np.eye(3)[seen].transpose(2, 0, 1)])
    (result,) = found
    assert np.array_equal(result["pixels"], seen != scene())
    # The picture's edge is no outline: the two long sides are, and one touches class 1.
    assert (result["outline_px"], result["contact_px"]) == (80, 40)


@pytest.mark.parametrize(
    ("mask", "num_classes"),
    [
        (np.full((8, 8), IGNORE), 3),
        (np.zeros((8, 8), int), 1),
        (np.zeros((1, 1), int), 3),
        (scene(), 3),
    ],
)
def test_masks_without_regions_have_none(mask, num_classes):
    logits = 5 * np.eye(num_classes)[mask.clip(0)].transpose(2, 0, 1)
    (found,) = emitted([mask], [logits])
    assert [item for item in found if item["given"] >= 0] == []


def test_probabilities_of_exactly_0_and_1_are_counted():
    seen = scene()
    seen[10:20, 5:15] = 2
    (found,) = emitted([scene()], [1e4 * np.eye(3)[seen].transpose(2, 0, 1)])
    (result,) = found
    assert (result["p_given"], result["p_suggested"], result["loss"]) == (0, 100, 1e6)


def test_logits_that_are_no_numbers_give_no_region():
    logits = np.full((1, 3, 40, 50), np.nan)
    assert emitted([scene()], logits) == [[]]


def test_unlabelled_components_are_emitted_with_their_pixels():
    mask = scene()
    mask[5:15, 5:15] = IGNORE
    mask[30:33, 40:43] = IGNORE  # too small
    (found,) = emitted([mask], [5 * np.eye(3)[mask.clip(0)].transpose(2, 0, 1)])
    (result,) = found
    assert (result["given"], result["suggested"], result["component"]) == (-1, -1, 1)
    expected = np.zeros(mask.shape, bool)
    expected[5:15, 5:15] = True
    assert np.array_equal(result["pixels"], expected)


@pytest.mark.parametrize("num_classes", [3, 80])
def test_void_sums_equal_sums_over_the_pixels(num_classes):
    rng = np.random.default_rng(0)
    masks = np.stack([scene()] * 2)
    masks[1, 3:9, 3:9] = IGNORE
    masks[1, 20:25, 20:25] = IGNORE
    logits = rng.normal(0, 2, (2, num_classes, 40, 50))
    batch = dense_batch(np.zeros((2, 1, 40, 50), np.uint8), masks)
    rects = np.array([[0, 0, 40, 50], [4, 0, 40, 50]])
    voids = Masks.of(batch, torch.device("cpu")).voids
    states = void_states(torch.tensor(logits).float(), voids, rects)
    assert states["void/index"].tolist() == [[1, 1, 30], [1, 2, 25]]
    p = torch.softmax(torch.tensor(logits), 1).numpy()
    expected = np.stack(
        [p[1, :, 4:9, 3:9].sum((1, 2)), p[1, :, 20:25, 20:25].sum((1, 2))],
    )
    for row, classes, sums in zip(expected, states["void_class"], states["void_sum"], strict=True):
        assert row[classes] == pytest.approx(sums, rel=1e-5)
        assert len(classes) == (3 if num_classes == 3 else 8)
        assert min(sums) >= np.sort(row)[-len(classes)] * (1 - 1e-5)
