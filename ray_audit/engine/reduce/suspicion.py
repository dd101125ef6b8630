"""The default ranking: which scores enter `suspicion`, and the order of segments.

A fixed, unsupervised combination per kind of dataset: of the ranks of the scores named here, as
`scores.ranking.combine_ranks` does it.
"""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.engine.reduce.load import Samples
from ray_audit.engine.reduce.unit_scores import sequences_of, split_non_finite
from ray_audit.measures.ranking import RANKED
from ray_audit.scores import order
from ray_audit.scores.csl import segment_ids
from ray_audit.scores.order import OrderStatistics
from ray_audit.scores.order_evidence import OrderEvidence, VideoSample, VideoSegments, judge
from ray_audit.scores.ranking import RankHistogram, combine_ranks

_WEIGHT_OF_ODDS = 3.0
_FULLY_STRICT = 2.0 / 3.0
"""Share that the order explains from which on its weight grows no more: 6."""


def ranked_scores(config: AuditConfig) -> dict[str, float]:
    """Scores whose ranks are combined, with their weight, negative where low is suspicious."""
    return dict(RANKED[config.dataset.task])


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
            if not ranked[rows].any():  # of a video that failed whole, others must not depend
                continue
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

    def finish(self) -> "SegmentOrder":
        """Judge each video by the others."""
        if self.statistics is None:
            return SegmentOrder()
        judged = judge(self.videos, self.statistics)
        ranks = RankHistogram.empty().observe(judged.nll, judged.num_frames)
        return SegmentOrder(self.statistics, ranks, judged.evidence)


@dataclass(frozen=True)
class SegmentOrder:
    """The order of a dataset's segments, and whether it is one.

    Attributes:
        statistics: of all sequences; None where samples have no order.
        ranks: distribution of `order_nll` over the dataset's frames.
        evidence: what the order gains over chance on videos that it has not seen.
    """

    statistics: OrderStatistics | None = None
    ranks: RankHistogram = field(default_factory=RankHistogram.empty)
    evidence: OrderEvidence = field(default_factory=OrderEvidence.of_none)

    @property
    def weight(self) -> float:
        """Of `order_nll` beside 1 for `csl_segment`: 0 where the order is not believed in.

        The odds of what the order explains, three times, up to 6: labels alone say more of a
        strict order than losses do, since a model may have memorised its violations, or be too
        weak to see them; of a loose one they say less.
        """
        if not self.evidence.is_predictive or self.ranks.is_constant:
            return 0.0
        explained = min(self.evidence.strictness, _FULLY_STRICT)
        return _WEIGHT_OF_ODDS * explained / (1.0 - explained)

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
            "reason": self.evidence.reason + ", and every segment fits it alike" * alike,
        }

    def nll(self, samples: Samples) -> np.ndarray:
        """`order_nll` of each frame of a unit; NaN where no other video says anything."""
        values = np.full(samples.num_samples, np.nan)
        if self.statistics is not None:
            counts, durations = self.statistics.transitions, self.statistics.durations
            finite, _ = split_non_finite(samples)
            for rows, labels in sequences_of(samples):
                if not finite[rows].any():  # it is not among the counts, to be left out of them
                    continue
                values[rows] = order.order_nll(labels, counts, durations=durations)
        return values


def suspicion(
    scores: dict[str, np.ndarray],
    ranks: dict[str, RankHistogram],
    segment_order: SegmentOrder,
    config: AuditConfig,
) -> np.ndarray:
    """Combined rank of the ranked scores, (N,) 0 to 1: the higher, the sooner to be looked at.

    Args:
        scores: of some samples.
        ranks: distribution of each ranked score over the dataset.
        segment_order: of the dataset.
        config: the specification.
    """
    weighted = ranked_scores(config)
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
    ranks: dict[str, RankHistogram], segment_order: SegmentOrder, config: AuditConfig
) -> bool:
    """Whether all samples of a dataset tie, so that none is to be looked at before another."""
    constant = all(ranks[name].is_constant for name in ranked_scores(config) if name in ranks)
    return constant and not segment_order.is_used


def oriented(scores: dict[str, np.ndarray], name: str, weight: float) -> np.ndarray:
    """A score turned so that high is suspicious."""
    values = scores[name]
    if name == "softmin_interior":
        # A mask of thin regions only has no interior.
        values = np.where(np.isnan(values), scores["softmin"], values)
    turned: np.ndarray = np.copysign(1.0, weight) * values
    return turned
