"""Gradients of a batch's target with respect to the model's input, and their moments.

VoG (Agarwal et al. 2022) needs the spread of the input gradient over checkpoints, pixel by pixel.
Means and squared deviations travel with the batch (Welford 1962), so memory does not grow with
the number of checkpoints. They are float32 wherever they are, so that the result does not depend
on how many checkpoints share an actor.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor


def input_gradient(target: Tensor, inputs: Tensor) -> Tensor:
    """Gradient of the scalar `target` with respect to `inputs`, in float32."""
    (gradient,) = torch.autograd.grad(target, inputs)
    return gradient.float()


def channel_mean(gradient: Tensor) -> Tensor:
    """Mean over channels: (N, C, H, W) -> (N, H, W), (N, T, C, H, W) -> (N, T, H, W).

    Feature sequences (N, T, D) have no channels and stay as they are.
    """
    return gradient if gradient.ndim == 3 else gradient.mean(dim=-3)


def update_moments(arrays: dict[str, np.ndarray], gradient: Tensor) -> dict[str, np.ndarray]:
    """Fold one checkpoint's gradient map (R, ...) into the batch's moments.

    Args:
        arrays: may hold `vog/count` (1,), `vog/mean` and `vog/m2` (R, ...) float32.
        gradient: channel-mean gradient of each row.

    Returns:
        The new values of the three arrays.
    """
    if "vog/count" not in arrays:
        values = gradient.cpu().numpy()
        return {
            "vog/count": np.ones(1, np.int64),
            "vog/mean": values,
            "vog/m2": np.zeros_like(values),
        }
    count = arrays["vog/count"] + 1
    mean = torch.from_numpy(np.array(arrays["vog/mean"])).to(gradient.device)
    m2 = torch.from_numpy(np.array(arrays["vog/m2"])).to(gradient.device)
    delta = gradient - mean
    mean += delta / float(count[0])
    m2 += delta * (gradient - mean)
    return {"vog/count": count, "vog/mean": mean.cpu().numpy(), "vog/m2": m2.cpu().numpy()}


def finish_moments(
    arrays: dict[str, np.ndarray],
    rects: np.ndarray | None,
    masks: np.ndarray | None = None,
    num_classes: int = 0,
) -> dict[str, np.ndarray]:
    """Sum over pixels of the population standard deviation over checkpoints, per row.

    Args:
        arrays: `vog/count`, `vog/mean`, `vog/m2` as left by `update_moments`.
        rects: (R, 4) y0, x0, y1, x1 of the pixels that count, or None for all.
        masks: (R, H, W) given classes, negative where unlabelled; of any size. None where labels
            are not dense.
        num_classes: K, where there are masks.

    Returns:
        `vog/sum` (R,) float64 and `vog/num_px` (R,) int64; with masks also `vog/class_sum` and
        `vog/class_px`, the same within each given class, (R, K).
    """
    count = arrays["vog/count"][0]
    # One checkpoint has no spread; null is not 0.
    std = np.sqrt(arrays["vog/m2"] / count) if count > 1 else np.full_like(arrays["vog/m2"], np.nan)
    maps = _owned(std, rects)
    finished = {
        "vog/sum": np.array([m.sum(dtype=np.float64) for m in maps], np.float64),
        "vog/num_px": np.array([m.size for m in maps], np.int64),
    }
    if masks is not None:
        given = _owned(_nearest(masks, std.shape[1:]), rects)
        sums, num_px = zip(*map(partial(_by_class, num_classes), maps, given), strict=True)
        finished |= {"vog/class_sum": np.stack(sums), "vog/class_px": np.stack(num_px)}
    return finished


def _owned(maps: np.ndarray, rects: np.ndarray | None) -> list[np.ndarray]:
    if rects is None:
        return list(maps)
    return [m[y0:y1, x0:x1] for m, (y0, x0, y1, x1) in zip(maps, rects, strict=True)]


def _nearest(masks: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Masks at another size: each pixel takes the class under its centre."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for old, new in zip(masks.shape[1:], size, strict=True)
    )
    resized: np.ndarray = masks[:, rows[:, None], columns]
    return resized


def _by_class(
    num_classes: int, values: np.ndarray, given: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    kept = given >= 0
    weights = values[kept].astype(np.float64)
    sums = np.bincount(given[kept], weights=weights, minlength=num_classes)
    return sums, np.bincount(given[kept], minlength=num_classes)
