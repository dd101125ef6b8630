"""What a checkpoint sees where the mask has no label."""

import numpy as np
import torch
from torch import Tensor

MOST_CLASSES = 64
_TOP_CLASSES = 8


def void_states(logits: Tensor, voids: np.ndarray, rects: np.ndarray) -> dict[str, np.ndarray]:
    """Sums of probabilities over the owned pixels of each sizeable unlabelled component.

    Args:
        logits: (N, K, H, W) float32.
        voids: (N, H, W) uint8 component, from 1; 0 elsewhere.
        rects: (N, 4) y0, x0, y1, x1 of what is owned.

    Returns:
        `void/index` (V, 3) int64: mask, component, owned pixels. `void_class` and `void_sum`
        (V, M): class indices, int32, and sums of their probabilities, float32: of all classes,
        or, of more than `MOST_CLASSES`, the 8 with the largest sums.
    """
    num_classes = logits.shape[1]
    found, sums = [], []
    for n in np.flatnonzero(voids.reshape(len(voids), -1).any(axis=1)):
        y0, x0, y1, x1 = rects[n]
        names = torch.from_numpy(voids[n, y0:y1, x0:x1].astype(np.int64)).to(logits.device)
        owned_KHW = logits[n, :, y0:y1, x0:x1]
        for name in np.unique(voids[n, y0:y1, x0:x1]):
            if name:
                p_KM = torch.softmax(owned_KHW[:, names == int(name)], dim=0)
                found.append((int(n), int(name), p_KM.shape[1]))
                sums.append(p_KM.sum(dim=1, dtype=torch.float64).cpu().numpy())
    index = np.array(found, np.int64).reshape(-1, 3)
    classes, kept = _largest(np.array(sums).reshape(-1, num_classes))
    return {"void/index": index, "void_class": classes, "void_sum": kept.astype(np.float32)}


def _largest(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    num_classes = sums.shape[1]
    every = np.arange(num_classes, dtype=np.int32)
    if num_classes <= MOST_CLASSES:
        return np.tile(every, (len(sums), 1)), sums
    top = np.argsort(-sums, axis=1, kind="stable")[:, :_TOP_CLASSES]
    return every[top], np.take_along_axis(sums, top, axis=1)
