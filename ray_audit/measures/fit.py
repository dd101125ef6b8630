"""What a run shows of how its checkpoints were trained, and which scores to rank by then."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ray_audit.scores.class_pairs import ClassPairs
from ray_audit.scores.fit_profile import FitProfile
from ray_audit.task import Task

_ONE_LABEL = {"late_loss": 1, "prob_margin": -1, "early_loss": 1, "confidence": -1}
RANKED: Mapping[Task, Mapping[str, int]] = {
    Task.DENSE: {
        "softmin_interior": -1,
        "softmin": -1,
        "component_doubt": 1,
        "component_deviation": 1,
        "late_iou": -1,
        "csl": 1,
    },
    # `order_nll` weighs too, where there is an order: see `SegmentOrder.weight`.
    Task.FRAMES: {"csl_segment": 1, "late_loss": 1, "early_loss": 1, "confidence": -1},
    Task.CLASS: _ONE_LABEL,
    Task.CLIPS: _ONE_LABEL,
}
"""Scores whose ranks may be combined: 1 where high is suspicious, -1 where low is."""

RULE = 6
"""Raised with whatever changes `weights_of` or `SegmentOrder.weight`: it is another run then."""

_MEMORISED = (0.1, 0.3)
_STILL_RISING = (0.0, 0.05)
_KNOWN = (0.5, 0.8)
_KNOWN_SEGMENTS = (0.6, 0.9)
_LEAST_OF_SEGMENTS = 0.4
_OUTLINED = (0.6, 0.75)
_DRAWN_AS_GIVEN = (0.95, 1.0)
_GROWN_LATE = (0.15, 0.35)
_NO_GUESS = (-0.5, 0.0)
_WEAK_ON_TRAINED = {"softmin_interior": 1 / 3, "softmin": 1 / 3, "component_doubt": 1 / 3}
_WEAK_ON_UNSEEN = {"softmin_interior": 1 / 3, "softmin": 1 / 3, "component_deviation": 1 / 3}
_LOST_ON_UNSEEN = {"component_deviation": 1.0}
_GOOD_ON_UNSEEN = {"late_iou": 1 / 3, "softmin": 1 / 3, "component_doubt": 1 / 3}
"""Weights for masks by models that do not yet tell the classes apart, that are no better than to
name the commonest one everywhere, and that tell them apart."""


@dataclass(frozen=True)
class TrainingFit:
    """What a run shows of how its checkpoints were trained.

    Attributes:
        is_held_out: whether the checkpoints never saw the labels.
        agreement: how well they predict the given labels, 0 for chance, 1 for all of them; of
            masks the usual IoU of the classes at the last checkpoint, halfway between their mean
            and the middle one. NaN where unknown.
        fitted: share of the most suspicious labels that they predict in the end, 0-1; NaN of
            masks, which are wrong in some pixels only.
        gain: agreement in the end less that of the first half of the checkpoints; NaN of masks with
            one checkpoint.
        skill: of masks, how many of the pixels that the commonest class leaves are predicted as
            labelled at the last checkpoint: 0 for a model that names that class everywhere, 1 for
            all pixels, less than 0 for worse than that. NaN where unknown.
    """

    is_held_out: bool
    agreement: float
    fitted: float = float("nan")
    gain: float = float("nan")
    skill: float = float("nan")

    @property
    def memorised(self) -> float:
        """0: wrong labels are not fitted; 1: they are."""
        return 0.0 if self.is_held_out else _ramp(self.fitted, *_MEMORISED)

    @property
    def known_early(self) -> float:
        """1: masks were drawn in the first half nearly as well as in the end; 0: much worse."""
        if not self.agreement > 0 or np.isnan(self.gain):
            return 0.0
        return 1.0 - _ramp(self.gain / self.agreement, *_GROWN_LATE)

    @property
    def of_all(self) -> float:
        """Weight of the mean over all checkpoints beside the last half's losses: 0 to 1.

        Checkpoints that never saw the labels are all alike once they get no better, and then a mean
        of their probabilities is calmer than any of them. Otherwise the last ones see best.
        """
        return 1.0 - _ramp(self.gain, *_STILL_RISING) if self.is_held_out else 0.0


def weights_of(task: Task, fit: TrainingFit) -> dict[str, float]:
    """How much each of the scores `RANKED` weighs, at least 0, together 1.

    Args:
        task: what labels belong to.
        fit: of the run.
    """
    raw = _of_masks(fit) if task is Task.DENSE else _of_labels(task, fit)
    total = sum(raw.values())
    return {name: weight / total for name, weight in raw.items()}


def _of_labels(task: Task, fit: TrainingFit) -> dict[str, float]:
    # What was memorised late had a high loss before.
    late = 1.0 - fit.memorised - fit.of_all
    weights = {"late_loss": late, "early_loss": fit.memorised, "confidence": fit.of_all}
    if task is Task.FRAMES:
        # A wrong segment is wrong throughout, but a weak model is wrong about whole segments.
        # Never nothing: low agreement may be noise of single frames, which a segment's mean is not.
        known = _ramp(fit.agreement, *_KNOWN_SEGMENTS)
        return weights | {"csl_segment": max(known, _LEAST_OF_SEGMENTS)}
    # Margins compare classes: they are sharp once a model knows most of them apart.
    return weights | {"prob_margin": max(_ramp(fit.agreement, *_KNOWN), fit.memorised)}


def _of_masks(fit: TrainingFit) -> dict[str, float]:
    # A soft minimum sees what a weak model is sure of, where its outlines are wrong throughout; of
    # a good one they tell more, until it draws all masks as they are given, wrong ones too. What
    # the first half knew already speaks for all checkpoints: they saw wrong masks before that.
    of_all = max(_ramp(fit.agreement, *_DRAWN_AS_GIVEN), fit.known_early)
    strong = {
        "late_iou": 0.75 * (1.0 - of_all),
        "csl": 0.75 * of_all,
        "component_doubt": 0.25,
    }
    weak = _WEAK_ON_TRAINED
    if fit.is_held_out:
        weak, strong = _on_unseen(fit.skill), _GOOD_ON_UNSEEN
    good = _ramp(fit.agreement, *_OUTLINED)
    return {
        name: (1.0 - good) * weak.get(name, 0.0) + good * strong.get(name, 0.0)
        for name in RANKED[Task.DENSE]
    }


def _on_unseen(skill: float) -> dict[str, float]:
    # Where pixels are predicted worse than by naming the commonest class, how sure a model is says
    # which classes it favours: masks compare within a class only.
    share = 1.0 if np.isnan(skill) else _ramp(skill, *_NO_GUESS)
    return {
        name: share * _WEAK_ON_UNSEEN.get(name, 0.0)
        + (1.0 - share) * _LOST_ON_UNSEEN.get(name, 0.0)
        for name in RANKED[Task.DENSE]
    }


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on; 0 for NaN."""
    return float(np.clip(np.nan_to_num((value - low) / (high - low), nan=0.0), 0.0, 1.0))


