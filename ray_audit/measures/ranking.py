"""The default ranking: which samples are to be looked at first.

A fixed, unsupervised combination per kind of labels, chosen on the tables of `docs/quality.md`: of
the ranks of the scores named here, as `scores.ranking.combine_ranks` does it.
"""

from collections.abc import Callable, Mapping

import numpy as np

from ray_audit.measures.base import Family, score
from ray_audit.task import Task

_ONE_LABEL = {"early_loss": 1.0, "prob_margin": -1.0}
RANKED: Mapping[Task, Mapping[str, float]] = {
    # A soft minimum sees small errors; over a mask that is wrong throughout it saturates.
    Task.DENSE: {"softmin_interior": -2.0, "late_loss": 1.0},
    # A wrong segment is wrong throughout. A strict order weighs too: see the engine's suspicion.
    Task.FRAMES: {"csl_segment": 1.0},
    # Early losses know nothing of what is memorised later; margins are the sharpest otherwise.
    Task.CLASS: _ONE_LABEL,
    Task.CLIPS: _ONE_LABEL,
}
"""Scores whose ranks are combined, with their weight, negative where low is suspicious."""

Rank = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def _suspicion(scores: Mapping[str, np.ndarray], rank: Rank) -> np.ndarray:
    return rank(scores)


SCORES = (
    score(
        "suspicion",
        _suspicion,
        "default ranking: the larger, the sooner to be looked at",
        "score.all dataset.rank",
        "fraction",
        "higher",
    ),
)

FAMILY = Family("The default ranking", scores=SCORES)
