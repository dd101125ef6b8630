"""Samples of one unit to the score columns that need no other unit."""

from collections.abc import Iterator

import numpy as np

from ray_audit.config import AuditConfig
from ray_audit.engine.assemble import Samples
from ray_audit.samples import ShardFailure
from ray_audit.scores import csl, dynamics, segmentation
from ray_audit.scores.boundaries import boundary_shift
from ray_audit.scores.suggested import suggested_class
from ray_audit.scores.void import void_evidence

NON_FINITE = "non_finite"


def is_dense(config: AuditConfig) -> bool:
    """Whether labels belong to pixels."""
    return config.dataset.labels.form == "masks"


def is_sequence(config: AuditConfig) -> bool:
    """Whether samples are frames in time order."""
    return config.dataset.kind != "images" and config.dataset.labels.form != "videos"


def split_non_finite(samples: Samples) -> tuple[np.ndarray, tuple[ShardFailure, ...]]:
    """Which samples have a finite loss at every checkpoint, and a failure for each other one."""
    if not samples.num_samples:
        return np.zeros(0, bool), ()
    finite = np.isfinite(samples.means["loss"]).all(axis=1)
    failures = []
    for row in np.flatnonzero(~finite):
        where = np.flatnonzero(~np.isfinite(samples.means["loss"][row]))
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
    loss, num_checkpoints = samples.means["loss"], samples.means["loss"].shape[1]
    scores: dict[str, np.ndarray] = {
        "csl": csl.csl(loss),
        "final_loss": csl.final_loss(loss),
        "early_loss": csl.early_loss(loss),
        "late_loss": csl.late_loss(loss),
        "loss_std": csl.loss_std(loss),
        "loss_max": csl.loss_max(loss),
        "num_checkpoints": np.full(len(loss), num_checkpoints, np.int32),
        "el2n": dynamics.el2n(samples.means["el2n"]),
        "correctness": dynamics.correctness(samples.means["correct"]),
        "csg": samples.csg,
        "learning_time": dynamics.learning_time(samples.means["correct"]),
        "confidence": dynamics.confidence(samples.means["p_label"]),
        "variability": dynamics.variability(samples.means["p_label"]),
        "aum": dynamics.aum(samples.means["margin"]),
        "prob_margin": dynamics.prob_margin(samples.means["prob_margin"]),
        "vog": samples.vog,
    }
    if is_dense(config):
        scores["forgetting"] = np.full(len(loss), np.nan)
        scores |= _dense_scores(samples, config)
        if samples.vog_by_class is not None:
            scores["vog_by_class"] = _lists(samples.vog_by_class)
    else:
        scores["forgetting"] = dynamics.forgetting(samples.means["correct"] > 0.5)
        scores |= _suggestions(samples, config)
    if is_sequence(config):
        labels = samples.identity["label"].to_numpy()
        shards = np.asarray(samples.identity["shard"].to_pylist(), dtype=str)
        # A frame that failed must not spoil its neighbours.
        known = np.where(np.isfinite(scores["csl"]), scores["csl"], np.nan)
        scores["csl_segment"] = csl.segment_mean(known, labels, shards)
        scores |= _boundaries(samples)
    return scores


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
        shifts = boundary_shift(labels, p_label[rows], p_other[rows], samples.other[rows])
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


def _suggestions(samples: Samples, config: AuditConfig) -> dict[str, np.ndarray]:
    if samples.other is None or len(config.dataset.classes) < 2:
        return {}
    # A margin is the given class's probability minus that of the best other.
    p_other = samples.means["p_label"] - samples.means["prob_margin"]
    # NaN at a checkpoint: the sample fails, and must not be an error here.
    label, p = suggested_class(samples.other, np.nan_to_num(p_other))
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
