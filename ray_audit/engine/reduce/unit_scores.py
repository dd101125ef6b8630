"""Samples of one unit to the score columns that need no other unit."""

from collections.abc import Iterator

import numpy as np

from ray_audit.config import AuditConfig
from ray_audit.engine.reduce.load import Samples
from ray_audit.samples import ShardFailure
from ray_audit.scores import csl, dynamics, segmentation
from ray_audit.scores.boundaries import boundary_shift
from ray_audit.scores.suggested import suggested_class
from ray_audit.scores.void import void_evidence

NON_FINITE = "non_finite"
_COUNTS = ("learning_time", "forgetting")
"""Scores that do not compare between samples that passed different numbers of checkpoints."""


def split_non_finite(samples: Samples) -> tuple[np.ndarray, tuple[ShardFailure, ...]]:
    """Which samples have a finite loss at every checkpoint, and a failure for each other one."""
    if not samples.num_samples:
        return np.zeros(0, bool), ()
    unknown = ~np.isfinite(samples.means["loss"])
    if samples.reached is not None:
        unknown &= samples.reached
    finite = ~unknown.any(axis=1)
    failures = []
    for row in np.flatnonzero(~finite):
        where = np.flatnonzero(unknown[row])
        failures.append(
            ShardFailure(
                shard=samples.identity["shard"][int(row)].as_py(),
                sample_id=samples.identity["sample_id"][int(row)].as_py(),
                stage="scores",
                error_class=NON_FINITE,
                message=f"the loss is not finite at {len(where)} checkpoint(s), first at "
                f"position {where[0]}: look at the weights and the input's normalisation",
                num_samples=1,
            )
        )
    return finite, tuple(failures)


def unit_scores(samples: Samples, config: AuditConfig) -> dict[str, np.ndarray]:
    """Score columns that need no other unit, (N,) each."""
    if not samples.num_samples:
        return {}
    scores = _of_trajectories(samples, config) | {"csg": samples.csg, "vog": samples.vog}
    if config.dataset.task.is_dense:
        scores["forgetting"] = np.full(samples.num_samples, np.nan)
        scores |= _dense_scores(samples, config)
        if samples.vog_by_class is not None:
            scores["vog_by_class"] = _lists(samples.vog_by_class)
    if config.dataset.task.is_sequence:
        labels = samples.identity["label"].to_numpy()
        shards = np.asarray(samples.identity["shard"].to_pylist(), dtype=str)
        # A frame that failed must not spoil its neighbours.
        known = np.where(np.isfinite(scores["csl"]), scores["csl"], np.nan)
        scores["csl_segment"] = csl.segment_mean(known, labels, shards)
        scores |= _boundaries(samples)
    return scores


def _of_trajectories(samples: Samples, config: AuditConfig) -> dict[str, np.ndarray]:
    """Scores of the checkpoints that each sample passed; counts over all of them else null."""
    if samples.reached is None:
        return _trajectory_scores(samples.means, samples.other, config)
    found: dict[str, np.ndarray] = {}
    ways, way_of = np.unique(samples.reached, axis=0, return_inverse=True)
    for way, reached in enumerate(ways):
        rows = np.flatnonzero(way_of.reshape(-1) == way)
        means = {name: values[rows][:, reached] for name, values in samples.means.items()}
        other = None if samples.other is None else samples.other[rows][:, reached]
        for name, values in _trajectory_scores(means, other, config).items():
            whole = found.setdefault(name, np.zeros(samples.num_samples, values.dtype))
            whole[rows] = np.nan if name in _COUNTS and not reached.all() else values
    return found


def _trajectory_scores(
    means: dict[str, np.ndarray], other: np.ndarray | None, config: AuditConfig
) -> dict[str, np.ndarray]:
    loss, num_checkpoints = means["loss"], means["loss"].shape[1]
    scores: dict[str, np.ndarray] = {
        "csl": csl.csl(loss),
        "final_loss": csl.final_loss(loss),
        "early_loss": csl.early_loss(loss),
        "late_loss": csl.late_loss(loss),
        "loss_std": csl.loss_std(loss),
        "loss_max": csl.loss_max(loss),
        "num_checkpoints": np.full(len(loss), num_checkpoints, np.int32),
        "el2n": dynamics.el2n(means["el2n"]),
        "correctness": dynamics.correctness(means["correct"]),
        "learning_time": dynamics.learning_time(means["correct"]),
        "confidence": dynamics.confidence(means["p_label"]),
        "variability": dynamics.variability(means["p_label"]),
        "aum": dynamics.aum(means["margin"]),
        "prob_margin": dynamics.prob_margin(means["prob_margin"]),
    }
    if config.dataset.task.is_dense:
        return scores
    scores["forgetting"] = dynamics.forgetting(means["correct"] > 0.5)
    return scores | _suggestions(means, other, config)


