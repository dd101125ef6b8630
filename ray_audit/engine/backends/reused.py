"""Memory that is used again once nobody holds it."""

import sys
import threading

import numpy as np

_NUM_KEPT = 2  # one is being filled while the one before is on its way


class ReusedMemory:
    """Gives out memory for bytes; at most two arrays of it are kept.

    New memory is new pages, which cost the system more to clear than it costs to fill them. What
    was given out is given out again only when it, and every view and Arrow buffer of it, is gone:
    that is known by the number of references, not by when it should be so.

    Args:
        max_bytes: larger ones are not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: list[np.ndarray] = []
        self._lock = threading.Lock()

    def take(self, num_bytes: int) -> np.ndarray:
        """(num_bytes,) uint8; what it held before may still be in it."""
        if num_bytes > self._max_bytes:
            return np.empty(num_bytes, np.uint8)
        with self._lock:
            free = [array for array in self._kept if sys.getrefcount(array) == _UNUSED]
            fitting = [array for array in free if array.nbytes >= num_bytes]
            if fitting:
                return min(fitting, key=len)[:num_bytes]
            made = np.empty(num_bytes, np.uint8)
            return self._keep(made, free)[:num_bytes]

    def _keep(self, made: np.ndarray, free: list[np.ndarray]) -> np.ndarray:
        """In the place of a smaller one that nobody uses, if there are as many as may be."""
        if len(self._kept) == _NUM_KEPT and free:
            smallest = min(free, key=len)
            self._kept = [array for array in self._kept if array is not smallest]
        if len(self._kept) < _NUM_KEPT:
            self._kept.append(made)
        return made


def _unused() -> int:
    """References to an array that a list alone holds, as a comprehension over it counts them."""
    kept = [np.empty(1, np.uint8)]
    (count,) = [sys.getrefcount(array) for array in kept]
    return count


_UNUSED = _unused()
