"""The default ranking: which samples are to be looked at first."""

from collections.abc import Callable, Mapping

import numpy as np

from ray_audit.measures.base import Family, score

RANKING_VERSION = 2
"""Raised whenever equal scores are ranked in another way, or give other findings."""

Rank = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def _suspicion(scores: Mapping[str, np.ndarray], rank: Rank) -> np.ndarray:
    return rank(scores)


SCORES = (
    score(
        "suspicion",
        _suspicion,
        "score.all dataset.rank",
        "default ranking: the larger, the sooner to be looked at",
        "fraction",
        "higher",
    ),
)

FAMILY = Family("The default ranking", scores=SCORES)
