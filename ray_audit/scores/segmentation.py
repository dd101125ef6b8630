"""Scores of one image whose labels belong to pixels; low values are suspicious.

Lad and Mueller 2023 (arXiv 2307.05080) compare seven such scores. Soft-min and CLC follow their
public code (cleanlab); for CIL, CCP, TCCP, IoU and CoCo no published formula was at hand: those
are our reading, stated in each docstring. Pixels with a negative label count nowhere.

Every score is finished from a state that tiles of one image can add up, each pixel once.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ray_audit.scores.components import connected_components

_SMALLEST_REGION_PX = 16
_SMALLEST_REGION_FRACTION = 1e-4

TCCP_THRESHOLDS: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def interior_mask(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Labelled pixels outside the 1-px band along label boundaries.

    A pixel is in the band when one of its 4 neighbours holds another value, unlabelled ones
    included: annotators draw boundaries a pixel off, and models blur them.

    Args:
        labels: (H, W) class indices, negative where unlabelled.

    Returns:
        (H, W) bool.

    >>> interior_mask(np.array([[0, 0, 0, 1, 1, -1, -1]])).astype(int)
    array([[1, 1, 0, 0, 0, 0, 0]])
    """
    inside = np.array(labels >= 0)
    rows_differ = labels[1:] != labels[:-1]
    columns_differ = labels[:, 1:] != labels[:, :-1]
    inside[1:] &= ~rows_differ
    inside[:-1] &= ~rows_differ
    inside[:, 1:] &= ~columns_differ
    inside[:, :-1] &= ~columns_differ
    return inside


def smallest_region_px(num_px: int) -> int:
    """Pixels that a region needs to be looked at, in an image of `num_px`.

    >>> smallest_region_px(160 * 120), smallest_region_px(1000 * 1000)
    (16, 100)
    """
    return max(_SMALLEST_REGION_PX, int(np.ceil(_SMALLEST_REGION_FRACTION * num_px)))


_HALF_SIZE_FRACTION = 0.01


def area_suspicion(image_suspicion: float, doubt: float, fraction: float) -> float:
    """Suspicion of connected pixels of a mask, 0 to 1. Our definition.

    s d f / (f + 0.01): chosen among products of the image's suspicion, of what is seen in the
    area and of its size for the average precision of wrong components.

    Args:
        image_suspicion: s, 0 to 1.
        doubt: d, the mean over its pixels of 1 - p(given class).
        fraction: f, its share of the image.
    """
    return image_suspicion * doubt * fraction / (fraction + _HALF_SIZE_FRACTION)


