"""Probe of batches with a label for each pixel."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ray_audit.measures import measures
from ray_audit.probes.areas import area_states
from ray_audit.probes.dense_final import count, final_states
from ray_audit.probes.disagreement import disagreeing
from ray_audit.probes.likelihood import Likelihood, likelihood
from ray_audit.probes.masks import Maps, Masks, owned_rects
from ray_audit.probes.regions import region_states
from ray_audit.probes.transfer import Observed
from ray_audit.probes.void import void_states
from ray_audit.samples import IGNORE, Batch

_CACHE_BYTES = 2 * 2**20
_DEVICE_BYTES = 512 * 2**20


def pixel_logits(logits: Tensor, shape: tuple[int, ...], num_classes: int) -> Tensor:
    """Logits at the mask's size, (N, K, H, W) float32; masks are never resized.

    Args:
        logits: (N, K, h, w).
        shape: (N, H, W) of the masks.
        num_classes: K.

    Raises:
        ValueError: the model's output is not (N, K, h, w).
    """
    if logits.ndim != 4 or tuple(logits.shape[:2]) != (shape[0], num_classes):
        raise ValueError(
            f"the model answered logits of shape {tuple(logits.shape)}; expected "
            f"({shape[0]}, {num_classes}, height, width) for masks of {num_classes} classes"
        )
    size = shape[1:]
    if tuple(logits.shape[2:]) == size:
        # Reductions over classes want each class's map in one piece.
        return logits.float().contiguous()
    return F.interpolate(
        logits.float().contiguous(), size=size, mode="bilinear", align_corners=False
    )


def gradient_target(logits: Tensor, masks: Masks, kind: str) -> Tensor:
    """Sum over samples of the mean over their labelled pixels of the loss (or given logit)."""
    labelled = masks.labels != IGNORE
    safe = masks.labels.clamp_min(0)
    if kind == "loss":
        values = F.cross_entropy(logits, safe, reduction="none")
    else:
        values = logits.gather(1, safe.unsqueeze(1)).squeeze(1)
    per_sample = (values * labelled).sum(dim=(1, 2))
    return (per_sample / masks.num_labelled.to(per_sample.dtype).clamp_min(1)).sum()


def observe_pixels(
    logits: Tensor, masks: Masks, batch: Batch, temperature: float | None
) -> Observed:
    """Sums over the counted pixels of each mask.

    A few masks at a time, so that on a CPU what is computed of them stays in its cache.

    Args:
        logits: (N, K, H, W) float32 at the masks' size; used as scratch space.
        masks: targets.
        batch: where the masks are from.
        temperature: of soft-min where the final states are wanted as well, else None.

    Returns:
        Observations, one value a mask; `confusion/given` (P, 2) int64: mask, given class, and
        `confusion` (P, K) int32 its pixels by predicted class; those of `void_states`; with a
        temperature also the states of `final_states`, `region_states` and `area_states`.
    """
    num = _masks_at_once(logits)
    rects = owned_rects(batch)
    parts: list[Observed] = []
    for start in range(0, len(logits), num):
        part = slice(start, start + num)
        few, few_masks = logits[part], masks.part(part)
        void_seen = void_states(few, few_masks.voids, rects[part])
        p_NKHW = torch.softmax(few, dim=1) if temperature is not None else None
        observed, seen = _observe(few, few_masks)
        observed |= void_seen
        if p_NKHW is not None and temperature is not None:
            maps = Maps.of(batch, part, few_masks.voids, masks.labels.device)
            wrong = disagreeing(seen, few_masks, maps)
            observed |= final_states(p_NKHW, few_masks, seen, maps, wrong, temperature)
            observed |= region_states(wrong, few_masks, maps)
            observed |= area_states(wrong, maps, few_masks.labels.shape)
        for quantity in measures().quantities.values():
            if quantity.axis == "pieces" and not quantity.along and quantity.name in observed:
                np.asarray(observed[quantity.name])[:, 0] += start  # the array itself
        parts.append(observed)
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _masks_at_once(logits: Tensor) -> int:
    limit = _CACHE_BYTES if logits.device.type == "cpu" else _DEVICE_BYTES
    return max(1, limit // (logits[0].numel() * logits.element_size()))


def _joined(parts: list[Tensor | np.ndarray]) -> Tensor | np.ndarray:
    if len(parts) == 1:
        return parts[0]
    if not torch.is_tensor(parts[0]):
        return np.concatenate([np.asarray(part) for part in parts])
    return torch.cat([torch.as_tensor(part) for part in parts])


def _observe(logits: Tensor, masks: Masks) -> tuple[Observed, Likelihood]:
    num_classes = logits.shape[1]
    safe = masks.labels.clamp_min(0)
    seen = likelihood(logits, safe)
    counted = masks.counted

    def total(values: Tensor) -> Tensor:
        # where, not a product: an ignored pixel may hold NaN, which a zero would not silence.
        kept = torch.where(counted, values, 0).flatten(1)
        return kept.sum(dim=1, dtype=torch.float64)

    sample = torch.arange(len(logits), device=logits.device).view(-1, 1, 1)
    pairs = (sample * num_classes + safe) * num_classes + seen.predicted
    confusion = count(pairs, counted & seen.is_finite, len(logits) * num_classes**2)
    by_class = masks.of_given(confusion.view(-1, num_classes, num_classes)).int()
    observed: Observed = {name: total(values) for name, values in seen.observed.items()}
    return observed | {"confusion/given": masks.given.copy(), "confusion": by_class}, seen
