import numpy as np
import pytest
import torch

from ray_audit.probes.masks import Masks
from ray_audit.probes.recount import recount_pixels
from ray_audit.scores import confident
from ray_audit.scores.recount import Recount
from tests.unit.scores.test_confident import data
from tests.unit.scores.test_recount import counted


@pytest.mark.parametrize("void", [0.0, 0.4])
def test_counts_equal_a_loop(void):
    labels, p, _ = data(3, num=3, size=16, void=void)
    requested = Recount.of(confident.observe(labels, p)[0])
    targets = torch.from_numpy(labels)
    masks = Masks(
        targets, targets >= 0, (targets >= 0).sum(dim=(1, 2)), np.zeros(0), np.zeros((0, 2))
    )
    seen = recount_pixels(torch.from_numpy(np.log(p)), masks, requested)
    expected = [counted(label, q, requested) for label, q in zip(labels, p, strict=True)]
    assert seen["recount/counts"].tolist() == [
        [e.num_issues, e.num_below, e.num_wrong_below] for e in expected
    ]
    for name in ("wrong", "right"):
        values = np.concatenate([np.sort(getattr(e, name)) for e in expected])
        mask, found = seen[f"recount/{name}"].T
        np.testing.assert_allclose(found, values, rtol=1e-5)
        assert np.bincount(mask.astype(int), minlength=len(expected)).tolist() == [
            len(getattr(e, name)) for e in expected
        ]


def test_a_mask_without_labels_counts_nothing():
    targets = torch.full((1, 4, 4), -1)
    masks = Masks(targets, targets >= 0, torch.zeros(1), np.zeros(0), np.zeros((0, 2)))
    seen = recount_pixels(torch.zeros(1, 2, 4, 4), masks, Recount((0.5, 0.5), 0, 999, 1000))
    assert seen["recount/counts"].tolist() == [[0, 0, 0]]
    assert len(seen["recount/wrong"]) == len(seen["recount/right"]) == 0
