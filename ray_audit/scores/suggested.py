"""Which class the checkpoints would give instead of the given one."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def suggested_class(
    other: npt.NDArray[np.integer], p_other: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.int32], Floats]:
    """The class, other than the given one, that collects the most probability over checkpoints.

    Our definition. Each checkpoint speaks for its best other class only, so that records stay
    small however many classes there are. Since the given class never competes, a label that was
    memorised gets a suggestion as well. Memory grows with N E, not with the number of classes.

    Args:
        other: (N, E) best class other than the given one at each checkpoint.
        p_other: (N, E) its probability; 0 where it is too small to be told.

    Returns:
        (N,) class: of equals the one that more checkpoints name, then the lowest index; (N,)
        float64 its probability, summed over the checkpoints that speak for it and divided by E:
        0-1, a lower bound of its mean.

    >>> label, p = suggested_class(np.array([[2, 1, 2]]), np.array([[0.3, 0.5, 0.3]]))
    >>> label.tolist(), p.round(3).tolist()
    ([2], [0.2])
    """
    other, p_other = np.asarray(other, np.int64), np.asarray(p_other, np.float64)
    num_samples, num_checkpoints = other.shape
    if not other.size:
        return np.zeros(num_samples, np.int32), np.zeros(num_samples)
    base = int(other.max(initial=0)) + 1
    pairs = np.arange(num_samples)[:, None] * base + other
    keys, place, votes = np.unique(pairs.ravel(), return_inverse=True, return_counts=True)
    total = np.bincount(place.reshape(-1), weights=p_other.ravel(), minlength=len(keys))
    rows, classes = np.divmod(keys, base)
    order = np.lexsort((classes, -votes, -total, rows))
    best = order[np.searchsorted(rows[order], np.arange(num_samples))]
    return classes[best].astype(np.int32), total[best] / num_checkpoints