def _boundaries(samples: Samples) -> dict[str, np.ndarray]:
    """Shifted boundaries, video by video; NaN where there is nothing to say."""
    means, num = samples.means, samples.num_samples
    found = {name: np.full(num, np.nan) for name in ("boundary_shift", "boundary_frame")}
    if samples.other is None:
        return found
    p_other = np.nan_to_num(means["p_label"] - means["prob_margin"])
    p_label = np.nan_to_num(means["p_label"])
    frames = samples.identity["frame_index"].to_numpy()
    for rows, labels in sequences_of(samples):
        # Of frames that left early, the checkpoints that all frames have passed.
        shared = slice(None) if samples.reached is None else samples.reached[rows].all(axis=0)
        shifts = boundary_shift(
            labels,
            p_label[rows][:, shared],
            p_other[rows][:, shared],
            samples.other[rows][:, shared],
        )
        found["boundary_shift"][rows] = shifts.score
        place = np.where(shifts.suggested >= 0, frames[rows][shifts.suggested], np.nan)
        found["boundary_frame"][rows] = place
    return found


def sequences_of(samples: Samples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and labels of each sequence of a unit, in frame order."""
    labels = samples.identity["label"].to_numpy()
    shards = np.asarray(samples.identity["shard"].to_pylist(), dtype=str)
    for shard in np.unique(shards):
        rows = np.flatnonzero(shards == shard)
        yield rows, labels[rows]


def _suggestions(
    means: dict[str, np.ndarray], other: np.ndarray | None, config: AuditConfig
) -> dict[str, np.ndarray]:
    if other is None or len(config.dataset.classes) < 2:
        return {}
    # A margin is the given class's probability minus that of the best other.
    p_other = means["p_label"] - means["prob_margin"]
    # NaN at a checkpoint: the sample fails, and must not be an error here.
    label, p = suggested_class(other, np.nan_to_num(p_other))
    return {"suggested": label, "p_suggested": p}


def _dense_scores(samples: Samples, config: AuditConfig) -> dict[str, np.ndarray]:
    temperature, final = config.softmin.temperature, samples.final
    num_classes = len(config.dataset.classes)
    counts = final["class_counts"].reshape(-1, num_classes, 3)
    agreement = final["tccp"].reshape(len(counts), num_classes, -1)

    def soft(states: list[np.ndarray]) -> np.ndarray:
        merged = [segmentation.merge_softmin(state, temperature) for state in states]
        return segmentation.finish_softmin(np.stack(merged))

    components = [segmentation.merge_components([one]) for one in final["components"]]
    return {
        "softmin": soft(final["softmin"]),
        "softmin_interior": soft(final["interior"]),
        "cil": samples.means["p_label"][:, -1],
        "ccp": segmentation.finish_ccp(counts),
        "tccp": segmentation.finish_tccp(agreement, counts),
        "iou": segmentation.finish_iou(counts),
        "coco": np.array([segmentation.finish_coco(one) for one in components]),
        "void_evidence": _void_evidence(samples),
        "num_labelled_px": samples.identity["num_labelled"].to_numpy(),
    }


def _void_evidence(samples: Samples) -> np.ndarray:
    """Largest evidence of the unlabelled components of each sample, NaN where it has none."""
    every = [void_evidence(v.top_class, v.top_p)[1] for v in samples.voids or ()]
    return np.array([one.max() if one.size else np.nan for one in every])


def _lists(values: np.ndarray) -> np.ndarray:
    """(N, K) to (N,) of arrays, as a column of lists is made from."""
    lists = np.empty(len(values), object)
    lists[:] = list(values)
    return lists


def group_labels(samples: Samples) -> np.ndarray:
    """The group within which VoG is compared: the given label, or all where labels are dense."""
    labels = samples.identity["label"]
    if labels.null_count:
        return np.zeros(len(labels), np.int64)
    groups: np.ndarray = labels.to_numpy().astype(np.int64)
    return groups
