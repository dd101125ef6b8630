"""Confident learning over the pixels of a dataset: histograms of a pass, or counts of a second."""

from functools import partial

import numpy as np

from ray_audit.measures.base import DENSE, Family, Quantity, score, total
from ray_audit.scores.confident import ConfidentState, clc

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

FAMILY = Family("From confident learning over the whole dataset", QUANTITIES, SCORES)