def fit_of(
    task: Task,
    num_classes: int,
    protocol: str,
    profile: FitProfile | None,
    confusion: ClassPairs | None,
) -> TrainingFit:
    """What a dataset shows of how its checkpoints were trained.

    Args:
        task: what labels belong to.
        num_classes: K.
        protocol: `training` or `held_out`.
        profile: how far labels are fitted; None for masks, and where nothing was scored.
        confusion: counts of given and predicted classes; None where nothing was scored.
    """
    is_held_out = protocol == "held_out"
    if task is Task.DENSE:
        return _fit_of_masks(is_held_out, confusion)
    if profile is None or num_classes < 2:
        return TrainingFit(is_held_out, float("nan"))
    chance = 1.0 / num_classes
    agreement = (profile.agreement - chance) / (1.0 - chance)
    return TrainingFit(is_held_out, agreement, profile.fitted, profile.gain)


def _fit_of_masks(is_held_out: bool, confusion: ClassPairs | None) -> TrainingFit:
    if confusion is None:
        return TrainingFit(is_held_out, float("nan"))
    each = _usual_iou(confusion)
    num, last = len(each), float(each[-1])
    gain = float("nan") if num < 2 else last - float(each[: (num + 1) // 2].mean())
    return TrainingFit(is_held_out, last, gain=gain, skill=_skill(confusion))


def _skill(confusion: ClassPairs) -> float:
    given = confusion.given()[-1]
    others = int(given.sum() - given.max())
    missed = int(given.sum() - confusion.correct()[-1].sum())
    return 1.0 - missed / others if others else float("nan")


def _usual_iou(confusion: ClassPairs) -> np.ndarray:
    """(E,) at each checkpoint, over the classes that are given or predicted; NaN without any.

    A class that was never learnt says nothing of how well the others are outlined: their mean would
    take a good model for a weak one, the middle one alone would hide every second class.
    """
    both = confusion.correct()
    either = confusion.predicted() + confusion.given() - both
    found = np.full(len(both), np.nan)
    for checkpoint, occurs in enumerate(either > 0):
        if occurs.any():
            shares = both[checkpoint, occurs] / either[checkpoint, occurs]
            found[checkpoint] = (shares.mean() + np.median(shares)) / 2
    return found
