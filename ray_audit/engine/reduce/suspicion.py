"""The default ranking: which scores enter `suspicion`, and the order of segments.

A fixed, unsupervised combination per kind of dataset: of the ranks of the scores named here, as
`scores.ranking.combine_ranks` does it.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from ray_audit.config import AuditConfig
from ray_audit.engine.reduce.load import Samples
from ray_audit.engine.reduce.unit_scores import sequences_of
from ray_audit.measures.ranking import RANKED
from ray_audit.scores import order
from ray_audit.scores.csl import segment_ids
from ray_audit.scores.order import OrderStatistics
from ray_audit.scores.ranking import RankHistogram, combine_ranks

STRICT_ORDER = 0.5
"""Below this strictness a dataset has no order to speak of, and `order_nll` is left out."""

_LEAST_ORDER_WEIGHT, _FULL_ORDER_WEIGHT = 2.0, 6.0
_FULLY_STRICT_ORDER = 0.7


def ranked_scores(config: AuditConfig) -> dict[str, float]:
    """Scores whose ranks are combined, with their weight, negative where low is suspicious."""
    return dict(RANKED[config.dataset.task])


@dataclass(frozen=True)
class SegmentOrder:
    """In which order and for how long the segments of a dataset follow each other; exact counts.

    Attributes:
        statistics: of all sequences; None without sequences.
        contexts: frames by the previous, own and next class of their segment, and its duration's
            bin.
    """

    statistics: OrderStatistics | None = None
    contexts: Counter[tuple[int, ...]] = field(default_factory=Counter)

    @classmethod
    def of(cls, samples: Samples, num_classes: int) -> Self:
        """Count the sequences of one unit."""
        statistics = OrderStatistics.empty(num_classes)
        contexts: Counter[tuple[int, ...]] = Counter()
        for _, labels in sequences_of(samples):
            statistics = statistics.observe(labels)
            ids = segment_ids(labels)
            frames = np.bincount(ids[ids >= 0])
            steps = order.segment_contexts(labels, num_classes)
            for step, num_frames in zip(steps.tolist(), frames.tolist(), strict=True):
                contexts[tuple(step)] += num_frames
        return cls(statistics, contexts)

    def merge(self, other: Self) -> Self:
        """Both together."""
        if self.statistics is None or other.statistics is None:
            return other if self.statistics is None else self
        return type(self)(self.statistics.merge(other.statistics), self.contexts + other.contexts)

    @property
    def strictness(self) -> float:
        """How far a segment determines the next: 0 to 1, NaN where nothing follows."""
        if self.statistics is None:
            return float("nan")
        return order.order_strictness(self.statistics.transitions)

    @property
    def is_strict(self) -> bool:
        """Whether the dataset has an order to speak of."""
        return bool(self.strictness >= STRICT_ORDER)

    @property
    def weight(self) -> float:
        """Of `order_nll` beside 1 for `csl_segment`: 0, then from 2 to 6 the stricter the order.

        Labels alone say more of a strict order than losses do: a model may have memorised its
        violations, or be too weak to see them.
        """
        if not self.is_strict:
            return 0.0
        share = (self.strictness - STRICT_ORDER) / (_FULLY_STRICT_ORDER - STRICT_ORDER)
        return _LEAST_ORDER_WEIGHT + (_FULL_ORDER_WEIGHT - _LEAST_ORDER_WEIGHT) * min(1.0, share)

    def described(self) -> dict[str, Any]:
        """For the manifest; empty where samples have no order."""
        if self.statistics is None:
            return {}
        strictness = self.strictness
        return {
            "strictness": None if np.isnan(strictness) else strictness,
            "used": self.is_strict,
            "needed": STRICT_ORDER,
            "weight": self.weight,
        }

    def nll(self, samples: Samples) -> np.ndarray:
        """`order_nll` of each frame of a unit."""
        values = np.full(samples.num_samples, np.nan)
        if self.statistics is not None:
            counts, durations = self.statistics.transitions, self.statistics.durations
            for rows, labels in sequences_of(samples):
                values[rows] = order.order_nll(labels, counts, durations=durations)
        return values

    @cached_property
    def ranks(self) -> RankHistogram:
        """Distribution of the score over the dataset's frames.

        From the counts of segments between their neighbours, so that no further pass over the
        data is needed.
        """
        histogram = RankHistogram.empty()
        if self.statistics is None or not self.contexts:
            return histogram
        steps = sorted(self.contexts)
        nll = order.left_out_nll(np.array(steps, np.int64), self.statistics)
        for step, value in zip(steps, nll.tolist(), strict=True):
            one = RankHistogram.empty().observe(np.array([value]))
            weighted = RankHistogram(one.bins, one.counts * self.contexts[step])
            histogram = histogram.merge(weighted)
        return histogram


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
    parts = [ranks[name].cdf(oriented(scores, name, weight)) for name, weight in weighted.items()]
    weights = [abs(weight) for weight in weighted.values()]
    if segment_order.is_strict:
        parts.append(segment_order.ranks.cdf(scores["order_nll"]))
        weights.append(segment_order.weight)
    return combine_ranks(np.stack(parts), np.array(weights))


def oriented(scores: dict[str, np.ndarray], name: str, weight: float) -> np.ndarray:
    """A score turned so that high is suspicious."""
    values = scores[name]
    if name == "softmin_interior":
        # A mask of thin regions only has no interior.
        values = np.where(np.isnan(values), scores["softmin"], values)
    turned: np.ndarray = np.copysign(1.0, weight) * values
    return turned
