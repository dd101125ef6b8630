"""Gradients of a batch's target with respect to the model's input, and their moments.

VoG (Agarwal et al. 2022) needs the spread of the input gradient over checkpoints, pixel by pixel.
Means and squared deviations travel with the batch (Welford 1962), so memory does not grow with
the number of checkpoints. They are float32 wherever they are, so that the result does not depend
on how many checkpoints share an actor.
"""

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
    arrays: dict[str, np.ndarray], rects: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Sum over pixels of the population standard deviation over checkpoints, per row.

    Args:
        arrays: `vog/count`, `vog/mean`, `vog/m2` as left by `update_moments`.
        rects: (R, 4) y0, x0, y1, x1 of the pixels that count, or None for all.

    Returns:
        `vog/sum` (R,) float64 and `vog/num_px` (R,) int64.
    """
    count = arrays["vog/count"][0]
    # One checkpoint has no spread; null is not 0.
    std = np.sqrt(arrays["vog/m2"] / count) if count > 1 else np.full_like(arrays["vog/m2"], np.nan)
    maps = [std[r] for r in range(len(std))]
    if rects is not None:
        maps = [m[y0:y1, x0:x1] for m, (y0, x0, y1, x1) in zip(maps, rects, strict=True)]
    return {
        "vog/sum": np.array([m.sum(dtype=np.float64) for m in maps], np.float64),
        "vog/num_px": np.array([m.size for m in maps], np.int64),
    }
