"""States of the dense scores that are taken at the last checkpoint only; all of them merge."""

import numpy as np
import torch
from torch import Tensor

from ray_audit.probes.disagreement import NumberedPixels
from ray_audit.probes.likelihood import Likelihood
from ray_audit.probes.masks import Maps, Masks
from ray_audit.probes.transfer import Observed
from ray_audit.samples import IGNORE
from ray_audit.scores.confident import NUM_BINS
from ray_audit.scores.segmentation import TCCP_THRESHOLDS, component_sums


def final_states(
    p_NKHW: Tensor,
    masks: Masks,
    seen: Likelihood,
    maps: Maps,
    wrong: NumberedPixels,
    temperature: float,
) -> Observed:
    """Mergeable states of the scores that need the last checkpoint only.

    Args:
        p_NKHW: probabilities.
        masks: targets.
        seen: what the logits say of them.
        maps: of the whole masks.
        wrong: the pixels that disagree, of `disagreeing`.
        temperature: of soft-min.

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
        **_confident_state(masks, seen, wrong, num_classes),
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
    sample = torch.arange(len(predicted), device=predicted.device).view(-1, 1, 1)
    pairs = (sample * num_classes + masks.labels) * num_classes + predicted
    counts = count(pairs, masks.counted, len(predicted) * num_classes**2)
    by_pair = counts.view(-1, num_classes, num_classes)
    columns = (by_pair.diagonal(dim1=1, dim2=2), by_pair.sum(dim=1), by_pair.sum(dim=2))
    return torch.stack(columns, dim=2)


_NUM_TENTHS = len(TCCP_THRESHOLDS) + 1


def _threshold_agreement(p_NKHW: Tensor, masks: Masks) -> Tensor:
    """Pixels on which 1[p_k > t] equals 1[label = k]: those of k above t, and the others below.

    The thresholds are tenths: t is passed where the tenth of a probability, rounded up, is above.
    """
    above = _listed_above if _is_cpu(p_NKHW) else _counted_above
    agreements = []
    for p_KHW, label, counted in zip(p_NKHW, masks.labels, masks.counted, strict=True):
        every, own = above(p_KHW.flatten(1), label.flatten(), counted.flatten())
        num_given = count(label, counted, len(p_KHW)).unsqueeze(1)
        agreements.append(own + (counted.sum() - num_given) - (every - own))
    return torch.stack(agreements)


def _listed_above(p_KM: Tensor, label_M: Tensor, counted_M: Tensor) -> tuple[Tensor, Tensor]:
    """Counted pixels above each threshold, (K, T) int64: all, and those given the class itself.

    As probabilities add up to 1, few are above any: listing them takes one look at each.
    """
    num_classes, num_px = p_KM.shape
    p = p_KM.numpy().reshape(-1) * np.float32(_NUM_TENTHS)
    place = np.flatnonzero(p > 1)
    class_of, px = np.divmod(place, num_px)
    tenths = np.minimum(np.ceil(p[place]).astype(np.int64), _NUM_TENTHS)
    bins = class_of * (_NUM_TENTHS + 1) + tenths
    kept = counted_M.numpy()[px]
    found = []
    for of in (kept, kept & (label_M.numpy()[px] == class_of)):
        by_tenth = np.bincount(bins[of], minlength=num_classes * (_NUM_TENTHS + 1))
        by_tenth = by_tenth.reshape(num_classes, -1)[:, ::-1].cumsum(axis=1)[:, ::-1]
        found.append(torch.from_numpy(by_tenth[:, 2:].copy()))
    return found[0], found[1]


def _counted_above(p_KM: Tensor, label_M: Tensor, counted_M: Tensor) -> tuple[Tensor, Tensor]:
    """The same, threshold by threshold: nothing waits for a GPU."""
    tenths = torch.where(counted_M, p_KM * _NUM_TENTHS, 0.0).ceil_().to(torch.uint8)
    is_own = label_M == torch.arange(len(p_KM), device=p_KM.device).unsqueeze(1)
    own = torch.where(is_own, tenths, 0)
    every, of_own = (
        torch.stack([(of > step).sum(dim=1) for step in range(1, _NUM_TENTHS)], dim=1)
        for of in (tenths, own)
    )
    return every, of_own


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


def _confident_state(
    masks: Masks, seen: Likelihood, wrong: NumberedPixels, num_classes: int
) -> Observed:
    """Histograms from which confident learning is finished over the whole dataset."""
    counted, num_samples = masks.counted & seen.is_finite, len(masks.counted)
    sample = torch.arange(num_samples, device=counted.device).view(-1, 1, 1)
    places = sample * NUM_BINS + probability_bin(seen.p_label)
    every = count(places, counted, num_samples * NUM_BINS).view(-1, NUM_BINS).int()
    sums = class_sums(seen.p_label, masks.labels, counted, num_classes)
    return {
        **_wrong_histograms(wrong, masks.labels.shape, num_classes),
        "confident/p_label": every,
        "confident/class_sum": masks.of_given(sums.unsqueeze(-1)).squeeze(-1),
    }


def _wrong_histograms(
    wrong: NumberedPixels, shape: torch.Size, num_classes: int
) -> dict[str, np.ndarray]:
    """Of the pixels that disagree, which are few and on the host already."""
    owned = wrong.values["owned"]
    low, top = (
        probability_bin(torch.from_numpy(wrong.values[name][owned])).numpy()
        for name in ("p_given", "p_suggested")
    )
    mask = wrong.place[owned] // shape[1:].numel()
    below = np.bincount(mask * NUM_BINS + low, minlength=shape[0] * NUM_BINS)
    pair = mask * num_classes + wrong.values["suggested"][owned]
    occurs = np.bincount(pair, minlength=shape[0] * num_classes) > 0
    found, row = np.flatnonzero(occurs).astype(np.int32), np.cumsum(occurs) - 1
    table = np.bincount(row[pair] * NUM_BINS + top, minlength=len(found) * NUM_BINS)
    histograms = table.reshape(-1, NUM_BINS).astype(np.int32)
    return {
        "final/below": below.reshape(-1, NUM_BINS).astype(np.int32),
        "confident/off_diagonal": np.column_stack(
            [found // num_classes, found % num_classes, histograms]
        ),
    }


def probability_bin(p: Tensor) -> Tensor:
    """Bin of each probability: the last holds 1 too."""
    return (p * NUM_BINS).long().clamp_(0, NUM_BINS - 1)
