"""Labelled elements (pixels, frames or images) of probabilities, some thousand at a time.

Shape suffixes: N samples, K classes, M elements of one sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

_CHUNK = 3 << 14  # elements at a time, at most: what is made of them stays in the cache


@dataclass(frozen=True)
class Scratch:
    """Arrays of one chunk's length, in which every chunk is worked on.

    New arrays would be new pages of memory for each chunk, which cost more than what is written
    there. What the names say holds within a chunk only.
    """

    top: npt.NDArray[np.floating]
    is_larger: npt.NDArray[np.bool_]
    number: npt.NDArray[np.integer]
    first: npt.NDArray[np.integer]
    given: npt.NDArray[np.integer]
    scaled: npt.NDArray[np.floating]
    index: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]

    @classmethod
    def of(cls, labels: npt.NDArray[np.integer], p: npt.NDArray[np.floating]) -> Self:
        """For every sample of labels (N, ...) and probabilities (N, K, ...).

        The chunks of a sample are equally long: a short rest would take as many calls.
        """
        length = labels.size if labels.ndim == 1 else int(np.prod(labels.shape[1:]))
        num = -(-length // max(1, -(-length // _CHUNK)))
        small = np.uint8 if p.shape[1] <= 256 else np.int32
        types = (p.dtype, bool, small, small, small, p.dtype, np.int64, np.float64)
        return cls(*(np.empty(num, dtype) for dtype in types))

    def part(self, num: int) -> Self:
        """The same for a chunk of `num` elements."""
        return type(self)(*(getattr(self, field.name)[:num] for field in fields(self)))


@dataclass(frozen=True)
class Elements:
    """What confident learning needs of M labelled elements; holds until the next are asked for.

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


def elements(
    labels: npt.NDArray[np.integer], p_KM: npt.NDArray[np.floating], whole: Scratch
) -> Iterator[Elements]:
    """The labelled elements of one sample, a chunk at a time.

    One pass over the classes finds the largest probability and its class, which most elements are
    given: only the others' p(given class) is looked up, since picking values by an index costs more
    than all comparisons.
    """
    flat, length, num = p_KM.reshape(-1), len(labels), len(whole.top)
    for start in range(0, length, num or 1):
        stop = min(start + num, length)
        scratch = whole.part(stop - start)
        _largest(p_KM[:, start:stop], scratch)
        given, top, first = scratch.given, scratch.top, scratch.first
        place: slice | npt.NDArray[np.intp] = slice(start, stop)
        if labels[start:stop].min() < 0:
            column = np.flatnonzero(labels[start:stop] >= 0)
            place = start + column
            given, top, first = labels[place].astype(given.dtype), top[column], first[column]
        else:
            given[:] = labels[start:stop]
        wrong = np.flatnonzero(np.not_equal(first, given, out=scratch.is_larger[: len(given)]))
        at = start + wrong if isinstance(place, slice) else place[wrong]
        p_given, p_predicted = flat[given[wrong] * np.int64(length) + at], top[wrong]
        top[wrong] = p_given
        is_wrong = p_predicted > p_given  # a given class that ties is the predicted one
        if not is_wrong.all():
            wrong, p_predicted = wrong[is_wrong], p_predicted[is_wrong]
        yield Elements(place, given, top, wrong, p_predicted, first[wrong].astype(np.intp))


def _largest(p_KM: npt.NDArray[np.floating], scratch: Scratch) -> None:
    """Largest probability of each element, and the first class that has it: `top` and `first`.

    argmax would transpose the array. A later class that is larger has the larger number, so that
    the largest number of all that once were larger is the last of them.
    """
    top, is_larger, number, first = scratch.top, scratch.is_larger, scratch.number, scratch.first
    as_number = is_larger.view(np.uint8)
    np.copyto(top, p_KM[0])
    first[:] = 0
    for k in range(1, len(p_KM)):
        np.greater(p_KM[k], top, out=is_larger)
        np.maximum(top, p_KM[k], out=top)
        np.multiply(as_number, first.dtype.type(k), out=number)
        np.maximum(first, number, out=first)
