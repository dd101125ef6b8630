"""States of the dense scores that are taken at the last checkpoint only; all of them merge."""

import numpy as np
import torch
from torch import Tensor

from ray_audit.probes.likelihood import Likelihood
from ray_audit.probes.masks import Maps, Masks
from ray_audit.probes.transfer import Observed
from ray_audit.samples import IGNORE
from ray_audit.scores.confident import NUM_BINS
from ray_audit.scores.segmentation import TCCP_THRESHOLDS, component_sums


def final_states(
    p_NKHW: Tensor, masks: Masks, seen: Likelihood, maps: Maps, temperature: float
) -> Observed:
    """Mergeable states of the scores that need the last checkpoint only.

    Returns:
        Per mask (first axis N), under `final/`: `softmin` and `interior` (N, 3) float64 sums of
        w*s, of w, and the least s; `class_counts` (N, K, 3) int64 true positives, predicted,
        given; `tccp` (N, K, T) int64 pixels on which threshold map and label agree; `components`
        (C, 6) float64 mask, id, class, sum of p, pixels, first pixel (y * W + x) in the image;
        `image_size` (N, 2) int64 height and width of the image; `below` (N, B) int32 histogram of p
        over wrongly predicted pixels. Under `confident/`, for confident learning over the counted
        pixels: `p_label` (N, B) int32 histogram of p; `class_sum` (P,) float64 sum of p by mask and
        given class, as `Masks.given`; `off_diagonal` (Q, 2 + B) int32 mask, predicted class and
        histogram of its probability over wrongly predicted pixels.
    """
    num_classes = p_NKHW.shape[1]
    return {
        "final/softmin": _softmin_state(seen.p_label, masks.counted, temperature),
        "final/interior": _softmin_state(seen.p_label, masks.counted & maps.interior, temperature),
        "final/class_counts": _class_counts(seen.predicted, masks, num_classes),
        "final/tccp": _threshold_agreement(p_NKHW, masks),
        "final/components": _component_sums(seen.p_label, masks, maps),
        "final/image_size": maps.placements[:, 2:],
        **_confident_state(p_NKHW, masks, seen),
    }


def count(values: Tensor, kept: Tensor, num_values: int) -> Tensor:
    """How often each of 0 .. num_values - 1 stands where `kept`: (num_values,) int64.

    What is not kept falls into one bin more; picking by a mask would take several times as long.
    """
    bins = torch.where(kept, values, num_values).flatten()
    if _is_cpu(bins):
        return torch.bincount(bins, minlength=num_values + 1)[:num_values]
    # bincount would make the host wait for the largest value. Integers add up in any order.
    counts = torch.zeros(num_values + 1, dtype=torch.int64, device=bins.device)
    return counts.scatter_add_(0, bins, torch.ones_like(bins))[:num_values]


def _is_cpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"


def class_sums(values: Tensor, classes: Tensor, counted: Tensor, num_classes: int) -> Tensor:
    """Sum of `values` (N, ...) where `counted`, by mask and class: (N, K) float64."""
    num = len(values)
    kept = torch.where(counted, values, 0.0).double().flatten(1)
    given = torch.where(counted, classes, num_classes).flatten(1)
    if _is_cpu(kept):
        bins = given + torch.arange(num).unsqueeze(1) * (num_classes + 1)
        sums = torch.bincount(bins.flatten(), kept.flatten(), num * (num_classes + 1))
        return sums.view(num, -1)[:, :num_classes]
    # On a GPU bincount adds in any order, which floats do not bear: class by class.
    by_class = [torch.where(given == k, kept, 0.0).sum(dim=1) for k in range(num_classes)]
    return torch.stack(by_class, dim=1)


def _softmin_state(p_label: Tensor, counted: Tensor, temperature: float) -> Tensor:
    s = p_label.double().flatten(1)
    kept = counted.flatten(1)
    least = torch.where(kept, s, torch.inf).amin(dim=1)
    w = torch.exp((least.unsqueeze(1) - s) / temperature) * kept
    # Without pixels the least is infinite, and the weights are no numbers.
    sums = torch.stack([(w * s).sum(dim=1), w.sum(dim=1)], dim=1)
    sums = torch.where(kept.any(dim=1, keepdim=True), sums, 0.0)
    return torch.cat([sums, least.unsqueeze(1)], dim=1)


