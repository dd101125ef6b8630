"""The default ranking: which samples are to be looked at first.

An unsupervised combination of ranks, as `scores.ranking.combine_ranks` does it. Losses of given
classes are ranked by what they exceed the usual one of their class by. Which scores weigh how much
follows from what a run shows of its own training: `weights_of`. The rule was chosen on the matrix
of `docs/quality.md`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ray_audit.measures.base import ROWS, DatasetQuantity, Family, score
from ray_audit.measures.fit import RANKED, TrainingFit, fit_of, weights_of
from ray_audit.measures.order import SegmentOrder
from ray_audit.scores.class_losses import ClassLosses, LossExcess
from ray_audit.scores.class_pairs import ClassPairs
from ray_audit.scores.component_doubt import ComponentDoubt
from ray_audit.scores.csl import segment_ids
from ray_audit.scores.fit_profile import FitProfile
from ray_audit.scores.ranking import RankHistogram, combine_ranks
from ray_audit.task import Task

_FALLBACK = {
    "softmin_interior": "softmin",
    "late_loss": "final_loss",
    "prob_margin": "confidence",
}
"""What stands for a score that a sample has not: a mask of thin regions only has no interior, with
one checkpoint there is no second half, and with one class no other."""
_LEAST_CONFIDENCE = 1e-30
_BESIDE_ITS_CLASS = ("late_loss", "final_loss", "early_loss", "csl_segment", "confidence")
"""Ranked by what they exceed the usual loss of the given class by, where labels are classes."""
_BOTH_WAYS = ("final_loss",)
"""Half by that and half as it is: classes that a training came to rest on differ by their errors,
too, which losses beside their class do not show."""


def suspicion(
    scores: Mapping[str, np.ndarray],
    ranks: Mapping[str, RankHistogram],
    order: SegmentOrder | None,
    fit: TrainingFit,
    task: Task,
    excess: Mapping[str, LossExcess] | None = None,
    labels: np.ndarray | None = None,
) -> np.ndarray:
    """Combined rank of the ranked scores, (N,) 0 to 1: the higher, the sooner to be looked at.

    Args:
        scores: of some samples.
        ranks: distribution of each ranked score over the dataset.
        order: of the dataset's segments; None where labels have none.
        fit: what the run shows of its training.
        task: what labels belong to.
        excess: of losses beside their class, by score; ranks alone count where absent.
        labels: (N,) given classes of the samples, where `excess` is given.
    """
    signs, segment_order = RANKED[task], order or SegmentOrder()
    weights = weights_of(task, fit)
    telling = _telling(ranks, task)
    # A constant ranks nothing; where all are, each sample has the same middle rank.
    weighed = [name for name in telling if weights.get(name)] or telling
    constant = [name for name in signs if name in ranks and ranks[name].is_constant]
    used = weighed or ([] if segment_order.is_used else constant)
    parts = []
    for name in used:
        values, beside = oriented(scores, name, signs[name]), (excess or {}).get(name)
        if beside is None or labels is None or name in constant:
            parts.append(ranks[name].cdf(values))
            continue
        of_class = beside.ranks(values, labels)
        both = name in _BOTH_WAYS
        parts.append(
            combine_ranks(np.stack([ranks[name].cdf(values), of_class])) if both else of_class
        )
    # What does not weigh speaks only where nothing that does can.
    shares = np.array([weights.get(name, 0.0) for name in used])
    shares = shares / shares.sum() if shares.sum() else np.full(len(used), 1.0 / max(1, len(used)))
    if segment_order.is_used:
        parts.append(segment_order.ranks.cdf(scores["order_nll"]))
        shares = np.append(shares, segment_order.weight(fit.memorised))
    return combine_ranks(np.stack(parts), shares)


def known_ranks(
    ranks: Mapping[str, RankHistogram] | None, components: ComponentDoubt | None
) -> dict[str, RankHistogram]:
    """Distributions of the first pass, and that of masks beside what is usual for their classes."""
    beside = {}
    if components is not None:
        beside["component_doubt"] = components.distribution
        beside["component_deviation"] = components.distribution_of_deviations
    return {**(ranks or {}), **beside}


def ranks_nothing(
    ranks: Mapping[str, RankHistogram], order: SegmentOrder | None, task: Task
) -> bool:
    """Whether all samples of a dataset tie, so that none is to be looked at before another."""
    return not _telling(ranks, task) and (order is None or not order.is_used)


def _telling(ranks: Mapping[str, RankHistogram], task: Task) -> list[str]:
    """Ranked scores that part samples. Where all losses are equal, a mask's IoU tells its area."""
    telling = [name for name in RANKED[task] if name in ranks and not ranks[name].is_constant]
    return [] if telling == ["late_iou"] and ranks["csl"].is_constant else telling


