"""Gradients of a batch's target with respect to the model's input, and their moments.

VoG (Agarwal et al. 2022) needs the spread of the input gradient over checkpoints, pixel by pixel.
Means and squared deviations travel with the batch (Welford 1962), so memory does not grow with
the number of checkpoints. They are float32 wherever they are, so that the result does not depend
on how many checkpoints share an actor.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ray_audit.probes.transfer import Observed, upload


def input_gradient(
    target: Tensor, inputs: Tensor, scale: float = 1.0, keep: bool = False
) -> Tensor:
    """Gradient of the scalar `target` with respect to `inputs`, in float32.

    Args:
        target: what is differentiated.
        inputs: by what.
        scale: a power of two that the target is multiplied by on the way back, so that halves
            of 16 bit do not underflow; the gradient is divided by it again.
        keep: whether the graph is needed once more.
    """
    scaled = target if scale == 1.0 else target * scale
    (gradient,) = torch.autograd.grad(scaled, inputs, retain_graph=keep)
    return gradient.float() if scale == 1.0 else gradient.float() / scale


def channel_mean(gradient: Tensor) -> Tensor:
    """Mean over channels: (N, C, H, W) -> (N, H, W), (N, T, C, H, W) -> (N, T, H, W).

    Features (N, D) and sequences of them (N, T, D) have no channels and stay as they are.
    """
    return gradient if gradient.ndim <= 3 else gradient.mean(dim=-3)


class Moments:
    """Moments of one batch's gradient maps (R, ...) over checkpoints, on the device.

    Args:
        arrays: may hold `vog/count` (1,), `vog/mean` and `vog/m2` (R, ...) float32, from the
            checkpoints before.
        device: where the gradients will be.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], device: torch.device) -> None:
        self._count = int(arrays["vog/count"][0]) if "vog/count" in arrays else 0
        self._arrays, self._device = arrays, device
        self._maps: tuple[Tensor, Tensor] | None = None

    def add(self, gradient: Tensor) -> None:
        """Fold in one checkpoint's channel-mean gradient (R, ...) float32."""
        self._count += 1
        if self._count == 1:
            self._maps = gradient.clone(), torch.zeros_like(gradient)
            return
        if self._maps is None:
            before = (self._arrays[f"vog/{name}"] for name in ("mean", "m2"))
            self._maps = upload(next(before), self._device), upload(next(before), self._device)
        mean, m2 = self._maps
        delta = gradient - mean
        mean += delta / float(self._count)
        m2 += delta * (gradient - mean)

    def observed(self) -> Observed:
        """The three arrays; none without a gradient."""
        if self._maps is None:
            return {}
        mean, m2 = self._maps
        return {"vog/count": np.array([self._count], np.int64), "vog/mean": mean, "vog/m2": m2}


def finish_moments(
    arrays: dict[str, np.ndarray],
    rects: np.ndarray | None,
    masks: np.ndarray | None = None,
    num_classes: int = 0,
) -> dict[str, np.ndarray]:
    """Sum over pixels of the population standard deviation over checkpoints, per row.

    Args:
        arrays: `vog/count`, `vog/mean`, `vog/m2` as left by `Moments`; the count may also be one a
            row (R,).
        rects: (R, 4) y0, x0, y1, x1 of the pixels that count, or None for all.
        masks: (R, H, W) given classes, negative where unlabelled; of any size. None where labels
            are not dense.
        num_classes: K, where there are masks.

    Returns:
        `vog/sum` (R,) float64 and `vog/num_px` (R,) int64; with masks also `vog/class_sum` and
        `vog/class_px`, the same within each given class, (R, K).
    """
    m2 = arrays["vog/m2"]
    counts = np.broadcast_to(arrays["vog/count"], len(m2))
    # Row by row: a batch of maps is larger than any cache.
    maps = [_deviation(*moments) for moments in zip(_owned(m2, rects), counts, strict=True)]
    finished = {
        "vog/sum": np.array([m.sum(dtype=np.float64) for m in maps], np.float64),
        "vog/num_px": np.array([m.size for m in maps], np.int64),
    }
    if masks is not None:
        given = _owned(_nearest(masks, m2.shape[1:]), rects)
        sums, num_px = zip(*map(partial(_by_class, num_classes), maps, given), strict=True)
        finished |= {"vog/class_sum": np.stack(sums), "vog/class_px": np.stack(num_px)}
    return finished


def _deviation(m2: np.ndarray, count: int) -> np.ndarray:
    """Of one row; one checkpoint has no spread, and null is not 0."""
    if count == 1:
        return np.full_like(m2, np.nan)
    deviation: np.ndarray = np.sqrt(np.divide(m2, count, dtype=np.float64))
    return deviation


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
