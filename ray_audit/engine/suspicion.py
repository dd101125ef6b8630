"""The default ranking: which scores enter `suspicion`, and the order of segments.

A fixed, unsupervised combination per kind of dataset: the mean of ranks of the scores named here.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ray_audit.config import AuditConfig
from ray_audit.engine.assemble import Samples
from ray_audit.engine.unit_scores import is_dense, is_sequence
from ray_audit.scores import order
from ray_audit.scores.csl import segment_ids
from ray_audit.scores.ranking import RankHistogram, combine_ranks

STRICT_ORDER = 0.5
"""Below this strictness a dataset has no order to speak of, and `order_nll` is left out."""


def ranked_scores(config: AuditConfig) -> dict[str, float]:
    """Scores whose ranks are averaged, with +1 where high is suspicious and -1 where low is."""
    if is_dense(config):
        return {"softmin_interior": -1.0}
    if is_sequence(config):
        return {"csl_segment": 1.0}
    return {"csl": 1.0, "prob_margin": -1.0}


@dataclass(frozen=True)
class SegmentOrder:
    """In which order the segments of a dataset follow each other; exact counts.

    Attributes:
        transitions: (K + 1, K + 1) int64, see `ray_audit.scores.order`; None without sequences.
        contexts: frames by the previous, own and next class of their segment.
    """

    transitions: np.ndarray | None = None
    contexts: Counter[tuple[int, int, int]] = field(default_factory=Counter)

    @classmethod
    def of(cls, samples: Samples, num_classes: int) -> Self:
        """Count the sequences of one unit."""
        transitions = np.zeros((num_classes + 1, num_classes + 1), np.int64)
        contexts: Counter[tuple[int, int, int]] = Counter()
        for _, labels in sequences_of(samples):
            transitions += order.transition_counts(labels, num_classes)
            ids = segment_ids(labels)
            found, first, frames = np.unique(ids, return_index=True, return_counts=True)
            if len(found):
                path = [num_classes, *labels[first].tolist(), num_classes]
                steps = zip(path[:-2], path[1:-1], path[2:], strict=True)
                for step, num_frames in zip(steps, frames.tolist(), strict=True):
                    contexts[step] += num_frames
        return cls(transitions, contexts)

    def merge(self, other: Self) -> Self:
        """Both together."""
        if self.transitions is None or other.transitions is None:
            return other if self.transitions is None else self
        return type(self)(self.transitions + other.transitions, self.contexts + other.contexts)

    @property
    def strictness(self) -> float:
        """How far a segment determines the next: 0 to 1, NaN where nothing follows."""
        if self.transitions is None:
            return float("nan")
        return order.order_strictness(self.transitions)

    def described(self) -> dict[str, Any]:
        """For the manifest; empty where samples have no order."""
        if self.transitions is None:
            return {}
        return {
            "strictness": self.strictness,
            "used": bool(self.strictness >= STRICT_ORDER),
            "needed": STRICT_ORDER,
        }

    def nll(self, samples: Samples) -> np.ndarray:
        """`order_nll` of each frame of a unit."""
        values = np.full(samples.num_samples, np.nan)
        if self.transitions is not None:
            for rows, labels in sequences_of(samples):
                values[rows] = order.order_nll(labels, self.transitions)
        return values

    def ranks(self) -> RankHistogram:
        """Distribution of the score over the dataset's frames.

        From the counts of segments between their neighbours, so that no further pass over the
        data is needed; a video's own share in the transitions is not taken out here.
        """
        histogram = RankHistogram.empty()
        if self.transitions is None or not self.contexts:
            return histogram
        weights = self.transitions + order.SMOOTHING
        nll = -np.log(weights / weights.sum(axis=1, keepdims=True))
        for (before, own, after), num_frames in sorted(self.contexts.items()):
            value = nll[before, own] + nll[own, after]
            one = RankHistogram.empty().observe(np.array([value]))
            histogram = histogram.merge(RankHistogram(one.bins, one.counts * num_frames))
        return histogram


def sequences_of(samples: Samples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and labels of each sequence of a unit, in frame order."""
    labels = samples.identity["label"].to_numpy()
    shards = np.asarray(samples.identity["shard"].to_pylist(), dtype=str)
    for shard in np.unique(shards):
        rows = np.flatnonzero(shards == shard)
        yield rows, labels[rows]


def suspicion(
    scores: dict[str, np.ndarray],
    ranks: dict[str, RankHistogram],
    segment_order: SegmentOrder,
    config: AuditConfig,
) -> np.ndarray:
    """Mean rank of the ranked scores, (N,) 0 to 1: the higher, the sooner to be looked at."""
    parts = [
        ranks[name].cdf(oriented(scores, name, sign))
        for name, sign in ranked_scores(config).items()
    ]
    if segment_order.strictness >= STRICT_ORDER:
        parts.append(segment_order.ranks().cdf(scores["order_nll"]))
    return combine_ranks(np.stack(parts))


def oriented(scores: dict[str, np.ndarray], name: str, sign: float) -> np.ndarray:
    """A score turned so that high is suspicious."""
    values = scores[name]
    if name == "softmin_interior":
        # A mask of thin regions only has no interior.
        values = np.where(np.isnan(values), scores["softmin"], values)
    return sign * values
