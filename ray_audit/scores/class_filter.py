"""Confident learning class by class: each given class has its own number of flags.

The joint J_jk counts elements labelled j that are confidently k: p_k at or above the threshold t_k
(mean p_k over elements labelled k); where several classes are confident, the predicted one counts.
Calibrated, row j sums to the elements labelled j; what lies off its diagonal is the number of wrong
labels of class j. That many elements of lowest p(given class) are flagged in it, except those
whose given class is the predicted one.

Source: Northcutt et al. 2021 (prune by class), as cleanlab's `filter_by="prune_by_class"`.
"""

import numpy as np
import numpy.typing as npt

from ray_audit.scores.confident import TOLERANCE, Floats, Integers, Scan
from ray_audit.scores.elements import samples

_CHUNK = 1 << 16
_LEAST_LEFT = 1  # elements of a class that are never flagged away


def find_issues_by_class(
    labels: npt.NDArray[np.integer], p: npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """Flag in each given class as many elements as the confident joint holds to be wrong.

    For images, frames and masks. Equal to `cleanlab.filter.find_label_issues` with
    `filter_by="prune_by_class"` over the labelled elements, up to ties in p(given class), of which
    the earlier are flagged first, and ties between remainders in the joint's rounding.

    Args:
        labels: (N, ...) class indices, negative where unlabelled.
        p: (N, K, ...) class probabilities, best from a model that has not seen the labels.

    Returns:
        (N, ...) bool.
    """
    scan = Scan.of(labels, p)
    joint = confident_joint(labels, p, scan.thresholds)
    num_wrong = num_wrong_by_class(joint, scan.class_count)
    flags = flag_by_class(labels.reshape(-1), scan.p_label, scan.is_wrong, num_wrong)
    return flags.reshape(labels.shape)


def confident_joint(
    labels: npt.NDArray[np.integer], p: npt.NDArray[np.floating], thresholds: Floats
) -> Integers:
    """Count elements by given and confident class; those confident of no class count nowhere.

    Args:
        labels: (N, ...) class indices, negative where unlabelled.
        p: (N, K, ...) class probabilities.
        thresholds: (K,) from `class_thresholds`.

    Returns:
        (K, K) int64, rows by given class. Equal to cleanlab's `compute_confident_joint(calibrate=
        False)` but for its diagonal, which is at least 1 there.
    """
    num_classes = len(thresholds)
    joint = np.zeros(num_classes * num_classes, np.int64)
    least = (thresholds - TOLERANCE)[:, None]
    for given, p_KM in samples(labels, p):
        for start in range(0, len(given), _CHUNK):
            own, part = given[start : start + _CHUNK], p_KM[:, start : start + _CHUNK]
            is_confident = part >= least
            num_confident = is_confident.sum(axis=0)
            only = is_confident.argmax(axis=0)
            # Of several, not the likeliest of them: the predicted class, as cleanlab has it.
            found = np.where(num_confident > 1, part.argmax(axis=0), only)
            kept = (num_confident > 0) & (own >= 0)
            pairs = own[kept].astype(np.int64) * num_classes + found[kept]
            joint += np.bincount(pairs, minlength=num_classes * num_classes)
    return joint.reshape(num_classes, num_classes)


def num_wrong_by_class(joint: Integers, class_count: Integers) -> Integers:
    """Wrong labels of each given class, from the joint scaled to the class's elements.

    Args:
        joint: (K, K) from `confident_joint`.
        class_count: (K,) elements by given class.

    Returns:
        (K,) int64: 0 for a class with fewer than 2 elements; always at least one is left.
    """
    # A class of which none is confident would divide by 0: cleanlab counts one as right.
    filled = joint + np.diag(np.maximum(1 - np.diag(joint), 0))
    shares = filled / filled.sum(axis=1, keepdims=True) * class_count[:, None]
    right = np.array([_rounded(row)[k] for k, row in enumerate(shares)], np.int64)
    num_wrong = class_count - np.maximum(right, _LEAST_LEFT)
    return np.asarray(np.where(class_count > _LEAST_LEFT, num_wrong, 0), np.int64)


def flag_by_class(
    labels: npt.NDArray[np.integer],
    p_label: npt.NDArray[np.floating],
    is_wrong: npt.NDArray[np.bool_],
    num_wrong: Integers,
) -> npt.NDArray[np.bool_]:
    """Flag the `num_wrong` lowest p(given class) of each class, but those predicted as labelled.

    Args:
        labels: (M,) class indices, negative where unlabelled.
        p_label: (M,) probability of the given class.
        is_wrong: (M,) whether another class has a larger one.
        num_wrong: (K,) how many in each class.

    Returns:
        (M,) bool.

    >>> flag_by_class(np.array([0, 0, 0, 1]), np.array([.1, .2, .9, .3]), np.ones(4, bool), [1, 0])
    array([ True, False, False, False])
    """
    flags = np.zeros(len(labels), bool)
    for class_index, num in enumerate(num_wrong):
        if num:
            own = np.flatnonzero(labels == class_index)
            flags[own[np.argsort(p_label[own], kind="stable")[:num]]] = True
    return np.asarray(flags & is_wrong)


def _rounded(shares: Floats) -> Integers:
    """Whole numbers near `shares` with the same sum: the largest remainders are rounded up."""
    whole = np.round(shares)
    excess = round(float(whole.sum() - shares.sum()))
    order = np.argsort(shares - whole, kind="stable")
    if excess > 0:
        whole[order[:excess]] -= 1
    elif excess < 0:
        whole[order[excess:]] += 1
    return whole.astype(np.int64)
