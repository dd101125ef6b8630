"""The default ranking: which samples are to be looked at first.

A fixed, unsupervised combination per kind of labels, chosen on the tables of `docs/quality.md`: of
the ranks of the scores named here, as `scores.ranking.combine_ranks` does it.
"""

from collections.abc import Mapping

import numpy as np

from ray_audit.measures.base import DatasetQuantity, Family, score
from ray_audit.measures.order import SegmentOrder
from ray_audit.scores.ranking import RankHistogram, combine_ranks
from ray_audit.task import Task

_ONE_LABEL = {"early_loss": 1.0, "prob_margin": -1.0}
RANKED: Mapping[Task, Mapping[str, float]] = {
    # A soft minimum sees small errors; over a mask that is wrong throughout it saturates.
    Task.DENSE: {"softmin_interior": -2.0, "late_loss": 1.0},
    # A wrong segment is wrong throughout. A strict order weighs too: see `SegmentOrder.weight`.
    Task.FRAMES: {"csl_segment": 1.0},
    # Early losses know nothing of what is memorised later; margins are the sharpest otherwise.
    Task.CLASS: _ONE_LABEL,
    Task.CLIPS: _ONE_LABEL,
}
"""Scores whose ranks are combined, with their weight, negative where low is suspicious."""


def suspicion(
    scores: Mapping[str, np.ndarray],
    ranks: Mapping[str, RankHistogram],
    order: SegmentOrder | None,
    task: Task,
) -> np.ndarray:
    """Combined rank of the ranked scores, (N,) 0 to 1: the higher, the sooner to be looked at.

    Args:
        scores: of some samples.
        ranks: distribution of each ranked score over the dataset.
        order: of the dataset's segments; None where labels have none.
        task: what labels belong to.
    """
    weighted, segment_order = RANKED[task], order or SegmentOrder()
    telling = [name for name in weighted if not ranks[name].is_constant]
    # A constant ranks nothing; where all are, each sample has the same middle rank.
    used = telling or ([] if segment_order.is_used else list(weighted))
    parts = [ranks[name].cdf(oriented(scores, name, weighted[name])) for name in used]
    weights = [abs(weighted[name]) for name in used]
    if segment_order.is_used:
        parts.append(segment_order.ranks.cdf(scores["order_nll"]))
        weights.append(segment_order.weight)
    return combine_ranks(np.stack(parts), np.array(weights))


def ranks_nothing(
    ranks: Mapping[str, RankHistogram], order: SegmentOrder | None, task: Task
) -> bool:
    """Whether all samples of a dataset tie, so that none is to be looked at before another."""
    constant = all(ranks[name].is_constant for name in RANKED[task] if name in ranks)
    return constant and (order is None or not order.is_used)


def oriented(scores: Mapping[str, np.ndarray], name: str, weight: float) -> np.ndarray:
    """A score turned so that high is suspicious."""
    values = scores[name]
    if name == "softmin_interior":
        # A mask of thin regions only has no interior.
        values = np.where(np.isnan(values), scores["softmin"], values)
    turned: np.ndarray = np.copysign(1.0, weight) * values
    return turned


def _ranks(
    scores: Mapping[str, np.ndarray], scored: np.ndarray, task: Task
) -> dict[str, RankHistogram]:
    return {
        name: RankHistogram.empty().observe(oriented(scores, name, sign)[scored])
        for name, sign in ({"csl": 1.0} | dict(RANKED[task])).items()
    }


def _both(
    one: Mapping[str, RankHistogram], other: Mapping[str, RankHistogram]
) -> dict[str, RankHistogram]:
    return {name: histogram.merge(other[name]) for name, histogram in one.items()}


SCORES = (
    score(
        "suspicion",
        suspicion,
        "default ranking: the larger, the sooner to be looked at",
        "score.all dataset.ranks dataset.order setting.task",
        "fraction",
        "higher",
    ),
)

DATASET = (
    DatasetQuantity(
        "ranks",
        "distribution of csl and of each score that is ranked, high = suspicious",
        ("score.all", "sample.scored", "setting.task"),
        _ranks,
        _both,
    ),
)

FAMILY = Family("The default ranking", scores=SCORES, dataset=DATASET)
