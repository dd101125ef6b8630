"""The loop of confident learning's histograms, compiled by numba where the extra is installed.

It counts and adds what `confident` counts and adds with numpy, in the same order, so that every
number is equal to the last bit whoever has numba. numpy stays where numba is absent or disabled,
for types that it has no loop for, and for the first `PATIENCE` elements of a process: importing
and compiling take a second, and whoever has less to count would wait for nothing.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

PATIENCE = 50_000_000
"""Elements that a process counts with numpy first: about the second that compiling takes."""

_MOST_BINS = 1 << 24  # float32 holds every number up to here
_TILE = 64  # elements whose classes are compared before they are counted: in the nearest cache

Loop = Callable[..., bool]
"""See `_count`, which it is made of."""

_num_counted = 0


def loop_for(
    labels: npt.NDArray[np.integer], p_KM: npt.NDArray[np.floating], num_bins: int
) -> Loop | None:
    """The compiled loop if one sample's M elements are for it, else None: numpy counts them.

    Args:
        labels: (M,) given class, negative where unlabelled.
        p_KM: (K, M) probabilities.
        num_bins: B.
    """
    global _num_counted
    _num_counted += len(labels)
    if _num_counted < PATIENCE or not p_KM.size or num_bins > _MOST_BINS:
        return None
    is_known = labels.dtype.kind in "iu" and p_KM.dtype in (np.float32, np.float64)
    return _compiled() if is_known and labels.dtype.isnative else None


@functools.cache
def _compiled() -> Loop | None:
    """Compiled by the first call, once for each pair of types; None without numba."""
    try:
        import numba
    except ImportError:  # also where numba does not know this numpy yet
        return None
    if numba.config.DISABLE_JIT:
        return None
    loop: Loop = numba.njit(nogil=True)(_count)
    return loop


def _count(
    labels: Any,
    p_KM: Any,
    chunk: int,
    num_bins: Any,
    class_sum: Any,
    class_count: Any,
    off_diagonal: Any,
    p_label: Any,
    wrong_p_label: Any,
) -> bool:
    """Count one sample's elements into the arrays of a `ConfidentState`.

    Sums are taken chunk by chunk and class by class, as numpy's are: floats do not bear another
    order.

    Args:
        labels: (M,) given class, negative where unlabelled.
        p_KM: (K, M) probabilities, in one piece.
        chunk: elements whose sums are taken together.
        num_bins: B, in the type of the probabilities.
        class_sum: (K,) as the state's, as are the next three.
        class_count: (K,).
        off_diagonal: (K, B).
        p_label: (B,).
        wrong_p_label: (1, B) histogram of the sample, or (M, B) of each element.

    Returns:
        False if a p(given class) is below 0 or not a number: what is counted is worth nothing then.
    """
    num_classes, num_elements = p_KM.shape
    last_bin = num_bins - p_KM.dtype.type(1)
    step = np.int64(len(wrong_p_label) > 1)
    top, first = np.empty(_TILE, p_KM.dtype), np.empty(_TILE, np.int32)
    sums = np.empty(num_classes)
    for start in range(0, num_elements, chunk):
        stop = min(start + chunk, num_elements)
        sums[:] = 0.0
        for begin in range(start, stop, _TILE):
            num = min(_TILE, stop - begin)
            row = p_KM[0, begin : begin + num]
            for i in range(num):
                top[i], first[i] = row[i], 0
            for k in range(1, num_classes):
                row = p_KM[k, begin : begin + num]
                for i in range(num):
                    p, largest = row[i], top[i]
                    is_larger = p > largest
                    # As numpy's maximum: what is not a number stays.
                    top[i] = p if is_larger | (p != p) else largest
                    first[i] = k if is_larger else first[i]
            for i in range(num):
                at = begin + i
                given = np.int64(labels[at])
                if given < 0:
                    continue
                largest, predicted = top[i], first[i]
                p = largest if predicted == given else p_KM[given, at]
                scaled = p * num_bins
                scaled = last_bin if scaled > last_bin else scaled
                if not scaled > -1:
                    return False
                low = np.int64(scaled)
                sums[given] += p
                class_count[given] += 1
                p_label[low] += 1
                if predicted != given and largest > p:
                    scaled = largest * num_bins
                    scaled = last_bin if scaled > last_bin else scaled
                    off_diagonal[predicted, np.int64(scaled)] += 1
                    wrong_p_label[at * step, low] += 1
        for k in range(num_classes):
            class_sum[k] += sums[k]
    return True
