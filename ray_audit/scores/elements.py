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

    One pass over the classes finds the largest probability and its class, which most elements are
    given: only the others' p(given class) is looked up, since picking values by an index costs more
    than all comparisons.
    """
    flat, length = p_KM.reshape(-1), len(labels)
    num = min(length, _CHUNK)
    small = np.uint8 if len(p_KM) <= 256 else np.int32
    scratch = np.empty(num, p_KM.dtype), np.empty(num, bool), np.empty((2, num), small)
    numbers = np.arange(num)
    has_void = length > 0 and labels.min() < 0
    for start in range(0, length, _CHUNK):
        given = labels[start : start + _CHUNK]
        stop = start + len(given)
        top, first = _largest(p_KM[:, start:stop], *scratch)
        place: slice | npt.NDArray[np.intp] = slice(start, stop)
        column = numbers[: len(given)]
        if has_void:
            column = np.flatnonzero(given >= 0)
            given, top, first, place = given[column], top[column], first[column], start + column
        wrong = np.flatnonzero(first != given.astype(small))
        p_given = flat[given[wrong].astype(np.int64) * length + (start + column[wrong])]
        p_label = top.copy()
        p_label[wrong] = p_given
        wrong = wrong[top[wrong] > p_given]  # a given class that ties is the predicted one
        yield Elements(place, given, p_label, wrong, top[wrong], first[wrong].astype(np.intp))


def _largest(
    p_KM: npt.NDArray[np.floating],
    top: npt.NDArray[np.floating],
    is_larger: npt.NDArray[np.bool_],
    classes: npt.NDArray[np.integer],
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.integer]]:
    """Largest probability of each element, and the first class that has it, in scratch arrays.

    argmax would transpose the array. A later class that is larger has the larger number, so that
    the largest number of all that once were larger is the last of them.
    """
    num = p_KM.shape[1]
    top, is_larger, number, first = top[:num], is_larger[:num], classes[0, :num], classes[1, :num]
    np.copyto(top, p_KM[0])
    first[:] = 0
    for k in range(1, len(p_KM)):
        np.greater(p_KM[k], top, out=is_larger)
        np.maximum(top, p_KM[k], out=top)
        np.multiply(is_larger, first.dtype.type(k), out=number)
        np.maximum(first, number, out=first)
    return top, first
