"""Unlabelled regions of a mask that may be wrongly unlabelled.

No dense score counts a pixel without a label, so that a structure dropped to void would never be
seen. But the checkpoints do see it: at each of them, and as the same class.
"""

import numpy as np
import numpy.typing as npt

from ray_audit.scores.segmentation import smallest_region_px

MAX_COMPONENTS = 8

Floats = npt.NDArray[np.float64]


def void_components(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Number the largest 4-connected components of unlabelled pixels.

    Args:
        labels: (H, W) class indices, negative where unlabelled.

    Returns:
        (H, W) uint8: 1 for the largest, then 2, to at most `MAX_COMPONENTS`; 0 elsewhere. Equal
        ones in row order; none is smaller than `smallest_region_px`.
    """
    from scipy import ndimage  # here: who only opens a run need not wait for it

    void = labels < 0
    smallest = smallest_region_px(labels.size)
    if np.count_nonzero(void) < smallest:
        return np.zeros(labels.shape, np.uint8)
    numbered, num_found = ndimage.label(void)
    sizes = np.bincount(numbered[void], minlength=num_found + 1)
    largest = np.argsort(-sizes, kind="stable")[:MAX_COMPONENTS]
    largest = largest[sizes[largest] >= smallest]
    names = np.zeros(num_found + 1, np.uint8)
    names[largest] = np.arange(1, len(largest) + 1)
    components: npt.NDArray[np.uint8] = names[numbered]
    return components


def void_evidence(
    top_class: npt.NDArray[np.integer], top_p: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.int32], Floats]:
    """How surely the later checkpoints see one class in unlabelled regions. Our definition.

    Args:
        top_class: (V, E) class with the largest mean probability over a region's pixels.
        top_p: (V, E) that mean.

    Returns:
        (V,) the last checkpoint's class, and (V,) evidence: the least of the means over the later
        half of the checkpoints (the rest after the first ceil(E/2); the last of one), 0 where
        the class changes there. A fraction, high is suspicious.

    >>> void_evidence(np.array([[2, 1, 1, 1], [1, 1, 2, 1]]), np.full((2, 4), 0.9))[1].tolist()
    [0.9, 0.0]
    """
    num_checkpoints = top_class.shape[1]
    late = slice(min((num_checkpoints + 1) // 2, num_checkpoints - 1), None)
    seen = np.asarray(top_class[:, -1], np.int32)
    constant = (top_class[:, late] == seen[:, None]).all(axis=1)
    return seen, np.where(constant, np.asarray(top_p[:, late], np.float64).min(axis=1), 0.0)
