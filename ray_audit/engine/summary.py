"""What the finishing of a sample must know of all others: small, mergeable, exact."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ray_audit.config import AuditConfig
from ray_audit.engine.assemble import Samples
from ray_audit.engine.suspicion import SegmentOrder, oriented, ranked_scores
from ray_audit.engine.unit_scores import (
    group_labels,
    is_sequence,
    split_non_finite,
    unit_scores,
)
from ray_audit.scores import confident
from ray_audit.scores.confident import ConfidentState
from ray_audit.scores.memorisation import FitState
from ray_audit.scores.ranking import RankHistogram
from ray_audit.scores.vog import group_moments, merge_group_moments


@dataclass(frozen=True)
class Summary:
    """State of the first pass over a dataset.

    Attributes:
        vog_moments: count, mean and squared deviations of VoG per group.
        ranks: histogram of CSL and of each score that enters the default ranking, high =
            suspicious.
        order: in which order segments follow each other.
        confusion: (E, K, K) counts of given and predicted classes, or None while nothing is known.
        confident: histograms of confident learning over pixels; None where labels are not dense.
    """

    vog_moments: dict[int, tuple[int, float, float]]
    ranks: dict[str, RankHistogram]
    order: SegmentOrder
    confusion: np.ndarray | None
    confident: ConfidentState | None

    @classmethod
    def empty(cls) -> Self:
        """Nothing observed."""
        return cls({}, {}, SegmentOrder(), None, None)

    def merge(self, other: Self) -> Self:
        """Both together; fold in a fixed order for sums that are equal to the last bit."""
        confusion, states = other.confusion, other.confident
        if self.confusion is not None:
            confusion = self.confusion if confusion is None else self.confusion + confusion
        if self.confident is not None:
            states = self.confident if states is None else self.confident.merge(states)
        empty = RankHistogram.empty()
        names = sorted({*self.ranks, *other.ranks})
        return type(self)(
            merge_group_moments(self.vog_moments, other.vog_moments),
            {n: self.ranks.get(n, empty).merge(other.ranks.get(n, empty)) for n in names},
            self.order.merge(other.order),
            confusion,
            states,
        )

    def clc(self, wrong_p_label: np.ndarray, num_labelled: np.ndarray) -> np.ndarray:
        """CLC of each image from its histogram, by the thresholds of the whole dataset."""
        if self.confident is None:
            return np.full(len(num_labelled), np.nan)
        flagged = self.confident.finish().num_flagged(wrong_p_label)
        return confident.clc(flagged, num_labelled)


def merged_fit(one: FitState | None, other: FitState | None) -> FitState | None:
    """Both together, where there are any."""
    if one is None or other is None:
        return other if one is None else one
    return one.merge(other)


def summarise(samples: Samples, config: AuditConfig) -> Summary:
    """The summary of one unit."""
    finite, _ = split_non_finite(samples)
    if not samples.num_samples:
        return Summary.empty()
    scores = unit_scores(samples, config)
    moments = group_moments(scores["vog"][finite], group_labels(samples)[finite])
    ranks = {
        name: RankHistogram.empty().observe(oriented(scores, name, sign)[finite])
        for name, sign in ({"csl": 1.0} | ranked_scores(config)).items()
    }
    num_classes = len(config.dataset.classes)
    segment_order = SegmentOrder.of(samples, num_classes) if is_sequence(config) else SegmentOrder()
    states = {
        name.removeprefix("confident/"): values
        for name, values in samples.state.items()
        if name.startswith("confident/")
    }
    return Summary(
        moments,
        ranks,
        segment_order,
        _confusion(samples, finite, config),
        ConfidentState.from_arrays(states) if states else None,
    )


def _confusion(samples: Samples, finite: np.ndarray, config: AuditConfig) -> np.ndarray:
    """(E, K, K) counts: those of the pixels, or of the samples' own predictions."""
    if samples.predicted is None:
        return samples.state["confusion"]
    num_classes = len(config.dataset.classes)
    labels = samples.identity["label"].to_numpy()[finite]
    counts = [
        np.bincount(labels * num_classes + column, minlength=num_classes**2)
        for column in samples.predicted[finite].T
    ]
    return np.stack(counts).reshape(-1, num_classes, num_classes).astype(np.int64)
