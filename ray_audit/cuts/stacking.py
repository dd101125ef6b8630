"""Arrays along a new first axis, without a copy where none is needed."""

import weakref

import numpy as np

_HELD_BYTES = 256 * 2**20


class _Owners:
    """Arrays that somebody still holds a view of which was given out here.

    A view keeps all of its array in memory: one clip of a long sequence the whole of it. What is
    held so has a limit, `max_bytes` for this process, beyond which pieces are copied.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._known: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()

    def takes(self, owner: np.ndarray) -> bool:
        """Whether views of an array may be given out; it counts as long as it is there."""
        known = list(self._known.values())
        if any(array is owner for array in known):
            return True
        if sum(array.nbytes for array in known) + owner.nbytes > self._max_bytes:
            return False
        self._known[id(owner)] = owner
        return True


_owners = _Owners(_HELD_BYTES)


def stacked(arrays: list[np.ndarray]) -> np.ndarray:
    """Arrays along a new first axis.

    Of one array that is no view, and of pieces of an array that follow each other without a gap, as
    frames do in a sequence of features, it is a view of them; else a copy.

    Args:
        arrays: of one shape; one at least.
    """
    first = arrays[0]
    if len(arrays) == 1 and first.flags.owndata:
        return first[None]
    owner = first.base
    if type(owner) is np.ndarray and _follow_each_other(arrays, owner) and _owners.takes(owner):
        start = _address(first) - _address(owner)
        piece = _bytes_of(owner)[start : start + len(arrays) * first.nbytes]
        return piece.view(first.dtype).reshape(len(arrays), *first.shape)
    return np.stack(arrays)


def _follow_each_other(arrays: list[np.ndarray], owner: np.ndarray) -> bool:
    """Whether pieces of one array lie in its memory one behind the other, each without gaps."""
    first, place = arrays[0], _address(arrays[0])
    for array in arrays:
        is_alike = array.shape == first.shape and array.dtype == first.dtype
        is_next = array.base is owner and array.flags.c_contiguous and _address(array) == place
        if not is_alike or not is_next:
            return False
        place += array.nbytes
    return bool(first.nbytes and (owner.flags.c_contiguous or owner.flags.f_contiguous))


def _bytes_of(owner: np.ndarray) -> np.ndarray:
    flat = owner.reshape(-1, order="A")
    return flat.view(np.uint8)


def _address(array: np.ndarray) -> int:
    place: int = array.__array_interface__["data"][0]
    return place
