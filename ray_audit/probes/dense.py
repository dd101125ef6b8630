"""Probe of batches with a label for each pixel."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ray_audit.probes.likelihood import Likelihood, likelihood
from ray_audit.samples import IGNORE, Batch
from ray_audit.scores.segmentation import (
    TCCP_THRESHOLDS,
    component_sums,
    connected_components,
    interior_mask,
)

CONFIDENT_BINS = 1000


@dataclass(frozen=True)
class Masks:
    """Targets of a dense batch on the device.

    Attributes:
        labels: (N, H, W) int64 with `IGNORE`.
        counted: (N, H, W) bool: labelled pixels that this batch owns.
        num_labelled: (N,) labelled pixels of the whole image, over all its tiles.
    """

    labels: Tensor
    counted: Tensor
    num_labelled: Tensor

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> "Masks":
        """Read the targets of a batch."""
        labels = torch.from_numpy(batch.arrays["targets"].astype(np.int64)).to(device)
        owned = torch.zeros_like(labels, dtype=torch.bool)
        for n, (y0, x0, y1, x1) in enumerate(owned_rects(batch)):
            owned[n, y0:y1, x0:x1] = True
        totals = batch.samples["sample_num_labelled"].to_numpy()
        num_labelled = torch.from_numpy(np.array(totals, np.float64)).to(device)
        return cls(labels, owned & (labels != IGNORE), num_labelled)


def owned_rects(batch: Batch) -> np.ndarray:
    """Part of each mask that the batch owns, (N, 4) int: y0, x0, y1, x1."""
    given = batch.arrays.get("owned_rect")
    if given is not None:
        return given
    num, height, width = batch.arrays["targets"].shape
    whole: np.ndarray = np.tile(np.array([0, 0, height, width], np.int32), (num, 1))
    return whole


def owned_input_rects(batch: Batch, input_size: tuple[int, int]) -> np.ndarray:
    """The owned rectangles in pixels of the (possibly resized) input."""
    rects = owned_rects(batch).astype(np.float64)
    height, width = batch.arrays["targets"].shape[1:]
    scale = np.array([input_size[0] / height, input_size[1] / width] * 2)
    return np.rint(rects * scale).astype(np.int64)


def pixel_logits(logits: Tensor, batch: Batch, num_classes: int) -> Tensor:
    """Logits at the mask's size, (N, K, H, W) float32; masks are never resized.

    Raises:
        ValueError: the model's output is not (N, K, h, w).
    """
    targets = batch.arrays["targets"]
    if logits.ndim != 4 or tuple(logits.shape[:2]) != (len(targets), num_classes):
        raise ValueError(
            f"the model answered logits of shape {tuple(logits.shape)}; expected "
            f"({len(targets)}, {num_classes}, height, width) for masks of {num_classes} classes"
        )
    size = targets.shape[1:]
    if tuple(logits.shape[2:]) == size:
        return logits.float()
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


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


def observe_pixels(logits: Tensor, masks: Masks) -> tuple[dict[str, np.ndarray], Likelihood]:
    """Sums over the counted pixels of each mask, and the pixel maps themselves.

    Returns:
        Observations, one value a mask, and `confusion` (K, K) int64 (given, predicted) summed
        over the batch; the maps serve `final_pixels`.
    """
    num_classes = logits.shape[1]
    safe = masks.labels.clamp_min(0)
    seen = likelihood(logits, safe)
    counted = masks.counted

    def total(values: Tensor) -> np.ndarray:
        # where, not a product: an ignored pixel may hold NaN, which a zero would not silence.
        kept = torch.where(counted, values, 0).flatten(1)
        return kept.sum(dim=1, dtype=torch.float64).cpu().numpy()

    pairs = (safe * num_classes + seen.predicted)[counted]
    confusion = torch.bincount(pairs, minlength=num_classes**2)
    observed = {
        "loss": total(seen.loss),
        "p_label": total(seen.p_label),
        "margin": total(seen.margin),
        "prob_margin": total(seen.prob_margin),
        "el2n": total(seen.el2n),
        "correct": total((seen.predicted == safe).float()),
        "confusion": confusion.view(num_classes, num_classes).cpu().numpy(),
    }
    return observed, seen


def final_pixels(
    p_NKHW: Tensor, masks: Masks, seen: Likelihood, batch: Batch, temperature: float
) -> dict[str, np.ndarray]:
    """Mergeable states of the scores that need the last checkpoint only.

    Returns:
        Per mask (first axis N), under `final/`: `softmin` and `interior` (N, 3) float64 sums of
        w*s, of w, and the least s; `class_counts` (N, K, 3) int64 true positives, predicted,
        given; `tccp` (N, K, T) int64 pixels on which threshold map and label agree; `components`
        (C, 5) float64 mask, id, class, sum of p, pixels; `below` (N, B) int32 histogram of p
        over wrongly predicted pixels. For the batch, under `confident/`: the histograms of
        confident learning over the counted pixels.
    """
    num_classes = p_NKHW.shape[1]
    labels = masks.labels.cpu().numpy()
    interior = batch.arrays.get("interior")
    if interior is None:
        interior = np.stack([interior_mask(label) for label in labels])
    inside = masks.counted & torch.from_numpy(interior.astype(bool)).to(masks.counted.device)
    return {
        "final/softmin": _softmin_state(seen.p_label, masks.counted, temperature),
        "final/interior": _softmin_state(seen.p_label, inside, temperature),
        "final/class_counts": _class_counts(seen.predicted, masks, num_classes),
        "final/tccp": _threshold_agreement(p_NKHW, masks),
        "final/components": _component_sums(seen.p_label, masks, batch.arrays.get("components")),
        **_confident_state(p_NKHW, masks, seen),
    }


def _softmin_state(p_label: Tensor, counted: Tensor, temperature: float) -> np.ndarray:
    states = []
    for p_HW, counted_HW in zip(p_label, counted, strict=True):
        s = p_HW[counted_HW].double()
        if not len(s):
            states.append([0.0, 0.0, np.inf])
            continue
        least = s.min()
        w = torch.exp((least - s) / temperature)
        states.append([float((w * s).sum()), float(w.sum()), float(least)])
    return np.array(states, np.float64).reshape(-1, 3)


def _class_counts(predicted: Tensor, masks: Masks, num_classes: int) -> np.ndarray:
    counts = []
    for label, guess, counted in zip(masks.labels, predicted, masks.counted, strict=True):
        given, seen = label[counted], guess[counted]
        rows = [torch.bincount(x, minlength=num_classes) for x in (given[given == seen], seen)]
        counts.append(torch.stack([*rows, torch.bincount(given, minlength=num_classes)], dim=1))
    return torch.stack(counts).cpu().numpy()


def _threshold_agreement(p_NKHW: Tensor, masks: Masks) -> np.ndarray:
    """Pixels on which 1[p_k > t] equals 1[label = k], from histograms of p_k: one pass."""
    num_samples, num_classes = p_NKHW.shape[:2]
    num_bins = len(TCCP_THRESHOLDS) + 1
    edges = torch.tensor(TCCP_THRESHOLDS, dtype=p_NKHW.dtype, device=p_NKHW.device)
    bins = torch.bucketize(p_NKHW, edges)  # bin > t-th edge exactly where p > threshold t
    is_class = masks.labels.unsqueeze(1) == torch.arange(num_classes, device=bins.device).view(
        1, -1, 1, 1
    )
    group = torch.arange(num_samples * num_classes, device=bins.device)
    flat = (group.view(num_samples, num_classes, 1, 1) * 2 + is_class) * num_bins + bins
    kept = flat[masks.counted.unsqueeze(1).expand_as(flat)]
    size = num_samples * num_classes * 2 * num_bins
    hist = torch.bincount(kept, minlength=size).view(num_samples, num_classes, 2, num_bins)
    above = hist.flip(-1).cumsum(-1).flip(-1)[..., 1:]  # pixels with p > t, for each t
    other_below = hist[:, :, 0].sum(-1, keepdim=True) - above[:, :, 0]
    return (above[:, :, 1] + other_below).cpu().numpy()


def _component_sums(p_label: Tensor, masks: Masks, components: np.ndarray | None) -> np.ndarray:
    p, labels = p_label.cpu().numpy(), masks.labels.cpu().numpy()
    counted = masks.counted.cpu().numpy()
    sums = []
    for n, kept in enumerate(counted):
        ids = connected_components(labels[n]) if components is None else components[n]
        rows = component_sums(p[n], np.where(kept, labels[n], IGNORE), ids)
        sums.append(np.insert(rows, 0, n, axis=1))
    return np.concatenate(sums)


def _confident_state(p_NKHW: Tensor, masks: Masks, seen: Likelihood) -> dict[str, np.ndarray]:
    """Histograms from which confident learning is finished over the whole dataset."""
    num_classes, counted = p_NKHW.shape[1], masks.counted
    given, predicted = masks.labels[counted], seen.predicted[counted]
    p_label, p_predicted = seen.p_label[counted], seen.p_predicted[counted]
    low, top = _bin(p_label), _bin(p_predicted)
    wrong = given != predicted
    off_diagonal = torch.bincount(
        predicted[wrong] * CONFIDENT_BINS + top[wrong], minlength=num_classes * CONFIDENT_BINS
    )
    sums = torch.zeros(num_classes, dtype=torch.float64, device=given.device)
    sums.index_add_(0, given, p_label.double())
    sample = torch.arange(len(counted), device=given.device).view(-1, 1, 1)
    sample = sample.expand_as(counted)[counted]
    below = torch.bincount(
        sample[wrong] * CONFIDENT_BINS + low[wrong], minlength=len(counted) * CONFIDENT_BINS
    )
    return {
        "final/below": below.view(len(counted), CONFIDENT_BINS).int().cpu().numpy(),
        "confident/off_diagonal": off_diagonal.view(num_classes, CONFIDENT_BINS).cpu().numpy(),
        "confident/p_label": torch.bincount(low, minlength=CONFIDENT_BINS).cpu().numpy(),
        "confident/class_sum": sums.cpu().numpy(),
        "confident/class_count": torch.bincount(given, minlength=num_classes).cpu().numpy(),
    }


def _bin(p: Tensor) -> Tensor:
    return (p * CONFIDENT_BINS).long().clamp_(0, CONFIDENT_BINS - 1)
