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
    memorised gets a suggestion as well.

    Args:
        other: (N, E) best class other than the given one at each checkpoint.
        p_other: (N, E) its probability.

    Returns:
        (N,) class, the lowest index of equals; (N,) float64 its probability, summed over the
        checkpoints that speak for it and divided by E: 0-1, a lower bound of its mean.

    >>> label, p = suggested_class(np.array([[2, 1, 2]]), np.array([[0.3, 0.5, 0.3]]))
    >>> label.tolist(), p.round(3).tolist()
    ([2], [0.2])
    """
    other = np.asarray(other, np.int64)
    num_samples, num_checkpoints = other.shape
    num_classes = int(other.max(initial=0)) + 1
    total = np.zeros((num_samples, num_classes))
    rows = np.repeat(np.arange(num_samples), num_checkpoints)
    np.add.at(total, (rows, other.ravel()), np.asarray(p_other, np.float64).ravel())
    label = total.argmax(axis=1)
    return label.astype(np.int32), total[np.arange(num_samples), label] / max(num_checkpoints, 1)
