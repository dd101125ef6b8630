import numpy as np
import pytest
import torch

from ray_audit.probes.dense import observe_pixels
from ray_audit.probes.masks import Masks
from ray_audit.samples import IGNORE
from ray_audit.scores.confident import NUM_BINS
from ray_audit.scores.segmentation import TCCP_THRESHOLDS, class_counts, threshold_agreement
from tests.support.batches import dense_batch

OWNED = (1, 2, 15, 17)


def scene(seed, num_classes, size=(16, 18)):
    """Two masks with unlabelled pixels, of which a part is owned, and logits."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(-1, num_classes, (2, 4, 6)).repeat(4, 1).repeat(3, 2)
    batch = dense_batch(
        rng.integers(0, 256, (2, 3, *size), np.uint8),
        masks,
        owned_rect=np.array([OWNED] * 2, np.int32),
    )
    logits = 2 * rng.normal(size=(2, num_classes, *size)).astype(np.float32)
    owned = np.full(masks.shape, IGNORE)
    part = (slice(None), slice(OWNED[0], OWNED[2]), slice(OWNED[1], OWNED[3]))
    owned[part] = masks[part]
    return batch, owned, torch.from_numpy(logits)


def states(batch, logits):
    masks = Masks.of(batch, logits.device)
    return {k: np.asarray(v) for k, v in observe_pixels(logits.clone(), masks, batch, 0.1).items()}


@pytest.mark.parametrize("num_classes", [1, 2, 5, 30])
def test_final_states_are_those_of_a_look_at_each_pixel(num_classes):
    batch, owned, logits = scene(num_classes, num_classes)
    p_NKHW = torch.softmax(logits, dim=1).numpy()
    found = states(batch, logits)
    below = np.zeros((2, NUM_BINS), int)
    every = np.zeros((2, NUM_BINS), int)
    wrong = np.zeros((2, num_classes, NUM_BINS), int)
    for n, y, x in zip(*np.nonzero(owned != IGNORE), strict=True):
        given, p = owned[n, y, x], p_NKHW[n, :, y, x]
        of_given = min(int(p[given] * NUM_BINS), NUM_BINS - 1)
        every[n, of_given] += 1
        if p.argmax() != given:
            below[n, of_given] += 1
            wrong[n, p.argmax(), min(int(p.max() * NUM_BINS), NUM_BINS - 1)] += 1
    # A value at the edge of a bin may fall to either side of it.
    for name, expected in (("final/below", below), ("confident/p_label", every)):
        assert found[name].sum() == expected.sum()
        assert np.abs(np.cumsum(found[name] - expected, axis=1)).max(initial=0) <= 1
    table = found["confident/off_diagonal"]
    assert [tuple(row) for row in table[:, :2]] == list(
        zip(*np.nonzero(wrong.any(axis=2)), strict=True)
    )
    steps = np.cumsum(table[:, 2:] - wrong[wrong.any(axis=2)], axis=1)
    assert np.abs(steps).max(initial=0) <= 1
    for n, labels in enumerate(owned):
        counts = class_counts(p_NKHW[n].argmax(axis=0), labels, num_classes)
        assert np.array_equal(found["final/class_counts"][n], counts)
        agreement = threshold_agreement(p_NKHW[n], labels, TCCP_THRESHOLDS)
        assert np.array_equal(found["final/tccp"][n], agreement)


def test_probabilities_of_exactly_a_tenth_pass_the_thresholds_below_it():
    """Logits of equal classes give 1 / K, of which 1/10 and 1/5 are thresholds themselves."""
    for num_classes in (2, 5, 10):
        batch, owned, _ = scene(0, num_classes)
        found = states(batch, torch.zeros(2, num_classes, *owned.shape[1:]))
        for n, labels in enumerate(owned):
            p = np.full((num_classes, *labels.shape), 1 / num_classes, np.float32)
            expected = threshold_agreement(p, labels, TCCP_THRESHOLDS)
            assert np.array_equal(found["final/tccp"][n], expected)


def test_a_mask_without_labels_has_empty_states():
    batch, owned, logits = scene(0, 3)
    batch.arrays["targets"][:] = IGNORE
    found = states(batch, logits)
    for name in ("final/class_counts", "final/below", "confident/p_label", "final/tccp"):
        assert len(found[name]) == len(owned)
        assert not found[name].any()
    assert found["confident/off_diagonal"].shape == (0, 2 + NUM_BINS)