def oriented(scores: Mapping[str, np.ndarray], name: str, sign: int) -> np.ndarray:
    """A score turned so that high is suspicious; a confidence to the loss of it."""
    values = scores[name]
    if name == "confidence":
        return np.asarray(-np.log(np.maximum(values, _LEAST_CONFIDENCE)))
    if name in _FALLBACK and np.isnan(values).any():
        values = np.where(np.isnan(values), scores[_FALLBACK[name]], values)
    turned: np.ndarray = sign * values
    return turned


def described(fit: TrainingFit, task: Task) -> dict[str, Any]:
    """The chosen weights and what they were chosen by, for the manifest."""
    known = {"agreement": fit.agreement, "fitted": fit.fitted, "gain": fit.gain}
    known |= {"skill": fit.skill} if task is Task.DENSE else {"settled": fit.settled}
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
        if name in scores
    }


def _excess(
    scores: Mapping[str, np.ndarray],
    labels: np.ndarray,
    scored: np.ndarray,
    sequences: Sequence[tuple[np.ndarray, np.ndarray]],
    classes: np.ndarray,
    task: Task,
) -> dict[str, ClassLosses]:
    if task is Task.FRAMES:
        # A segment is one label, however many frames it has.
        firsts = [_firsts(rows, given, scored) for rows, given in sequences]
        given_once = np.concatenate(firsts) if firsts else np.zeros(0, np.int64)
    else:
        given_once = labels[scored]
    num_labels = np.bincount(given_once[given_once >= 0], minlength=len(classes))
    return {
        name: ClassLosses.of(
            oriented(scores, name, RANKED[task][name])[scored], labels[scored], num_labels
        )
        for name in _BESIDE_ITS_CLASS
        if name in RANKED[task]
    }


def _firsts(rows: np.ndarray, given: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Class of each segment of a sequence of which a frame is scored."""
    kept = scored[rows]
    ids, first = np.unique(segment_ids(given)[kept], return_index=True)
    found: np.ndarray = given[kept][first[ids >= 0]]
    return found.astype(np.int64)


def _added(
    first: Mapping[str, ClassLosses], other: Mapping[str, ClassLosses]
) -> dict[str, ClassLosses]:
    return {name: losses.merge(other[name]) for name, losses in first.items()}


def _finished(states: Mapping[str, ClassLosses]) -> dict[str, LossExcess]:
    return {name: losses.finish() for name, losses in states.items()}


def _both(
    first: Mapping[str, RankHistogram], other: Mapping[str, RankHistogram]
) -> dict[str, RankHistogram]:
    return {name: histogram.merge(other[name]) for name, histogram in first.items()}


def _profile(
    csl: np.ndarray,
    correct: np.ndarray,
    losses: np.ndarray,
    reached: np.ndarray | None,
    scored: np.ndarray,
) -> FitProfile | None:
    if not scored.any():
        return None
    passed = None if reached is None else reached[scored]
    return FitProfile.of(csl[scored], correct[scored], passed, losses[scored])


def _suspicion(
    scores: Mapping[str, np.ndarray],
    ranks: Mapping[str, RankHistogram],
    order: SegmentOrder | None,
    profile: FitProfile | None,
    confusion: ClassPairs | None,
    excess: Mapping[str, LossExcess] | None,
    components: ComponentDoubt | None,
    labels: Any,
    *settings: Any,
) -> np.ndarray:
    classes, protocol, task = settings
    fit = fit_of(task, len(classes), protocol, profile, confusion)
    given = None if task is Task.DENSE else np.asarray(labels)
    return suspicion(scores, known_ranks(ranks, components), order, fit, task, excess, given)


SCORES = (
    score(
        "suspicion",
        _suspicion,
        "default ranking: the larger, the sooner to be looked at",
        "score.all dataset.ranks dataset.order dataset.profile dataset.confusion dataset.excess "
        "dataset.components sample.label setting.classes setting.protocol setting.task",
        "fraction",
        "higher",
        version=4,
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
        "excess",
        "what losses exceed the usual one of their given class by",
        (
            "score.all",
            "sample.label",
            "sample.scored",
            "sample.sequences",
            "setting.classes",
            "setting.task",
        ),
        _excess,
        _added,
        finish=_finished,
        tasks=ROWS,
    ),
    DatasetQuantity(
        "profile",
        "how many given labels each checkpoint misses, by how large their losses are, and how "
        "alike the last two rank them",
        ("score.csl", "correct", "loss", "sample.reached", "sample.scored"),
        _profile,
        FitProfile.merge,
        tasks=ROWS,
    ),
)

FAMILY = Family("The default ranking", scores=SCORES, dataset=DATASET)
