"""The default ranking of a run: which scores enter `suspicion`, and the order of segments.

How much each weighs is chosen by what the run shows of its own training: see
`measures.ranking.weights_of`.
"""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.engine.reduce.load import Samples
from ray_audit.engine.reduce.unit_scores import sequences_of
from ray_audit.measures.ranking import RANKED, Fit, weights_of
from ray_audit.scores import order
from ray_audit.scores.csl import segment_ids
from ray_audit.scores.early_learning import iou_from_counts
from ray_audit.scores.fit_profile import FitProfile
from ray_audit.scores.order import OrderStatistics
from ray_audit.scores.order_evidence import OrderEvidence, VideoSample, VideoSegments, judge
from ray_audit.scores.ranking import RankHistogram, combine_ranks

_WEIGHT_OF_ODDS = 4.0
_LOOSE_ODDS = 0.25
"""Odds of what an order explains up to which losses that see anything say more."""
_OF_MEMORISED = 1.5
_HEAVIEST = 6.0
_FALLBACK = {"softmin_interior": "softmin", "late_loss": "final_loss"}
"""What stands for a score that a sample has not: a mask of thin regions only has no interior, and
with one checkpoint there is no second half."""


def ranked_scores(config: AuditConfig) -> dict[str, int]:
    """Scores whose ranks may be combined, with 1 where high is suspicious, else -1."""
    return dict(RANKED[config.dataset.task])


def fit_of(config: AuditConfig, profile: FitProfile | None, confusion: np.ndarray | None) -> Fit:
    """What a dataset shows of how its checkpoints were trained.

    Args:
        config: the specification.
        profile: how far labels are fitted; None for masks, and where nothing was scored.
        confusion: (E, K, K) counts of given and predicted classes, or None.
    """
    is_held_out = config.protocol == "held_out"
    if config.dataset.task.is_dense:
        return Fit(is_held_out, float("nan") if confusion is None else _mean_iou(confusion[-1]))
    num_classes = len(config.dataset.classes)
    if profile is None or num_classes < 2:
        return Fit(is_held_out, float("nan"))
    chance = 1.0 / num_classes
    agreement = (profile.agreement - chance) / (1.0 - chance)
    return Fit(is_held_out, agreement, profile.fitted, profile.gain)


def _mean_iou(counts: np.ndarray) -> float:
    """Over the classes that are given or predicted."""
    iou = iou_from_counts(np.diagonal(counts), counts.sum(axis=0), counts.sum(axis=1))
    occurs = counts.sum(axis=0) + counts.sum(axis=1) > 0
    return float(iou[occurs].mean()) if occurs.any() else float("nan")


def described(config: AuditConfig, fit: Fit) -> dict[str, Any]:
    """The chosen weights and what they were chosen by, for the manifest."""
    known = {"agreement": fit.agreement, "fitted": fit.fitted, "gain": fit.gain}
    weights = weights_of(config.dataset.task, fit)
    return {
        "weights": {name: weight for name, weight in weights.items() if weight},
        "memorised": fit.memorised,
    } | {name: None if np.isnan(value) else value for name, value in known.items()}


@dataclass(frozen=True)
class OrderState:
    """How the segments of part of a dataset follow each other; parts add up in any order.

    Attributes:
        statistics: of all sequences; None without sequences.
        videos: the segments of each, as many as are kept.
    """

    statistics: OrderStatistics | None = None
    videos: VideoSample = field(default_factory=VideoSample)

    @classmethod
    def of(cls, samples: Samples, ranked: np.ndarray, num_classes: int) -> Self:
        """Observe the sequences of one unit.

        Args:
            samples: of the unit.
            ranked: (N,) bool, those that get a score.
            num_classes: K.
        """
        statistics, videos = OrderStatistics.empty(num_classes), []
        for rows, labels in sequences_of(samples):
            ids = segment_ids(labels)
            frames = np.bincount(ids, ranked[rows], ids.max(initial=-1) + 1)
            name = storage.digest(samples.identity["shard"][int(rows[0])].as_py())
            videos.append(VideoSegments.of(name, labels, frames, num_classes))
            statistics = statistics.merge(OrderStatistics.empty(num_classes).observe(labels))
        return cls(statistics, VideoSample.of(videos))

    def merge(self, other: Self) -> Self:
        """Both together."""
        if self.statistics is None or other.statistics is None:
            return other if self.statistics is None else self
        statistics = self.statistics.merge(other.statistics)
        return type(self)(statistics, self.videos.merge(other.videos))

    def finish(self, memorised: float = 0.0) -> "SegmentOrder":
        """Judge each video by the others.

        Args:
            memorised: how far the checkpoints have fitted wrong labels, 0-1.
        """
        if self.statistics is None:
            return SegmentOrder()
        judged = judge(self.videos, self.statistics)
        ranks = RankHistogram.empty().observe(judged.nll, judged.num_frames)
        return SegmentOrder(self.statistics, ranks, judged.evidence, memorised)


