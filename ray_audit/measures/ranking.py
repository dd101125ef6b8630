"""The default ranking: which samples are to be looked at first.

An unsupervised combination of ranks, as `scores.ranking.combine_ranks` does it. Which scores weigh
how much follows from what a run shows of its own training: `weights_of`. The rule was chosen on
the matrix of `docs/quality.md`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ray_audit.measures.base import ROWS, DatasetQuantity, Family, score
from ray_audit.measures.fit import RANKED, TrainingFit, fit_of, weights_of
from ray_audit.measures.order import SegmentOrder
from ray_audit.scores.fit_profile import FitProfile
from ray_audit.scores.ranking import RankHistogram, combine_ranks
from ray_audit.task import Task

_FALLBACK = {"softmin_interior": "softmin", "late_loss": "final_loss"}
"""What stands for a score that a sample has not: a mask of thin regions only has no interior, and
with one checkpoint there is no second half."""


def suspicion(
    scores: Mapping[str, np.ndarray],
    ranks: Mapping[str, RankHistogram],
    order: SegmentOrder | None,
    fit: TrainingFit,
    task: Task,
) -> np.ndarray:
    """Combined rank of the ranked scores, (N,) 0 to 1: the higher, the sooner to be looked at.

    Args:
        scores: of some samples.
        ranks: distribution of each ranked score over the dataset.
        order: of the dataset's segments; None where labels have none.
        fit: what the run shows of its training.
        task: what labels belong to.
    """
    signs, segment_order = RANKED[task], order or SegmentOrder()
    weights = weights_of(task, fit)
    telling = _telling(ranks, task)
    # A constant ranks nothing; where all are, each sample has the same middle rank.
    weighed = [name for name in telling if weights.get(name)] or telling
    constant = [name for name in signs if name in ranks and ranks[name].is_constant]
    used = weighed or ([] if segment_order.is_used else constant)
    parts = [ranks[name].cdf(oriented(scores, name, signs[name])) for name in used]
    # What does not weigh speaks only where nothing that does can.
    shares = np.array([weights.get(name, 0.0) for name in used])
    shares = shares / shares.sum() if shares.sum() else np.full(len(used), 1.0 / max(1, len(used)))
    if segment_order.is_used:
        parts.append(segment_order.ranks.cdf(scores["order_nll"]))
        shares = np.append(shares, segment_order.weight(fit.memorised))
    return combine_ranks(np.stack(parts), shares)


def ranks_nothing(
    ranks: Mapping[str, RankHistogram], order: SegmentOrder | None, task: Task
) -> bool:
    """Whether all samples of a dataset tie, so that none is to be looked at before another."""
    return not _telling(ranks, task) and (order is None or not order.is_used)


def _telling(ranks: Mapping[str, RankHistogram], task: Task) -> list[str]:
    """Ranked scores that part samples. Where all losses are equal, a mask's IoU tells its area."""
    telling = [name for name in RANKED[task] if name in ranks and not ranks[name].is_constant]
    return [] if telling == ["iou"] and ranks["csl"].is_constant else telling


def oriented(scores: Mapping[str, np.ndarray], name: str, sign: int) -> np.ndarray:
    """A score turned so that high is suspicious."""
    values = scores[name]
    if name in _FALLBACK and np.isnan(values).any():
        values = np.where(np.isnan(values), scores[_FALLBACK[name]], values)
    turned: np.ndarray = sign * values
    return turned


def described(fit: TrainingFit, task: Task) -> dict[str, Any]:
    """The chosen weights and what they were chosen by, for the manifest."""
    known = {"agreement": fit.agreement, "fitted": fit.fitted, "gain": fit.gain}
    weights = weights_of(task, fit)
    return {
        "weights": {name: weight for name, weight in weights.items() if weight},
        "memorised": fit.memorised,
    } | {name: None if np.isnan(value) else value for name, value in known.items()}


def _ranks(
    scores: Mapping[str, np.ndarray], scored: np.ndarray, task: Task
) -> dict[str, RankHistogram]:
    return {
        name: RankHistogram.empty().observe(oriented(scores, name, sign)[scored])
        for name, sign in ({"csl": 1} | dict(RANKED[task])).items()
    }


def _both(
    first: Mapping[str, RankHistogram], other: Mapping[str, RankHistogram]
) -> dict[str, RankHistogram]:
    return {name: histogram.merge(other[name]) for name, histogram in first.items()}


def _profile(
    csl: np.ndarray, correct: np.ndarray, reached: np.ndarray | None, scored: np.ndarray
) -> FitProfile | None:
    if not scored.any():
        return None
    return FitProfile.of(csl[scored], correct[scored], None if reached is None else reached[scored])


def _suspicion(
    scores: Mapping[str, np.ndarray],
    ranks: Mapping[str, RankHistogram],
    order: SegmentOrder | None,
    profile: FitProfile | None,
    confusion: np.ndarray | None,
    *settings: Any,
) -> np.ndarray:
    classes, protocol, task = settings
    fit = fit_of(task, len(classes), protocol, profile, confusion)
    return suspicion(scores, ranks, order, fit, task)


SCORES = (
    score(
        "suspicion",
        _suspicion,
        "default ranking: the larger, the sooner to be looked at",
        "score.all dataset.ranks dataset.order dataset.profile dataset.confusion setting.classes "
        "setting.protocol setting.task",
        "fraction",
        "higher",
        version=2,
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
    DatasetQuantity(
        "profile",
        "how many given labels each checkpoint misses, by how large their losses are",
        ("score.csl", "correct", "sample.reached", "sample.scored"),
        _profile,
        FitProfile.merge,
        tasks=ROWS,
    ),
)

FAMILY = Family("The default ranking", scores=SCORES, dataset=DATASET)
