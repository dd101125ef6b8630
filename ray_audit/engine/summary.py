"""What the finishing of a sample must know of all others: small, mergeable, exact."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ray_audit.config import AuditConfig
from ray_audit.engine.assemble import Samples
from ray_audit.engine.unit_scores import (
    base_suspicion,
    group_labels,
    split_non_finite,
    unit_scores,
)
from ray_audit.scores import confident
from ray_audit.scores.confident import ConfidentState
from ray_audit.scores.ranking import RankHistogram
from ray_audit.scores.vog import group_moments, merge_group_moments


@dataclass(frozen=True)
class Summary:
    """State of the first pass over a dataset.

    Attributes:
        vog_moments: count, mean and squared deviations of VoG per group.
        suspicion: histogram of the score that the default ranking follows.
        confusion: (E, K, K) counts of given and predicted classes, or None while nothing is known.
        confident: histograms of confident learning over pixels; None where labels are not dense.
    """

    vog_moments: dict[int, tuple[int, float, float]]
    suspicion: RankHistogram
    confusion: np.ndarray | None
    confident: ConfidentState | None

    @classmethod
    def empty(cls) -> Self:
        """Nothing observed."""
        return cls({}, RankHistogram.empty(), None, None)

    def merge(self, other: Self) -> Self:
        """Both together; fold in a fixed order for sums that are equal to the last bit."""
        confusion, states = other.confusion, other.confident
        if self.confusion is not None:
            confusion = self.confusion if confusion is None else self.confusion + confusion
        if self.confident is not None:
            states = self.confident if states is None else self.confident.merge(states)
        return type(self)(
            merge_group_moments(self.vog_moments, other.vog_moments),
            self.suspicion.merge(other.suspicion),
            confusion,
            states,
        )

    def clc(self, wrong_p_label: np.ndarray, num_labelled: np.ndarray) -> np.ndarray:
        """CLC of each image from its histogram, by the thresholds of the whole dataset."""
        if self.confident is None:
            return np.full(len(num_labelled), np.nan)
        flagged = self.confident.finish().num_flagged(wrong_p_label)
        return confident.clc(flagged, num_labelled)


def summarise(samples: Samples, config: AuditConfig) -> Summary:
    """The summary of one unit."""
    finite, _ = split_non_finite(samples)
    if not finite.any():
        return Summary.empty()
    scores = unit_scores(samples, config)
    moments = group_moments(scores["vog"][finite], group_labels(samples)[finite])
    ranks = RankHistogram.empty().observe(base_suspicion(scores, config)[finite])
    states = {
        name.removeprefix("confident/"): values
        for name, values in samples.state.items()
        if name.startswith("confident/")
    }
    return Summary(
        moments,
        ranks,
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