def label_probability(p: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Floats:
    """Probability of the given class at each labelled pixel.

    Args:
        p: (K, H, W) class probabilities.
        labels: (H, W) class indices, negative where unlabelled.

    Returns:
        (M,) float64 over the M labelled pixels in row order.
    """
    _check_shapes(p, labels)
    flat = labels.ravel()
    place = np.flatnonzero(flat >= 0)
    # One flat index: three indices of axes take several times as long.
    index = flat.take(place).astype(np.intp) * labels.size + place
    return np.asarray(p.reshape(-1).take(index, mode="clip"), np.float64)


def softmin_state(p_label: npt.NDArray[np.floating], temperature: float = 0.1) -> Floats:
    """Partial soft minimum.

    Args:
        p_label: (M,) p(given class) over the pixels that count.
        temperature: T > 0; towards 0 the minimum, towards infinity the mean.

    Returns:
        (3,) float64: sum of w*s, sum of w, least s, where w = exp((least s - s) / T).

    Raises:
        ValueError: `temperature` is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"soft-min temperature is {temperature}; give a number above 0, e.g. 0.1")
    s = np.asarray(p_label, np.float64).ravel()
    if not s.size:
        return np.array([0.0, 0.0, np.inf])
    least = s.min()
    w = np.exp((least - s) / temperature)
    return np.array([w @ s, w.sum(), least])


def merge_softmin(states: npt.NDArray[np.float64], temperature: float = 0.1) -> Floats:
    """Merge soft-min states along the last but one axis: (..., M, 3) to (..., 3)."""
    states = np.asarray(states, np.float64)
    if not states.shape[-2]:
        return np.broadcast_to([0.0, 0.0, np.inf], (*states.shape[:-2], 3)).copy()
    least = states[..., 2].min(axis=-1)
    # A state without pixels has least = inf, and weighs nothing.
    known = np.where(np.isinf(least), 0.0, least)
    scale = np.exp((known[..., None] - states[..., 2]) / temperature)
    return np.stack(
        [(states[..., 0] * scale).sum(-1), (states[..., 1] * scale).sum(-1), least], axis=-1
    )


def finish_softmin(state: npt.NDArray[np.float64]) -> Floats:
    """Soft minimum of a state (..., 3): a fraction, low is suspicious; NaN without pixels."""
    state = np.asarray(state, np.float64)
    return _divide(state[..., 0], state[..., 1])


def softmin(p_label: npt.NDArray[np.floating], temperature: float = 0.1) -> float:
    """Soft minimum of p(given class): sum of w*s with w = softmax((1 - s) / T).

    One small region of wrong labels pulls it down, where a mean would drown it. Range 0-1, low is
    suspicious. Source: Lad and Mueller 2023, as in cleanlab (T = 0.1).

    >>> round(softmin(np.array([0.9, 0.8, 0.1])), 7)
    0.1009056
    """
    return float(finish_softmin(softmin_state(p_label, temperature)))


def cil(p_label: npt.NDArray[np.floating]) -> float:
    """Confidence in label: mean p(given class) over labelled pixels, 0-1, low is suspicious."""
    s = np.asarray(p_label, np.float64)
    return float(s.mean()) if s.size else float("nan")


def class_counts(
    predicted: npt.NDArray[np.integer], labels: npt.NDArray[np.integer], num_classes: int
) -> Integers:
    """Count per class over labelled pixels: true positives, predicted, given.

    Args:
        predicted: (H, W) class indices.
        labels: (H, W) class indices, negative where unlabelled.
        num_classes: K.

    Returns:
        (K, 3) int64; states of tiles are added.
    """
    labelled = labels >= 0
    given, seen = labels[labelled], predicted[labelled]
    columns = (given[given == seen], seen, given)
    return np.stack([np.bincount(c, minlength=num_classes) for c in columns], axis=1)


def finish_ccp(counts: Integers) -> Floats:
    """Share of labelled pixels predicted as labelled, from (..., K, 3) counts.

    Our reading of "correct class prediction". Range 0-1, low is suspicious.
    """
    return _divide(counts[..., 0].sum(-1), counts[..., 2].sum(-1))


def finish_iou(counts: Integers) -> Floats:
    """Mean IoU over the classes that are given or predicted, from (..., K, 3) counts.

    Range 0-1, low is suspicious.
    """
    union = counts[..., 1] + counts[..., 2] - counts[..., 0]
    return _mean_over_classes(_divide(counts[..., 0], union), union > 0)


def threshold_agreement(
    p: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    thresholds: Sequence[float] = TCCP_THRESHOLDS,
) -> Integers:
    """Count labelled pixels on which 1[p_k > t] equals 1[label = k].

    Args:
        p: (K, H, W) class probabilities.
        labels: (H, W) class indices, negative where unlabelled.
        thresholds: T values.

    Returns:
        (K, T) int64; states of tiles are added.
    """
    _check_shapes(p, labels)
    labelled = labels >= 0
    given, p_KM = labels[labelled], p[:, labelled]
    edges = np.asarray(thresholds, p.dtype)
    agree = np.zeros((len(p), len(edges)), np.int64)
    for class_index, p_M in enumerate(p_KM):
        is_class = given == class_index
        for edge_index, edge in enumerate(edges):
            agree[class_index, edge_index] = np.count_nonzero((p_M > edge) == is_class)
    return agree


def late_iou(ious: npt.NDArray[np.floating]) -> Floats:
    """Mean IoU over the checkpoints after the early half, the last one always among them.

    Single checkpoints swing, and this does not. Our definition. Range 0-1, low is suspicious.

    Args:
        ious: (N, E) of `finish_iou`, NaN at checkpoints that an image did not reach.

    Returns:
        (N,) float64; NaN where no pixel counts.

    >>> late_iou(np.array([[0.2, 0.9, 0.5, 0.7], [0.2, np.nan, np.nan, 0.7]]))
    array([0.6, 0.7])
    """
    num = ious.shape[1]
    late = np.asarray(ious[:, min((num + 1) // 2, num - 1) :], np.float64)
    return _mean_over_classes(late, ~np.isnan(late))


def finish_tccp(agreement: Integers, counts: Integers) -> Floats:
    """Agreement of thresholded class maps with the mask, from (..., K, T) and (..., K, 3).

    Our reading of "thresholded CCP": per class the accuracy of 1[p_k > t] against 1[label = k]
    at its best threshold, then the mean over the classes given or predicted. Range 0-1, low is
    suspicious.
    """
    num_px = counts[..., 2].sum(-1)[..., None]
    best = _divide(agreement.max(axis=-1), np.broadcast_to(num_px, agreement.shape[:-1]))
    return _mean_over_classes(best, (counts[..., 1] + counts[..., 2]) > 0)


def component_sums(
    p_label: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    components: npt.NDArray[np.integer] | None = None,
) -> Floats:
    """Sum p(given class) within each connected component of the mask.

    Args:
        p_label: (H, W) p(given class); any value where unlabelled.
        labels: (H, W) class indices, negative where unlabelled.
        components: (H, W) component ids of the whole mask; by default those of `labels`.

    Returns:
        (C, 5) float64: component id, class, sum of p, pixels, first pixel (y * W + x); rows in
        id order.
    """
    ids = connected_components(labels) if components is None else components
    kept_px = np.flatnonzero(labels.reshape(-1) >= 0)
    ids = ids.reshape(-1)[kept_px]
    # Runs of one component are few, where sorting all pixels takes most of the time.
    starts = np.ones(len(ids), bool)
    np.not_equal(ids[1:], ids[:-1], out=starts[1:])
    run_px = np.flatnonzero(starts)
    found, first, component_of = np.unique(ids[run_px], return_index=True, return_inverse=True)
    place = component_of[np.cumsum(starts) - 1]
    p_kept = p_label.reshape(-1)[kept_px].astype(np.float64)
    sums = np.bincount(place, weights=p_kept, minlength=len(found))
    num_px = np.bincount(place, minlength=len(found))
    first_px = kept_px[run_px[first]]
    rows = np.stack([found, labels.reshape(-1)[first_px], sums, num_px, first_px], axis=1)
    return rows.astype(np.float64)


def merge_components(states: Sequence[Floats]) -> Floats:
    """Merge component sums of an image's tiles, whose ids and places are of the whole mask."""
    rows = np.concatenate([np.empty((0, 5)), *(np.reshape(s, (-1, 5)) for s in states)])
    found, first, place = np.unique(rows[:, 0], return_index=True, return_inverse=True)
    sums, num_px = (np.bincount(place, weights=rows[:, c], minlength=len(found)) for c in (2, 3))
    first_px = np.full(len(found), np.inf)
    np.minimum.at(first_px, place, rows[:, 4])
    return np.stack([found, rows[first, 1], sums, num_px, first_px], axis=1)


def finish_coco(components: Floats) -> float:
    """Mean p(given class) per component, averaged within each class, then over classes.

    Our reading of the connected-components score. A small wrong component of a class with few
    components weighs as much as a large one. Range 0-1, low is suspicious.

    Args:
        components: (C, 5) as `merge_components` gives them (each component once).
    """
    if not len(components):
        return float("nan")
    _, place = np.unique(components[:, 1], return_inverse=True)
    means = components[:, 2] / components[:, 3]
    per_class = np.bincount(place, weights=means) / np.bincount(place)
    return float(per_class.mean())


def score_image(
    p: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], temperature: float = 0.1
) -> dict[str, float]:
    """All scores of one image that need no other image.

    Args:
        p: (K, H, W) class probabilities.
        labels: (H, W) class indices, negative where unlabelled.
        temperature: of the soft minimum.

    Returns:
        `softmin`, `softmin_interior`, `cil`, `ccp`, `tccp`, `iou`, `coco`; NaN where no pixel
        counts.
    """
    p_label = label_probability(p, labels)
    map_HW = np.zeros(labels.shape)
    map_HW[labels >= 0] = p_label
    counts = class_counts(p.argmax(axis=0), labels, len(p))
    return {
        "softmin": softmin(p_label, temperature),
        "softmin_interior": softmin(map_HW[interior_mask(labels)], temperature),
        "cil": cil(p_label),
        "ccp": float(finish_ccp(counts)),
        "tccp": float(finish_tccp(threshold_agreement(p, labels), counts)),
        "iou": float(finish_iou(counts)),
        "coco": finish_coco(component_sums(map_HW, labels)),
    }


def _divide(numerator: npt.NDArray[np.generic], denominator: npt.NDArray[np.generic]) -> Floats:
    """Quotient in float64, NaN where the denominator is 0."""
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0))


def _mean_over_classes(values: Floats, counts_in: npt.NDArray[np.bool_]) -> Floats:
    total = np.where(counts_in, values, 0.0).sum(-1)
    return _divide(total, counts_in.sum(-1))


def _check_shapes(p: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> None:
    if p.ndim != 3 or p.shape[1:] != labels.shape:
        raise ValueError(
            f"probabilities of shape {p.shape} and labels of shape {labels.shape}; "
            "expected (K, H, W) and (H, W)"
        )
    if labels.size and labels.max() >= len(p):
        raise ValueError(
            f"label {labels.max()} with {len(p)} classes; labels are 0..K-1, negative = unlabelled"
        )
