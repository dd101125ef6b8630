"""Where clips and tiles start, and which of them owns an element. Pure integer arithmetic.

Clips (one axis) and tiles (two axes, one at a time) follow the same rule: starts at multiples
of the stride, the last one moved back to end at the end, one short cut where the whole is
shorter than a cut. An element belongs to the cut in which it is farthest from the nearer edge,
ties to the earlier one. All cuts are equally long, so that is the cut with the nearest centre,
and what a cut owns is one range.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Span:
    """A cut [start, stop) and the part of it that it owns, [owned_start, owned_stop)."""

    start: int
    stop: int
    owned_start: int
    owned_stop: int


def starts(length: int, size: int, stride: int) -> list[int]:
    """Starts of the cuts that cover `length` elements.

    Args:
        length: number of elements, at least 0.
        size: elements in a cut.
        stride: elements between starts, at most `size`.

    >>> starts(10, 4, 3), starts(11, 4, 3), starts(3, 4, 3), starts(0, 4, 3)
    ([0, 3, 6], [0, 3, 6, 7], [0], [])
    """
    if length <= 0:
        return []
    if length <= size:
        return [0]
    regular = list(range(0, length - size + 1, stride))
    last = length - size
    return regular if regular[-1] == last else [*regular, last]


def boundary(start: int, next_start: int, size: int) -> int:
    """First element that belongs to the later of two neighbouring cuts of `size` elements.

    >>> boundary(0, 2, 4), boundary(0, 3, 4)
    (3, 4)
    """
    return (start + next_start + size - 1) // 2 + 1


def spans(length: int, size: int, stride: int) -> list[Span]:
    """The cuts of `length` elements with what each owns; the owned parts are a partition.

    >>> [(s.owned_start, s.owned_stop) for s in spans(11, 4, 3)]
    [(0, 4), (4, 7), (7, 9), (9, 11)]
    """
    begins = starts(length, size, stride)
    size = min(size, length)
    inner = [boundary(first, second, size) for first, second in pairwise(begins)]
    edges = [0, *inner, length]
    return [
        Span(start, start + size, owned_start, owned_stop)
        for start, (owned_start, owned_stop) in zip(begins, pairwise(edges), strict=False)
    ]


def tiles(shape: tuple[int, ...], size: int, overlap: int) -> Iterator[tuple[Span, Span]]:
    """The tiles of an image of `shape` (H, W), row by row, as (vertical, horizontal) spans."""
    stride = size - overlap
    for vertical in spans(shape[0], size, stride):
        for horizontal in spans(shape[1], size, stride):
            yield vertical, horizontal