def _class_counts(predicted: Tensor, masks: Masks, num_classes: int) -> Tensor:
    counts = []
    for label, guess, counted in zip(masks.labels, predicted, masks.counted, strict=True):
        columns = (
            count(label, counted & (label == guess), num_classes),
            count(guess, counted, num_classes),
            count(label, counted, num_classes),
        )
        counts.append(torch.stack(columns, dim=1))
    return torch.stack(counts)


def _threshold_agreement(p_NKHW: Tensor, masks: Masks) -> Tensor:
    """Pixels on which 1[p_k > t] equals 1[label = k]: those of k above t, and the others below.

    The thresholds are tenths: t is passed where the tenth of a probability, rounded up, is above.
    """
    num_classes, num_tenths = p_NKHW.shape[1], len(TCCP_THRESHOLDS) + 1
    agreements = []
    for p_KHW, label, counted in zip(p_NKHW, masks.labels, masks.counted, strict=True):
        tenths = torch.where(counted, p_KHW * num_tenths, 0.0).ceil_().to(torch.uint8)
        above = _num_above(tenths.flatten(1))
        safe = label.clamp_min(0)
        given = tenths.gather(0, safe.unsqueeze(0)).squeeze(0).clamp_max(num_tenths)
        num_bins = num_tenths + 1
        own = count(safe * num_bins + given, counted, num_classes * num_bins).view(-1, num_bins)
        own_above = own.flip(1).cumsum(1).flip(1)[:, 2:]
        num_others = counted.sum() - own.sum(dim=1, keepdim=True)
        agreements.append(own_above + num_others - (above - own_above))
    return torch.stack(agreements)


def _num_above(tenths: Tensor) -> Tensor:
    """Values of each row of (K, M) uint8 above each threshold, (K, T) int64."""
    steps = range(1, len(TCCP_THRESHOLDS) + 1)
    if not _is_cpu(tenths):
        return torch.stack([(tenths > step).sum(dim=1) for step in steps], dim=1)
    # Thrice as fast as a histogram of int64, and four times as fast as sums of torch.
    rows = tenths.numpy()
    return torch.tensor([[np.count_nonzero(row > step) for step in steps] for row in rows])


def _component_sums(p_label: Tensor, masks: Masks, maps: Maps) -> np.ndarray:
    p, labels = p_label.cpu().numpy(), masks.labels.cpu().numpy()
    counted = masks.counted.cpu().numpy()
    sums = []
    for n, kept in enumerate(counted):
        rows = component_sums(p[n], np.where(kept, labels[n], IGNORE), maps.components[n])
        top, left, _, image_width = maps.placements[n]
        y, x = np.divmod(rows[:, 4], kept.shape[1])
        rows[:, 4] = (y + top) * image_width + x + left
        sums.append(np.insert(rows, 0, n, axis=1))
    return np.concatenate(sums)


def _confident_state(p_NKHW: Tensor, masks: Masks, seen: Likelihood) -> Observed:
    """Histograms from which confident learning is finished over the whole dataset."""
    num_classes, given = p_NKHW.shape[1], masks.labels
    counted = masks.counted & torch.isfinite(seen.loss)
    num_samples, predicted = len(counted), seen.predicted
    low, top = probability_bin(seen.p_label), probability_bin(seen.p_predicted)
    wrong = counted & seen.prefers_other
    sample = torch.arange(num_samples, device=given.device).view(-1, 1, 1)
    below, every = (
        count(sample * NUM_BINS + low, kept, num_samples * NUM_BINS).view(-1, NUM_BINS).int()
        for kept in (wrong, counted)
    )
    places = (sample * num_classes + predicted) * NUM_BINS + top
    off_diagonal = count(places, wrong, num_samples * num_classes * NUM_BINS)
    sums = class_sums(seen.p_label, given, counted, num_classes)
    return {
        "final/below": below,
        "confident/off_diagonal": _occurring(off_diagonal.view(-1, NUM_BINS).int(), num_classes),
        "confident/p_label": every,
        "confident/class_sum": masks.of_given(sums.unsqueeze(-1)).squeeze(-1),
    }


def _occurring(histograms: Tensor, num_classes: int) -> np.ndarray:
    """Of histograms by mask and class those that hold anything, with both before them."""
    table = histograms.cpu().numpy()
    place = np.flatnonzero(table.any(axis=1)).astype(np.int32)
    return np.column_stack([place // num_classes, place % num_classes, table[place]])


def probability_bin(p: Tensor) -> Tensor:
    """Bin of each probability: the last holds 1 too."""
    return (p * NUM_BINS).long().clamp_(0, NUM_BINS - 1)
