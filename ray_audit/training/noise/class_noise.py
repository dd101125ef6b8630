"""Planted errors in class labels: one label per sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from ray_audit.errors import SpecificationError
from ray_audit.training.noise.planted_truth import TruthRow, check_kinds, num_wrong

CLASS_KINDS = ("symmetric", "asymmetric", "instance")
"""Kinds of error in class labels."""


@dataclass(frozen=True)
class CorruptedClasses:
    """Class labels with planted errors.

    Attributes:
        labels: (N,) int64.
        truth: one row per sample.
    """

    labels: np.ndarray
    truth: list[TruthRow]


def corrupt_classes(
    labels: np.ndarray,
    num_classes: int,
    rate: float,
    kinds: Sequence[str],
    seed: int,
    *,
    sample_ids: Sequence[str] | None = None,
    confused_with: Mapping[int, int] | None = None,
    logits: np.ndarray | None = None,
    features: np.ndarray | None = None,
) -> CorruptedClasses:
    """Plant errors in exactly int(rate * N) samples, shared evenly among the kinds.

    Args:
        labels: (N,) true class indices.
        num_classes: K, at least 2.
        rate: fraction of wrong samples.
        kinds: some of `CLASS_KINDS`. `symmetric`: any sample, any other class with equal
            chance. `asymmetric`: the class that `confused_with` names. `instance`: hard samples
            first, towards the classes that they look like; needs `logits` or `features`.
        seed: of the errors.
        sample_ids: N names for the truth; the positions where absent.
        confused_with: class -> class; each class to the next one where absent. Classes that it
            does not name stay right.
        logits: (N, K) of a trained model, for `instance`.
        features: (N, D), for `instance`: a random projection for each class stands for the
            model, as in Xia et al. 2020 (part-dependent label noise, algorithm 2).

    Raises:
        SpecificationError: an unknown kind, a bad rate or shape, or too few samples to change.
    """
    check_kinds(kinds, CLASS_KINDS)
    true = np.asarray(labels, dtype=np.int64)
    _check_classes(true, num_classes)
    rng = np.random.default_rng(seed)
    given = true.copy()
    kind_of = np.full(len(true), "", dtype=object)
    total = num_wrong(len(true), rate)
    other_class = _chances(kinds, true, num_classes, confused_with, logits, features, rng)
    # The kinds with the fewest samples to choose from go first.
    counts = {kind: len(range(turn, total, len(kinds))) for turn, kind in enumerate(kinds)}
    for kind in sorted(counts, key=lambda kind: int((other_class[kind].sum(axis=1) > 0).sum())):
        chances = other_class[kind] * (kind_of == "")[:, None]
        chosen = _choose(chances, counts[kind], kind, rng)
        given[chosen] = _draw_rows(chances[chosen], rng)
        kind_of[chosen] = kind
    names = sample_ids if sample_ids is not None else [str(i) for i in range(len(true))]
    truth = [
        TruthRow(name, bool(kind), kind or None, int(label))
        for name, kind, label in zip(names, kind_of, true, strict=True)
    ]
    return CorruptedClasses(given, truth)


def _check_classes(labels: np.ndarray, num_classes: int) -> None:
    if num_classes < 2:
        raise SpecificationError(f"planted errors need 2 classes or more, got {num_classes}")
    if labels.ndim != 1 or (len(labels) and not 0 <= labels.min() <= labels.max() < num_classes):
        raise SpecificationError(
            f"class labels of shape {labels.shape}: expected (N,) with values from 0 to "
            f"{num_classes - 1}; leave unlabelled samples out"
        )


def _chances(
    kinds: Sequence[str],
    labels: np.ndarray,
    num_classes: int,
    confused_with: Mapping[int, int] | None,
    logits: np.ndarray | None,
    features: np.ndarray | None,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """For each kind (N, K): the chance of each wrong class; 0 for the true one."""
    found = {}
    for kind in kinds:
        if kind == "symmetric":
            chances = np.full((len(labels), num_classes), 1 / (num_classes - 1))
        elif kind == "asymmetric":
            pairs = confused_with or {i: (i + 1) % num_classes for i in range(num_classes)}
            transition = np.zeros((num_classes, num_classes))
            transition[list(pairs), list(pairs.values())] = 1
            chances = transition[labels]
        else:
            chances = _instance_chances(labels, num_classes, logits, features, rng)
        chances[np.arange(len(labels)), labels] = 0
        found[kind] = chances
    return found


def _instance_chances(
    labels: np.ndarray,
    num_classes: int,
    logits: np.ndarray | None,
    features: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray:
    if logits is None and features is not None:
        scale = features.std(axis=0) * np.sqrt(features.shape[1])
        standard = (features - features.mean(axis=0)) / np.maximum(scale, 1e-12)
        projections = rng.normal(size=(num_classes, features.shape[1], num_classes))
        logits = np.empty((len(labels), num_classes))
        for label in range(num_classes):
            logits[labels == label] = standard[labels == label] @ projections[label]
    if logits is None or logits.shape != (len(labels), num_classes):
        shape = None if logits is None else logits.shape
        raise SpecificationError(
            f"instance errors need logits of shape ({len(labels)}, {num_classes}) or features "
            f"of shape ({len(labels)}, D); got {shape}"
        )
    chances: np.ndarray = softmax(np.asarray(logits, dtype=np.float64), axis=1)
    # A confident model must still leave every sample some chance.
    floored: np.ndarray = np.maximum(chances, 1e-12)
    return floored


def _choose(chances: np.ndarray, count: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Choose distinct samples, each with a chance in proportion to that of being wrong."""
    weight = chances.sum(axis=1)
    num_possible = int((weight > 0).sum())
    if num_possible < count:
        raise SpecificationError(
            f"{kind} errors could be planted in {num_possible} samples, {count} were asked for; "
            "choose a lower rate or other kinds"
        )
    if count == 0:
        return np.empty(0, dtype=np.int64)
    return rng.choice(len(weight), size=count, replace=False, p=weight / weight.sum())


def _draw_rows(chances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One column of each row, with the row's chances."""
    summed = chances.cumsum(axis=1)
    point = rng.random(len(chances))[:, None] * summed[:, -1:]
    drawn: np.ndarray = (summed > point).argmax(axis=1)
    return drawn
