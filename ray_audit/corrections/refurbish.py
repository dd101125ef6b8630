"""Refurbishing: flagged labels are replaced by what the checkpoints see, if they are confident.

After "Detecting and refurbishing ground truth errors" (Islam et al. 2026, arXiv 2604.12832), whose
thresholds are not published: the gate, the averaging and the handling of memorised labels are our
reading. What is not flagged is never touched.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ray_audit.samples import IGNORE


@dataclass(frozen=True)
class Refurbished:
    """New labels and what speaks for them.

    Attributes:
        labels: of the shape of the given ones.
        p_given: probability of the given class; 1 where unlabelled.
        p_new: probability of the class that stands there now.
    """

    labels: npt.NDArray[Any]
    p_given: npt.NDArray[np.floating]
    p_new: npt.NDArray[np.floating]


def refurbish(
    labels: npt.NDArray[np.integer],
    p: npt.NDArray[np.floating],
    confidence: float,
    where: npt.NDArray[np.bool_] | None = None,
    memorised: bool = False,
) -> Refurbished:
    """Replace labels by the most probable class where that is confident.

    Args:
        labels: given classes of any shape (S,) or (H, W); `IGNORE` where unlabelled.
        p: (K, *shape) probabilities, at one checkpoint or averaged over some.
        confidence: the new class must be more probable than this, 0-1.
        where: elements that may change (a flagged region); all where None.
        memorised: the model has learnt the given labels: then the best OTHER class competes, and
            its probability among the other classes must be above `confidence`.

    Returns:
        New labels with their probabilities.

    Raises:
        ValueError: shapes that do not fit each other, or a confidence outside 0 to 1.

    >>> p = np.array([[0.9, 0.3], [0.1, 0.7]])
    >>> refurbish(np.array([1, 0]), p, confidence=0.8).labels.tolist()
    [0, 0]
    """
    if p.shape[1:] != labels.shape:
        raise ValueError(f"probabilities of shape {p.shape} for labels of shape {labels.shape}")
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence {confidence}: expected 0 to 1")
    labelled = labels != IGNORE
    given = np.where(labelled, labels, 0)[None]
    p_given = np.take_along_axis(p, given, axis=0)[0]
    competing = p
    if memorised:
        others = p.copy()
        np.put_along_axis(others, given, 0.0, axis=0)
        total = others.sum(axis=0)
        competing = np.divide(others, total, out=np.zeros_like(others), where=total > 0)
    best = competing.argmax(axis=0)
    replace = labelled & (competing.max(axis=0) > confidence) & (best != labels)
    if where is not None:
        replace &= where
    new = np.where(replace, best, labels)
    p_new = np.take_along_axis(p, np.where(labelled, new, 0)[None], axis=0)[0]
    ones = np.ones_like(p_given)
    return Refurbished(
        new.astype(labels.dtype), np.where(labelled, p_given, ones), np.where(labelled, p_new, ones)
    )


def flagged(suspicion: npt.NDArray[np.floating], fraction: float) -> npt.NDArray[np.bool_]:
    """The most suspicious samples, int(fraction * N) of them; none of equals that do not all fit.

    Args:
        suspicion: (N,), higher is more suspicious; NaN is never flagged.
        fraction: 0-1.

    >>> flagged(np.array([0.1, 0.9, np.nan, 0.5]), 0.5).tolist()
    [False, True, False, True]
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"flagged fraction {fraction}: expected 0 to 1")
    values = np.asarray(suspicion, np.float64)
    known = np.sort(values[~np.isnan(values)])[::-1]
    num = int(fraction * len(values))
    if num >= len(known):
        return ~np.isnan(values)
    # An order among equals would be that of the samples.
    chosen: npt.NDArray[np.bool_] = values > known[num]
    return chosen
