"""Labelled elements (pixels, frames or images) of probabilities, some thousand at a time.

Shape suffixes: N samples, K classes, M elements of one sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_CHUNK = 1 << 15  # elements at a time: temporaries stay in the cache


@dataclass(frozen=True)
class Elements:
    """What confident learning needs of M labelled elements.

    Attributes:
        place: where they are in their sample: a slice, or (M,) indices where some are void.
        labels: (M,) given class.
        p_label: (M,) probability of the given class, in the input's float type.
        wrong: (W,) which of them have another class with a larger probability.
        p_predicted: (W,) the largest probability of those.
        predicted: (W,) its class, the first of equals.
    """

    place: slice | npt.NDArray[np.intp]
    labels: npt.NDArray[np.integer]
    p_label: npt.NDArray[np.floating]
    wrong: npt.NDArray[np.intp]
    p_predicted: npt.NDArray[np.floating]
    predicted: npt.NDArray[np.intp]


def samples(
    labels: npt.NDArray[np.integer], p: npt.NDArray[np.floating]
) -> Iterator[tuple[npt.NDArray[np.integer], npt.NDArray[np.floating]]]:
    """Labels (M,) and probabilities (K, M) of each sample; rows are elements of one sample.

    Args:
        labels: (N, ...) class indices, negative where unlabelled.
        p: (N, K, ...) class probabilities.

    Raises:
        ValueError: the shapes do not fit each other, or a label is no class.
    """
    if p.ndim != labels.ndim + 1 or (p.shape[0], *p.shape[2:]) != labels.shape:
        raise ValueError(
            f"probabilities of shape {p.shape} and labels of shape {labels.shape}; "
            "expected (N, K, ...) and (N, ...)"
        )
    if labels.size and labels.max() >= p.shape[1]:
        raise ValueError(f"label {labels.max()} with {p.shape[1]} classes; expected 0..K-1")
    if labels.ndim == 1:
        return iter([(labels, np.ascontiguousarray(p.T))])
    num_classes, num_elements = p.shape[1], int(np.prod(labels.shape[1:]))
    return (
        (
            given.reshape(num_elements),
            np.ascontiguousarray(p_sample.reshape(num_classes, num_elements)),
        )
        for given, p_sample in zip(labels, p, strict=True)
    )


def elements(labels: npt.NDArray[np.integer], p_KM: npt.NDArray[np.floating]) -> Iterator[Elements]:
    """The labelled elements of one sample, a chunk at a time.

    An element is wrong where a class has a larger probability than the given one: only for those
    is the class looked up, since a search for the largest costs several times its value.
    """
    flat, length = p_KM.reshape(-1), len(labels)
    numbers = np.arange(min(length, _CHUNK))
    has_void = length > 0 and labels.min() < 0
    for start in range(0, length, _CHUNK):
        given = labels[start : start + _CHUNK]
        stop = start + len(given)
        p = p_KM[:, start:stop]
        top = p.max(axis=0)
        place: slice | npt.NDArray[np.intp] = slice(start, stop)
        column = numbers[: len(given)]
        if has_void:
            column = np.flatnonzero(given >= 0)
            given, top, place = given[column], top[column], start + column
        index = np.multiply(given, length, dtype=np.int64)
        index += column
        # Every index lies inside: clipping only spares numpy a check of each.
        p_label = flat[start:].take(index, mode="clip")
        wrong = np.flatnonzero(top > p_label)
        top = top[wrong]
        # Not `take`, which would first copy all of a chunk that is a part of wider rows.
        predicted = _first_equal(p[:, column[wrong]], top)
        yield Elements(place, given, p_label, wrong, top, predicted)


def _first_equal(
    p_KM: npt.NDArray[np.floating], top: npt.NDArray[np.floating]
) -> npt.NDArray[np.intp]:
    """First class whose probability is the largest: argmax would transpose the array."""
    num_classes = len(p_KM)
    # Earlier classes weigh more, so that the first of equals wins.
    weights = np.arange(num_classes, 0, -1, dtype=np.uint8 if num_classes < 256 else np.int32)
    weighted = (p_KM == top) * weights[:, None]
    first: npt.NDArray[np.intp] = num_classes - weighted.max(axis=0).astype(np.intp)
    return first
