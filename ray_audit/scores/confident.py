"""Confident learning over pixels, frames or images, exact and in one pass.

The method of cleanlab's pixel filter (Lad and Mueller 2023; Northcutt et al. 2021): the class
threshold t_k is the mean p_k over elements labelled k; the number of issues is that of elements
whose predicted class is not the given one and has p >= its threshold; that many elements of
lowest p(given class) are flagged, except those whose given class is the predicted one. So
thresholds set the count, self-confidence the order. Elements with a negative label count nowhere.

`find_issues` holds all probabilities and passes over them twice. `ConfidentState` needs one pass,
merges, and keeps histograms: see `finish` for how far the two may differ.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NUM_BINS = 1000
THRESHOLD_FLOOR = 2e-6
ABSENT_THRESHOLD = 2.0
TOLERANCE = 1e-6

_CHUNK = 1 << 16  # elements at a time: temporaries stay in the cache


@dataclass(frozen=True)
class Elements:
    """What confident learning needs of M labelled elements.

    Attributes:
        labels: (M,) given class.
        p_label: (M,) probability of the given class, in the input's float type.
        wrong: (W,) places of elements whose predicted class is not the given one.
        p_predicted: (W,) the largest probability of those.
        predicted: (W,) its class, the first of equals.
    """

    labels: npt.NDArray[np.integer]
    p_label: npt.NDArray[np.floating]
    wrong: npt.NDArray[np.intp]
    p_predicted: npt.NDArray[np.floating]
    predicted: npt.NDArray[np.int64]


def find_issues(
    labels: npt.NDArray[np.integer], p: npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """Flag the elements that confident learning holds to be mislabelled.

    Equal to `cleanlab.segmentation.filter.find_label_issues(downsample=1)` up to ties in p(given
    class), of which the earlier are flagged first, and for (M, K) input to
    `find_label_issues_batched`.

    Args:
        labels: (N, ...) class indices, negative where unlabelled.
        p: (N, K, ...) class probabilities, best from a model that has not seen the labels.

    Returns:
        (N, ...) bool.
    """
    p_NKM = _flat(labels, p)
    num_classes = p_NKM.shape[1]
    seen = [list(_elements(given, p_KM)) for given, p_KM in _images(labels, p_NKM)]
    parts = [part for image in seen for part in image]
    thresholds = class_thresholds(*_class_sums(parts, num_classes))
    num_issues = sum(_count_off_diagonal(part, thresholds) for part in parts)
    flags = np.zeros(labels.size, bool)
    labelled = np.flatnonzero(labels.ravel() >= 0)
    if num_issues:
        p_label = np.concatenate([part.p_label for part in parts])
        flags[labelled[_lowest(p_label, num_issues)]] = True
        starts = np.cumsum([0, *(len(part.labels) for part in parts)])
        is_wrong = np.zeros(len(labelled), bool)
        for part, start in zip(parts, starts, strict=False):
            is_wrong[start + part.wrong] = True
        flags[labelled] &= is_wrong
    return flags.reshape(labels.shape)


def class_thresholds(class_sum: Floats, class_count: Integers) -> Floats:
    """Mean p_k over elements labelled k, (K,); 2 for a class that labels nothing."""
    mean = np.asarray(class_sum, np.float64) / np.maximum(class_count, 1)
    return np.where(class_count > 0, np.maximum(mean, THRESHOLD_FLOOR), ABSENT_THRESHOLD)


@dataclass(frozen=True)
class ConfidentState:
    """Histograms of one pass over any part of a dataset; add them in any order.

    Attributes:
        class_sum: (K,) float64 sum of p(given class) by given class.
        class_count: (K,) int64 elements by given class.
        off_diagonal: (K, B) int64 elements whose prediction is not their label, by predicted
            class and bin of its probability.
        p_label: (B,) int64 elements by bin of p(given class).
    """

    class_sum: Floats
    class_count: Integers
    off_diagonal: Integers
    p_label: Integers

    @classmethod
    def empty(cls, num_classes: int, num_bins: int = NUM_BINS) -> Self:
        """State of no elements."""
        return cls(
            np.zeros(num_classes),
            np.zeros(num_classes, np.int64),
            np.zeros((num_classes, num_bins), np.int64),
            np.zeros(num_bins, np.int64),
        )

    def merge(self, other: Self) -> Self:
        """State of both parts."""
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Self:
        """Read what `to_arrays` gave."""
        return cls(
            np.asarray(arrays["class_sum"], np.float64),
            np.asarray(arrays["class_count"], np.int64),
            np.asarray(arrays["off_diagonal"], np.int64),
            np.asarray(arrays["p_label"], np.int64),
        )

    def finish(self) -> "Cutoff":
        """Thresholds, number of issues and the p(given class) below which elements are flagged.

        Against the exact form, the number differs at most by the off-diagonal elements whose
        probability shares a bin with its class's threshold, and the flagged fraction by those
        and the elements of the bin in which the cutoff falls: within a bin, elements are taken to
        be spread evenly.
        """
        num_bins = len(self.p_label)
        thresholds = class_thresholds(self.class_sum, self.class_count)
        place = np.minimum((thresholds - TOLERANCE) * num_bins, num_bins)
        inside = np.clip(np.arange(1, num_bins + 1) - place[:, None], 0.0, 1.0)
        num_issues = float((self.off_diagonal * inside).sum())
        below = np.concatenate([[0], np.cumsum(self.p_label)])
        full = int(np.searchsorted(below, num_issues, side="right")) - 1
        if full >= num_bins:
            return Cutoff(thresholds, num_issues, num_bins, 0.0)
        return Cutoff(
            thresholds, num_issues, full, (num_issues - below[full]) / float(self.p_label[full])
        )


@dataclass(frozen=True)
class Cutoff:
    """Which elements are flagged, once the whole dataset is known.

    Attributes:
        thresholds: (K,) class thresholds.
        num_issues: estimated number of mislabelled elements.
        num_full_bins: bins of p(given class) that are flagged whole.
        last_fraction: share of the next bin that is flagged.
    """

    thresholds: Floats
    num_issues: float
    num_full_bins: int
    last_fraction: float

    def num_flagged(self, wrong_p_label: Integers) -> Floats:
        """Flagged elements of each sample, from its histogram as `observe` gives it.

        Args:
            wrong_p_label: (..., B) elements whose prediction is not their label, by bin of
                p(given class).

        Returns:
            (...) float64, with fractions from the bin of the cutoff.
        """
        flagged = wrong_p_label[..., : self.num_full_bins].sum(axis=-1).astype(np.float64)
        if self.last_fraction:
            flagged = flagged + self.last_fraction * wrong_p_label[..., self.num_full_bins]
        return np.asarray(flagged)


def clc(num_flagged: npt.NDArray[np.floating], num_labelled: npt.NDArray[np.integer]) -> Floats:
    """1 - share of labelled pixels flagged by confident learning: 0-1, low is suspicious.

    Source: Lad and Mueller 2023 (cleanlab's `num_pixel_issues`).

    Args:
        num_flagged: (N,) from `Cutoff.num_flagged` or by counting `find_issues`.
        num_labelled: (N,) labelled pixels.

    Returns:
        (N,) float64, NaN where nothing is labelled.
    """
    total = np.asarray(num_labelled, np.float64)
    share = np.divide(num_flagged, total, out=np.full(total.shape, np.nan), where=total > 0)
    return np.asarray(1.0 - share)


def observe(
    labels: npt.NDArray[np.integer], p: npt.NDArray[np.floating], num_bins: int = NUM_BINS
) -> tuple[ConfidentState, Integers]:
    """One pass over a batch.

    Args:
        labels: (N, ...) class indices, negative where unlabelled.
        p: (N, K, ...) class probabilities.
        num_bins: B.

    Returns:
        The batch's state, and per sample the histogram (N, B) int64 of p(given class) over
        elements whose prediction is not their label, for `Cutoff.num_flagged`. Bin of p:
        min(floor(p * B), B - 1).
    """
    p_NKM = _flat(labels, p)
    num_samples, num_classes = len(labels), p_NKM.shape[1]
    state = ConfidentState.empty(num_classes, num_bins)
    wrong_p_label = np.zeros((num_samples, num_bins), np.int64)
    if labels.ndim == 1:
        _observe_rows(labels, p_NKM[0], state, wrong_p_label)
        return state, wrong_p_label
    for n, (given, p_KM) in enumerate(_images(labels, p_NKM)):
        for part in _elements(given, p_KM):
            low = _add(state, part)
            wrong_p_label[n] += np.bincount(low[part.wrong], minlength=num_bins)
    return state, wrong_p_label


def _observe_rows(
    labels: npt.NDArray[np.integer],
    p_KM: npt.NDArray[np.floating],
    state: ConfidentState,
    wrong_p_label: Integers,
) -> None:
    """Rows are samples of one element each."""
    start = 0
    rows = np.flatnonzero(labels >= 0)
    for part in _elements(labels, p_KM):
        low = _add(state, part)
        here = rows[start : start + len(low)]
        wrong_p_label[here[part.wrong], low[part.wrong]] = 1
        start += len(low)


def _add(state: ConfidentState, part: Elements) -> Integers:
    """Count a chunk into `state`; the bin of p(given class) of each element."""
    num_classes, num_bins = state.off_diagonal.shape
    low = _bin(part.p_label, num_bins)
    state.p_label[:] += np.bincount(low, minlength=num_bins)
    state.class_count[:] += np.bincount(part.labels, minlength=num_classes)
    state.class_sum[:] += np.bincount(part.labels, weights=part.p_label, minlength=num_classes)
    places = part.predicted * num_bins + _bin(part.p_predicted, num_bins)
    counts = np.bincount(places, minlength=num_classes * num_bins)
    state.off_diagonal[:] += counts.reshape(num_classes, num_bins)
    return low


def _bin(p: npt.NDArray[np.floating], num_bins: int) -> Integers:
    bins = (p * p.dtype.type(num_bins)).astype(np.int64)
    return np.minimum(bins, num_bins - 1, out=bins)


def _flat(labels: npt.NDArray[np.integer], p: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Probabilities as (N, K, M); rows (M, K) become one sample (1, K, M)."""
    if p.ndim != labels.ndim + 1 or (p.shape[0], *p.shape[2:]) != labels.shape:
        raise ValueError(
            f"probabilities of shape {p.shape} and labels of shape {labels.shape}; "
            "expected (N, K, ...) and (N, ...)"
        )
    if labels.size and labels.max() >= p.shape[1]:
        raise ValueError(f"label {labels.max()} with {p.shape[1]} classes; expected 0..K-1")
    if labels.ndim == 1:
        return np.ascontiguousarray(p.T)[None]
    return p.reshape(*p.shape[:2], int(np.prod(p.shape[2:])))


def _images(
    labels: npt.NDArray[np.integer], p_NKM: npt.NDArray[np.floating]
) -> Iterator[tuple[npt.NDArray[np.integer], npt.NDArray[np.floating]]]:
    rows = labels.reshape(len(p_NKM), p_NKM.shape[2])
    for given, p_KM in zip(rows, p_NKM, strict=True):
        yield given, np.ascontiguousarray(p_KM)


def _elements(
    labels: npt.NDArray[np.integer], p_KM: npt.NDArray[np.floating]
) -> Iterator[Elements]:
    """Labelled elements of (M,) labels and (K, M) probabilities, a chunk at a time."""
    small = np.uint8 if len(p_KM) <= 256 else np.int64
    length, as_vector = len(labels), p_KM.reshape(-1)
    for start in range(0, length, _CHUNK):
        given, p = labels[start : start + _CHUNK], p_KM[:, start : start + _CHUNK]
        top, predicted = _largest(p, small)
        place = np.arange(len(given))
        if not (given >= 0).all():
            place = np.flatnonzero(given >= 0)
            given, top, predicted = given[place], top[place], predicted[place]
        p_label = as_vector.take(given * np.int64(length) + (place + start))
        wrong = np.flatnonzero(predicted != given)
        yield Elements(given, p_label, wrong, top[wrong], predicted[wrong].astype(np.int64))


def _largest(
    p: npt.NDArray[np.floating], dtype: type[np.uint8] | type[np.int64]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.integer]]:
    """Maximum over the first axis, and its first place: argmax would transpose the array."""
    top = p[0].copy()
    place = np.zeros(p.shape[1], dtype)
    for class_index in range(1, len(p)):
        larger = p[class_index] > top
        np.maximum(top, p[class_index], out=top)
        # The latest class that beat all before it is the largest number so far.
        np.maximum(place, larger * dtype(class_index), out=place)
    return top, place


def _class_sums(parts: list[Elements], num_classes: int) -> tuple[Floats, Integers]:
    sums, counts = np.zeros(num_classes), np.zeros(num_classes, np.int64)
    for part in parts:
        sums += np.bincount(part.labels, weights=part.p_label, minlength=num_classes)
        counts += np.bincount(part.labels, minlength=num_classes)
    return sums, counts


def _count_off_diagonal(part: Elements, thresholds: Floats) -> int:
    confident = part.p_predicted >= (thresholds - TOLERANCE)[part.predicted]
    return int(np.count_nonzero(confident))


def _lowest(values: npt.NDArray[np.floating], num: int) -> npt.NDArray[np.intp]:
    """Places of the `num` lowest values; of equal ones the earlier."""
    if num >= len(values):
        return np.arange(len(values))
    cutoff = np.partition(values, num - 1)[num - 1]
    below = np.flatnonzero(values < cutoff)
    ties = np.flatnonzero(values == cutoff)[: num - len(below)]
    return np.concatenate([below, ties])