@dataclass(frozen=True)
class SegmentOrder:
    """The order of a dataset's segments, and whether it is one.

    Attributes:
        statistics: of all sequences; None where samples have no order.
        ranks: distribution of `order_nll` over the dataset's frames.
        evidence: what the order gains over chance on videos that it has not seen.
        memorised: how far the checkpoints have fitted wrong labels, 0-1.
    """

    statistics: OrderStatistics | None = None
    ranks: RankHistogram = field(default_factory=RankHistogram.empty)
    evidence: OrderEvidence = field(default_factory=OrderEvidence.of_none)
    memorised: float = 0.0

    @property
    def weight(self) -> float:
        """Of `order_nll` beside 1 for all losses: 0 where the order is not believed in.

        Four times the odds of what the order explains above a quarter, up to 6: labels alone say
        more of a strict order than losses do, since a model may be too weak to see its violations;
        of a loose one they say less. Where wrong labels were memorised, losses say still less.
        """
        if not self.evidence.is_predictive or self.ranks.is_constant:
            return 0.0
        explained = self.evidence.strictness
        if explained >= 1.0:
            return _HEAVIEST
        above = max(0.0, explained / (1.0 - explained) - _LOOSE_ODDS)
        return min(_HEAVIEST, _WEIGHT_OF_ODDS * above * (1.0 + _OF_MEMORISED * self.memorised))

    @property
    def is_used(self) -> bool:
        """Whether the order enters the ranking."""
        return self.weight > 0.0

    def described(self) -> dict[str, Any]:
        """For the manifest; empty where samples have no order."""
        if self.statistics is None:
            return {}
        alike = self.evidence.is_predictive and self.ranks.is_constant
        known = {
            "strictness": self.evidence.strictness,
            "gain": self.evidence.gain,
            "standard_error": self.evidence.standard_error,
        }
        return {name: None if np.isnan(value) else value for name, value in known.items()} | {
            "num_videos": self.evidence.num_videos,
            "used": self.is_used,
            "weight": self.weight,
            "reason": self.evidence.reason
            + ", and every segment fits it alike" * alike
            + ", but too little to weigh" * (self.evidence.is_predictive and not self.weight),
        }

    def nll(self, samples: Samples) -> np.ndarray:
        """`order_nll` of each frame of a unit; NaN where no other video says anything."""
        values = np.full(samples.num_samples, np.nan)
        if self.statistics is not None:
            counts, durations = self.statistics.transitions, self.statistics.durations
            for rows, labels in sequences_of(samples):
                values[rows] = order.order_nll(labels, counts, durations=durations)
        return values


def suspicion(
    scores: dict[str, np.ndarray],
    ranks: dict[str, RankHistogram],
    segment_order: SegmentOrder,
    weights: dict[str, float],
    config: AuditConfig,
) -> np.ndarray:
    """Combined rank of the ranked scores, (N,) 0 to 1: the higher, the sooner to be looked at.

    Args:
        scores: of some samples.
        ranks: distribution of each ranked score over the dataset.
        segment_order: of the dataset.
        weights: of each ranked score, together 1.
        config: the specification.
    """
    signs = ranked_scores(config)
    telling = [name for name in signs if name in ranks and not ranks[name].is_constant]
    # A constant ranks nothing; where all are, each sample has the same middle rank.
    weighed = [name for name in telling if weights.get(name)] or telling
    used = weighed or ([] if segment_order.is_used else [n for n in signs if n in ranks])
    parts = [ranks[name].cdf(oriented(scores, name, signs[name])) for name in used]
    # What does not weigh speaks only where nothing that does can.
    shares = np.array([weights.get(name, 0.0) for name in used])
    shares = shares / shares.sum() if shares.sum() else np.full(len(used), 1.0 / max(1, len(used)))
    if segment_order.is_used:
        parts.append(segment_order.ranks.cdf(scores["order_nll"]))
        shares = np.append(shares, segment_order.weight)
    return combine_ranks(np.stack(parts), shares)


def ranks_nothing(
    ranks: dict[str, RankHistogram], segment_order: SegmentOrder, config: AuditConfig
) -> bool:
    """Whether all samples of a dataset tie, so that none is to be looked at before another."""
    constant = all(ranks[name].is_constant for name in ranked_scores(config) if name in ranks)
    return constant and not segment_order.is_used


def oriented(scores: dict[str, np.ndarray], name: str, sign: int) -> np.ndarray:
    """A score turned so that high is suspicious."""
    values = scores[name]
    if name in _FALLBACK:
        values = np.where(np.isnan(values), scores[_FALLBACK[name]], values)
    turned: np.ndarray = sign * values
    return turned
