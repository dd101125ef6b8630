"""What the order of the given labels tells: segments of equal label, and how they follow."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ray_audit import storage
from ray_audit.measures.base import SEQUENCES, DatasetQuantity, Family, score
from ray_audit.scores import csl, order
from ray_audit.scores.csl import segment_ids
from ray_audit.scores.order import OrderStatistics
from ray_audit.scores.order_evidence import OrderEvidence, VideoSample, VideoSegments, judge
from ray_audit.scores.ranking import RankHistogram

_WEIGHT_OF_ODDS = 4.0
_LOOSE_ODDS = 0.25
"""Odds of what an order explains up to which losses that see anything say more."""
_OF_MEMORISED = 1.5
_HEAVIEST = 6.0
Sequences = Sequence[tuple[np.ndarray, np.ndarray]]
"""Rows and given labels of each sequence of a unit, in frame order."""


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
    def of(
        cls, sequences: Sequences, shards: np.ndarray, scored: np.ndarray, classes: np.ndarray
    ) -> Self:
        """Observe the sequences of one unit.

        Args:
            sequences: rows and labels of each, in frame order.
            shards: (N,) names.
            scored: (N,) bool, those that get a score.
            classes: K names.
        """
        num_classes = len(classes)
        statistics, videos = OrderStatistics.empty(num_classes), []
        for rows, labels in sequences:
            if not scored[rows].any():  # of a video that failed whole, others must not depend
                continue
            ids = segment_ids(labels)
            frames = np.bincount(ids, scored[rows], ids.max(initial=-1) + 1)
            name = storage.digest(str(shards[rows[0]]))
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

    def weight(self, memorised: float = 0.0) -> float:
        """Of `order_nll` beside 1 for all losses: 0 where the order is not believed in.

        Four times the odds of what the order explains above a quarter, up to 6: labels alone say
        more of a strict order than losses do, since a model may be too weak to see its violations;
        of a loose one they say less. Where wrong labels were memorised, losses say still less.

        Args:
            memorised: how far the checkpoints have fitted wrong labels, 0-1.
        """
        if not self.evidence.is_predictive or self.ranks.is_constant:
            return 0.0
        explained = self.evidence.strictness
        if explained >= 1.0:
            return _HEAVIEST
        above = max(0.0, explained / (1.0 - explained) - _LOOSE_ODDS)
        return min(_HEAVIEST, _WEIGHT_OF_ODDS * above * (1.0 + _OF_MEMORISED * memorised))

    @property
    def is_used(self) -> bool:
        """Whether the order enters the ranking."""
        return self.weight() > 0.0

    def described(self, memorised: float = 0.0) -> dict[str, Any]:
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
            "weight": self.weight(memorised),
            "reason": self.evidence.reason
            + ", and every segment fits it alike" * alike
            + ", but too little to weigh"
            * (self.evidence.is_predictive and not alike and not self.is_used),
        }

    def nll(self, sequences: Sequences, scored: np.ndarray) -> np.ndarray:
        """`order_nll` of each frame of a unit, (N,); NaN where no other video says anything."""
        values = np.full(len(scored), np.nan)
        if self.statistics is not None:
            counts, durations = self.statistics.transitions, self.statistics.durations
            for rows, labels in sequences:
                if not scored[rows].any():  # it is not among the counts, to be left out of them
                    continue
                values[rows] = order.order_nll(labels, counts, durations=durations)
        return values


def _csl_segment(known: np.ndarray, labels: np.ndarray, shards: np.ndarray) -> np.ndarray:
    # A frame that failed must not spoil its neighbours.
    return csl.segment_mean(np.where(np.isfinite(known), known, np.nan), labels, shards)


def _order_nll(sequences: Sequences, scored: np.ndarray, found: SegmentOrder) -> np.ndarray:
    return found.nll(sequences, scored)


SCORES = (
    score(
        "csl_segment",
        _csl_segment,
        "csl averaged over the given-label segment of the frame",
        "score.csl sample.label sample.shard",
        "nat",
        "higher",
        tasks=SEQUENCES,
    ),
    score(
        "order_nll",
        _order_nll,
        "how unusual the steps into and out of the frame's segment, and its duration, are; labels "
        "only",
        "sample.sequences sample.scored dataset.order",
        "nat",
        "higher",
        source="our definition",
        tasks=SEQUENCES,
    ),
)

DATASET = (
    DatasetQuantity(
        "order",
        "in which order segments follow each other, and how much that says",
        ("sample.sequences", "sample.shard", "sample.scored", "setting.classes"),
        OrderState.of,
        OrderState.merge,
        finish=OrderState.finish,
        tasks=SEQUENCES,
    ),
)

FAMILY = Family("From the order of the labels", scores=SCORES, dataset=DATASET)
