"""What a checkpoint sees where the mask has no label."""

import numpy as np
import torch
from torch import Tensor

from ray_audit.probes.transfer import Observed, upload

MAX_CLASSES = 64
_TOP_CLASSES = 8


def void_states(logits: Tensor, voids: np.ndarray, rects: np.ndarray) -> Observed:
    """Sums of probabilities over the owned pixels of each sizeable unlabelled component.

    Args:
        logits: (N, K, H, W) float32.
        voids: (N, H, W) uint8 component, from 1; 0 elsewhere.
        rects: (N, 4) y0, x0, y1, x1 of what is owned.

    Returns:
        `void/index` (V, 3) int64: mask, component, owned pixels. `void_class` and `void_sum`
        (V, M): class indices, int32, and sums of their probabilities, float32: of all classes,
        or, of more than `MAX_CLASSES`, the 8 with the largest sums.
    """
    num_classes = logits.shape[1]
    found, sums = [], []
    for n in np.flatnonzero(voids.reshape(len(voids), -1).any(axis=1)):
        y0, x0, y1, x1 = rects[n]
        owned = voids[n, y0:y1, x0:x1]
        owned_KHW = logits[n, :, y0:y1, x0:x1]
        for name in np.unique(owned):
            if name:
                # Places, not a mask, so that the host need not ask the device for their number.
                y, x = (upload(at, logits.device) for at in np.nonzero(owned == name))
                p_KM = torch.softmax(owned_KHW[:, y, x], dim=0)
                found.append((int(n), int(name), p_KM.shape[1]))
                sums.append(p_KM.sum(dim=1, dtype=torch.float64))
    index = np.array(found, np.int64).reshape(-1, 3)
    sums_VK = torch.stack(sums) if sums else logits.new_zeros((0, num_classes)).double()
    classes, kept = _largest(sums_VK)
    return {"void/index": index, "void_class": classes.int(), "void_sum": kept.float()}


def _largest(sums: Tensor) -> tuple[Tensor, Tensor]:
    num_classes = sums.shape[1]
    if num_classes <= MAX_CLASSES:
        return torch.arange(num_classes, device=sums.device).expand(len(sums), -1), sums
    top = torch.argsort(sums, dim=1, descending=True, stable=True)[:, :_TOP_CLASSES]
    return top, sums.gather(1, top)
