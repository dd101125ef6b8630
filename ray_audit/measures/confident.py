"""Confident learning over the pixels of a dataset: histograms of a pass, or counts of a second."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from ray_audit.measures.base import (
    DENSE,
    ROWS,
    DatasetQuantity,
    Family,
    Quantity,
    score,
    total,
)
from ray_audit.scores.confident import ConfidentState, clc
from ray_audit.scores.csl import segment_ids
from ray_audit.scores.label_noise import NoiseState
from ray_audit.task import Task

_batch = partial(Quantity, axis="batch", when="last", tasks=DENSE, merge=None)
_second = partial(Quantity, when="recount", tasks=DENSE, merge=None)

QUANTITIES = (
    Quantity(
        "final/below",
        "histogram of p(given class) over wrongly predicted pixels",
        when="last",
        tasks=DENSE,
        merge=total,
    ),
    _batch("confident/off_diagonal", "(K, B) wrongly predicted pixels by class and p of it"),
    _batch("confident/p_label", "(B,) pixels by p(given class)"),
    _batch("confident/class_sum", "(K,) sum of p(given class) by given class"),
    _batch("confident/class_count", "(K,) pixels by given class"),
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


def _histograms(*arrays: np.ndarray) -> ConfidentState:
    return ConfidentState.from_arrays(dict(zip(_HISTOGRAMS, arrays, strict=True)))


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


_HISTOGRAMS = ("class_sum", "class_count", "off_diagonal", "p_label")
_NOISE_NEEDS = "score.confidence score.p_suggested score.suggested p_label prob_margin other "
_NOISE_NEEDS += "sample.label sample.scored sample.sequences "
_NOISE_NEEDS += "setting.classes setting.task setting.protocol"

DATASET = (
    DatasetQuantity(
        "confident",
        "histograms of the last checkpoint's probabilities over all labelled pixels",
        tuple(f"batch.confident/{name}" for name in _HISTOGRAMS),
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
