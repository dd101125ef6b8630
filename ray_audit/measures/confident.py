"""Confident learning over the pixels of a dataset: histograms of a pass, or counts of a second.

What is summed over a dataset is kept for each mask: one that fails, at another checkpoint or in
another of its tiles, must not count in the scores of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ray_audit.measures.base import (
    DENSE,
    ROWS,
    Cuts,
    DatasetQuantity,
    Family,
    Pieces,
    Quantity,
    score,
    total,
)
from ray_audit.scores.class_pairs import ClassPairs
from ray_audit.scores.confident import NUM_BINS, ConfidentState, clc
from ray_audit.scores.csl import segment_ids
from ray_audit.scores.label_noise import NoiseState
from ray_audit.task import Task


@dataclass(frozen=True)
class Confusion:
    """Pixels by given and predicted class, of each mask at each checkpoint.

    Attributes:
        sets: of each set of records, pieces of a mask and given class: (P, K * checkpoints).
        source: set and column of each checkpoint.
    """

    sets: tuple[Pieces, ...]
    source: tuple[tuple[int, int], ...]

    def total(self, kept: np.ndarray, num_classes: int) -> np.ndarray:
        """Sum over some of the samples, (N,) bool: (E, K, K) int64."""
        counts = np.zeros((len(self.source), num_classes, num_classes), np.int64)
        for e, (place, column) in enumerate(self.source):
            pieces = self.sets[place]
            values = pieces.values.reshape(len(pieces.values), num_classes, -1)[..., column]
            counts[e] = Pieces(pieces.sample, pieces.key, values).total(kept, num_classes)
        return counts

    def counts(self, num_samples: int, num_classes: int, checkpoint: int) -> np.ndarray:
        """(N, K, 3) int64 pixels of each mask: right, predicted, given, at a checkpoint."""
        place, column = self.source[checkpoint]
        pieces = self.sets[place]
        seen = pieces.values.reshape(len(pieces.values), num_classes, -1)[..., column]
        found = np.zeros((num_samples, num_classes, 3), np.int64)
        where = (pieces.sample, pieces.key)
        np.add.at(found[..., 0], where, seen[np.arange(len(seen)), pieces.key])
        np.add.at(found[..., 1], pieces.sample, seen)
        np.add.at(found[..., 2], where, seen.sum(axis=1))
        return found


def _by_given(cuts: Cuts, name: str) -> Pieces:
    return cuts.pieces(name, along="confusion/given")


def _by_predicted(cuts: Cuts, name: str) -> Pieces:
    """The class that stands before each piece's histogram is its key."""
    pieces = cuts.pieces(name, width=1 + NUM_BINS)
    return Pieces(pieces.sample, pieces.values[:, 0], pieces.values[:, 1:])


def _of_sets(
    sets: Sequence[Pieces], source: Sequence[tuple[int, int]], reached: np.ndarray | None
) -> Confusion:
    return Confusion(tuple(sets), tuple(source))


_pieces = partial(Quantity, axis="pieces", tasks=DENSE)
_second = partial(Quantity, when="recount", tasks=DENSE, merge=None)

QUANTITIES = (
    _pieces("confusion/given", "classes that are given", when="fixed", merge=None),
    _pieces(
        "confusion",
        "(K,) pixels of a given class by predicted class",
        merge=_by_given,
        join=_of_sets,
        gap=0,
        along="confusion/given",
    ),
    Quantity(
        "final/below",
        "histogram of p(given class) over wrongly predicted pixels",
        when="last",
        tasks=DENSE,
        merge=total,
        version=2,
    ),
    _pieces(
        "confident/off_diagonal",
        "of each class that is predicted wrongly: it, and (B,) those pixels by p of it",
        when="last",
        merge=_by_predicted,
        version=2,
    ),
    Quantity(
        "confident/p_label",
        "(B,) pixels by p(given class)",
        when="last",
        tasks=DENSE,
        merge=total,
        into="p_label_bins",
    ),
    _pieces(
        "confident/class_sum",
        "sum of p(given class) by given class",
        when="last",
        merge=_by_given,
        along="confusion/given",
    ),
    _second("recount/counts", "issues, pixels below the bins, wrong ones of them, values kept"),
    _second("recount/wrong", "sorted values in the bins, of wrong pixels", axis="pieces"),
    _second("recount/right", "sorted values in the bins, of the others", axis="pieces"),
)


