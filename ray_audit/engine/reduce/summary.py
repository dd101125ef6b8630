"""What the finishing of a sample must know of all others: small, mergeable, exact."""

from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np

from ray_audit.config import AuditConfig
from ray_audit.engine.ledger.adaptive import carried_back
from ray_audit.engine.reduce.load import Samples
from ray_audit.engine.reduce.suspicion import OrderState, fit_of, oriented, ranked_scores
from ray_audit.engine.reduce.unit_scores import (
    group_labels,
    sequences_of,
    split_non_finite,
    unit_scores,
)
from ray_audit.measures.ranking import Fit
from ray_audit.scores.confident import ConfidentState, class_thresholds
from ray_audit.scores.csl import segment_ids
from ray_audit.scores.fit_profile import FitProfile
from ray_audit.scores.label_noise import NoiseEstimate, NoiseState, estimate_pixels
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
        p_label_sum: (E, K) sum of p(given class) by given class; None where labels are dense.
        noise: counts from which the number of wrong labels is estimated; None likewise.
        profile: how far labels are fitted, by their loss; None likewise.
    """

    vog_moments: dict[int, tuple[int, float, float]]
    ranks: dict[str, RankHistogram]
    order: OrderState
    confusion: np.ndarray | None
    confident: ConfidentState | None
    p_label_sum: np.ndarray | None
    noise: NoiseState | None
    profile: FitProfile | None = None

    @classmethod
    def empty(cls) -> Self:
        """Nothing observed."""
        return cls({}, {}, OrderState(), None, None, None, None)

    def merge(self, other: Self) -> Self:
        """Both together; fold in a fixed order for sums that are equal to the last bit."""
        empty = RankHistogram.empty()
        names = sorted({*self.ranks, *other.ranks})
        return type(self)(
            merge_group_moments(self.vog_moments, other.vog_moments),
            {n: self.ranks.get(n, empty).merge(other.ranks.get(n, empty)) for n in names},
            self.order.merge(other.order),
            _sum(self.confusion, other.confusion),
            merged(self.confident, other.confident),
            _sum(self.p_label_sum, other.p_label_sum),
            merged(self.noise, other.noise),
            merged(self.profile, other.profile),
        )

    def fit(self, config: AuditConfig) -> Fit:
        """What the dataset shows of how its checkpoints were trained."""
        return fit_of(config, self.profile, self.confusion)

    @property
    def estimate(self) -> NoiseEstimate | None:
        """How many labels are wrong; None where nothing was scored."""
        if self.noise is not None:
            return self.noise.finish()
        return None if self.confident is None else estimate_pixels(self.confident)

    @property
    def thresholds(self) -> np.ndarray | None:
        """(E, K) class thresholds of confident learning, NaN where unknown; None of nothing."""
        if self.confusion is None:
            return None
        thresholds = np.full(self.confusion.shape[:2], np.nan)
        count = self.confusion.sum(axis=2)
        if self.p_label_sum is not None:
            thresholds = class_thresholds(self.p_label_sum, count)
        elif self.confident is not None:
            state = self.confident
            thresholds[-1] = class_thresholds(state.class_sum, state.class_count)
        return np.where(count > 0, thresholds, np.nan)


class _State(Protocol):
    def merge(self, other: Self) -> Self: ...


State = TypeVar("State", bound=_State)


def merged(one: State | None, other: State | None) -> State | None:
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
    labels = group_labels(samples)[finite]
    moments = group_moments(scores["vog"][finite], labels) if "vog" in scores else {}
    ranks = {
        name: RankHistogram.empty().observe(oriented(scores, name, sign)[finite])
        for name, sign in ({"csl": 1} | ranked_scores(config)).items()
    }
    num_classes = len(config.dataset.classes)
    order = OrderState()
    if config.dataset.task.is_sequence:
        order = OrderState.of(samples, finite, num_classes)
    states = {
        name.removeprefix("confident/"): values
        for name, values in samples.state.items()
        if name.startswith("confident/")
    }
    return Summary(
        moments,
        ranks,
        order,
        _confusion(samples, finite, config),
        ConfidentState.from_arrays(states) if states else None,
        _p_label_sum(samples, finite, num_classes) if "predicted" in samples.values else None,
        _noise(samples, scores, finite, config) if "suggested" in scores else None,
        None if config.dataset.task.is_dense else _profile(samples, scores, finite),
    )


def _profile(
    samples: Samples, scores: dict[str, np.ndarray], finite: np.ndarray
) -> FitProfile | None:
    if not finite.any():
        return None
    correct = carried_back(samples.values["correct"], samples.reached)
    return FitProfile.of(scores["csl"][finite], correct[finite])


def _noise(
    samples: Samples, scores: dict[str, np.ndarray], finite: np.ndarray, config: AuditConfig
) -> NoiseState:
    labels = samples.identity["label"].to_numpy()
    p_label, p_other, other = scores["confidence"], scores["p_suggested"], scores["suggested"]
    if config.protocol == "held_out":
        # Of checkpoints that do not know the labels the last sees best. All samples pass it.
        p_label, margin = (samples.values[name][:, -1] for name in ("p_label", "prob_margin"))
        p_other, other = np.maximum(p_label - margin, 0.0), samples.values["other"][:, -1]
    return NoiseState.observe(
        p_label[finite],
        p_other[finite],
        labels[finite],
        other[finite],
        len(config.dataset.classes),
        num_squared=_num_squared(samples, finite) if config.dataset.task.is_sequence else None,
    )


def _num_squared(samples: Samples, finite: np.ndarray) -> int:
    """Squared numbers of scored frames of the segments: these are right or wrong together."""
    total = 0
    for rows, labels in sequences_of(samples):
        ids = segment_ids(labels)[finite[rows]]
        total += int((np.bincount(ids[ids >= 0]) ** 2).sum())
    return total


def _sum(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    if one is None or other is None:
        return other if one is None else one
    total: np.ndarray = one + other
    return total


def _p_label_sum(samples: Samples, finite: np.ndarray, num_classes: int) -> np.ndarray:
    labels = samples.identity["label"].to_numpy()[finite]
    p_label = samples.values["p_label"]
    if samples.reached is not None:
        p_label = np.where(samples.reached, p_label, 0.0)
    return np.stack([np.bincount(labels, column, num_classes) for column in p_label[finite].T])


def _confusion(samples: Samples, finite: np.ndarray, config: AuditConfig) -> np.ndarray:
    """(E, K, K) counts: those of the pixels, or of the samples' own predictions."""
    if "predicted" not in samples.values:
        return samples.state["confusion"]
    num_classes = len(config.dataset.classes)
    labels = samples.identity["label"].to_numpy()[finite]
    counts = [
        np.bincount((labels * num_classes + column)[column >= 0], minlength=num_classes**2)
        for column in samples.values["predicted"][finite].T
    ]
    return np.stack(counts).reshape(-1, num_classes, num_classes).astype(np.int64)
