"""Second pass of confident learning over pixels: see `ray_audit.scores.recount`."""

import numpy as np
import torch
from torch import Tensor

from ray_audit.probes.dense_final import probability_bin
from ray_audit.probes.likelihood import likelihood
from ray_audit.probes.masks import Masks
from ray_audit.scores.confident import TOLERANCE
from ray_audit.scores.recount import Recount


def recount_pixels(logits: Tensor, masks: Masks, recount: Recount) -> dict[str, np.ndarray]:
    """Count each mask's pixels against what the first pass found.

    Args:
        logits: (N, K, H, W) float32 at the masks' size; used as scratch space.
        masks: targets.
        recount: thresholds and bins.

    Returns:
        `recount/counts` (N, 3) int64: issues, pixels below the bins, wrong ones of them.
        `recount/wrong` and `recount/right` (Q, 2) float32: mask, and a value in the bins; mask
        after mask, and sorted within each.
    """
    seen = likelihood(logits, masks.labels.clamp_min(0))
    counted = masks.counted & seen.is_finite
    wrong = counted & seen.prefers_other
    least = torch.tensor(recount.thresholds, dtype=torch.float64, device=logits.device) - TOLERANCE
    issues = wrong & (seen.p_predicted.double() >= least[seen.predicted])
    low = probability_bin(seen.p_label)
    below = counted & (low < recount.first_bin)
    inside = counted & (low >= recount.first_bin) & (low <= recount.last_bin)
    kept = {"wrong": inside & wrong, "right": inside & ~wrong}
    numbers = (issues, below, below & wrong)
    counts = torch.stack([number.flatten(1).sum(dim=1) for number in numbers], dim=1)
    values = {
        f"recount/{name}": np.concatenate(
            [_sorted(n, p, own) for n, (p, own) in enumerate(zip(seen.p_label, where, strict=True))]
        )
        for name, where in kept.items()
    }
    return {"recount/counts": counts.cpu().numpy(), **values}


def _sorted(mask: int, p_HW: Tensor, where: Tensor) -> np.ndarray:
    values: np.ndarray = p_HW[where].sort().values.cpu().numpy()
    return np.column_stack([np.full_like(values, mask), values])