def _clc(
    below: np.ndarray,
    num_px: np.ndarray,
    flagged_px: np.ndarray | None,
    state: ConfidentState | None,
) -> np.ndarray:
    """By the thresholds of the whole dataset: of the second pass, where there was one."""
    if flagged_px is None:
        if state is None:
            return np.full(len(num_px), np.nan)
        flagged_px = state.finish().num_flagged(below)
    return clc(flagged_px, num_px)


SCORES = (
    score(
        "clc",
        _clc,
        "1 - share of pixels flagged by confident learning",
        "below sample.num_labelled sample.flagged_px dataset.confident",
        "fraction",
        "lower",
        source="Lad and Mueller 2023, arXiv 2307.05080",
        tasks=DENSE,
        family="softmin",
    ),
)


def _confusion(pixels: Confusion, scored: np.ndarray, classes: np.ndarray) -> ClassPairs:
    return ClassPairs.of_matrices(pixels.total(scored, len(classes)))


def _histograms(
    class_sum: Pieces,
    off_diagonal: Pieces,
    p_label: np.ndarray,
    pixels: Confusion,
    scored: np.ndarray,
    classes: np.ndarray,
) -> ConfidentState:
    return ConfidentState(
        class_sum.total(scored, len(classes))[:, 0],
        pixels.total(scored, len(classes))[-1].sum(axis=1),
        off_diagonal.total(scored, len(classes)),
        p_label[scored].sum(axis=0),
    )


def _noise(
    confidence: np.ndarray,
    p_suggested: np.ndarray,
    suggested: np.ndarray,
    p_label: np.ndarray,
    prob_margin: np.ndarray,
    other: np.ndarray,
    labels: np.ndarray,
    scored: np.ndarray,
    sequences: Sequence[tuple[np.ndarray, np.ndarray]],
    classes: np.ndarray,
    task: Task,
    protocol: str,
) -> NoiseState:
    p, p_other, guess = confidence, p_suggested, suggested
    if protocol == "held_out":
        # Of checkpoints that do not know the labels the last sees best. All samples pass it.
        p, guess = p_label[:, -1], other[:, -1]
        p_other = np.maximum(p - prob_margin[:, -1], 0.0)
    return NoiseState.observe(
        p[scored],
        p_other[scored],
        labels[scored],
        guess[scored],
        len(classes),
        num_squared=_num_squared(sequences, scored) if task.is_sequence else None,
    )


def _num_squared(sequences: Sequence[tuple[np.ndarray, np.ndarray]], scored: np.ndarray) -> int:
    """Squared numbers of scored frames of the segments: these are right or wrong together."""
    total = 0
    for rows, labels in sequences:
        ids = segment_ids(labels)[scored[rows]]
        total += int((np.bincount(ids[ids >= 0]) ** 2).sum())
    return total


_OF_PIXELS = ("confusion", "sample.scored", "setting.classes")
_NOISE_NEEDS = "score.confidence score.p_suggested score.suggested p_label prob_margin other "
_NOISE_NEEDS += "sample.label sample.scored sample.sequences "
_NOISE_NEEDS += "setting.classes setting.task setting.protocol"

DATASET = (
    DatasetQuantity(
        "confusion",
        "elements by given and predicted class, at each checkpoint",
        _OF_PIXELS,
        _confusion,
        ClassPairs.merge,
        tasks=DENSE,
    ),
    DatasetQuantity(
        "confident",
        "histograms of the last checkpoint's probabilities over all labelled pixels",
        ("class_sum", "off_diagonal", "p_label_bins", *_OF_PIXELS),
        _histograms,
        ConfidentState.merge,
        tasks=DENSE,
    ),
    DatasetQuantity(
        "noise",
        "counts from which the number of wrong labels is estimated",
        tuple(_NOISE_NEEDS.split()),
        _noise,
        NoiseState.merge,
        tasks=ROWS,
    ),
)

FAMILY = Family("From confident learning over the whole dataset", QUANTITIES, SCORES, DATASET)
