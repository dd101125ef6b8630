"""Samples of one unit to the columns of the score table."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ray_audit.config import AuditConfig
from ray_audit.engine.assemble import Samples
from ray_audit.engine.summary import Summary
from ray_audit.samples import FILTERED_SCHEMA, ShardFailure
from ray_audit.schemas import (
    CLASS_STATS,
    ERRORS,
    FILTERED,
    Column,
    arrow_schema,
    score_columns,
    trajectory_columns,
)
from ray_audit.scores import csl, dynamics, segmentation
from ray_audit.scores.vog import z_score

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
        "confidence": dynamics.confidence(samples.means["p_label"]),
        "variability": dynamics.variability(samples.means["p_label"]),
        "aum": dynamics.aum(samples.means["margin"]),
        "prob_margin": dynamics.prob_margin(samples.means["prob_margin"]),
        "vog": samples.vog if num_checkpoints > 1 else np.full(len(loss), np.nan),
    }
    if is_dense(config):
        nothing = np.full(len(loss), np.nan)
        scores |= {"learning_time": nothing, "forgetting": nothing}
        scores |= _dense_scores(samples, config)
    else:
        correct = samples.means["correct"] > 0.5
        scores["learning_time"] = dynamics.learning_time(correct)
        scores["forgetting"] = dynamics.forgetting(correct).astype(np.float64)
    if is_sequence(config):
        labels = samples.identity["label"].to_numpy()
        shards = np.asarray(samples.identity["shard"].to_pylist(), dtype=str)
        scores["csl_segment"] = csl.segment_mean(scores["csl"], labels, shards)
    return scores


def _dense_scores(samples: Samples, config: AuditConfig) -> dict[str, np.ndarray]:
    temperature, final = config.softmin.temperature, samples.final
    num_classes = len(config.dataset.classes)
    counts = final["class_counts"].reshape(-1, num_classes, 3)
    agreement = final["tccp"].reshape(len(counts), num_classes, -1)

    def soft(states: list[np.ndarray]) -> np.ndarray:
        merged = [segmentation.merge_softmin(state, temperature) for state in states]
        return segmentation.finish_softmin(np.stack(merged))

    coco = [
        segmentation.finish_coco(segmentation.merge_components([c])) for c in final["components"]
    ]
    return {
        "softmin": soft(final["softmin"]),
        "softmin_interior": soft(final["interior"]),
        "cil": samples.means["p_label"][:, -1],
        "ccp": segmentation.finish_ccp(counts),
        "tccp": segmentation.finish_tccp(agreement, counts),
        "iou": segmentation.finish_iou(counts),
        "coco": np.array(coco),
        "num_labelled_px": samples.identity["num_labelled"].to_numpy(),
    }


def base_suspicion(scores: dict[str, np.ndarray], config: AuditConfig) -> np.ndarray:
    """The score that the default ranking follows, turned so that high is suspicious."""
    if "softmin_interior" in scores:
        inside = scores["softmin_interior"]
        return -np.where(np.isnan(inside), scores["softmin"], inside)
    return scores["csl_segment" if is_sequence(config) else "csl"]


@dataclass(frozen=True)
class UnitTables:
    """Rows of one unit for each table."""

    scores: pa.Table
    trajectories: pa.Table
    filtered: pa.Table
    errors: pa.Table


def unit_tables(
    samples: Samples, config: AuditConfig, summary: Summary, metadata: dict[str, str]
) -> UnitTables:
    """Finish a unit's scores with what is known of the whole dataset."""
    finite, failures = split_non_finite(samples)
    scores = unit_scores(samples, config)
    if scores:
        labels = group_labels(samples)
        mean, std = summary.vog_statistics(labels)
        scores["vog_z"] = z_score(scores["vog"], mean, std)
        scores["suspicion"] = summary.suspicion_rank(base_suspicion(scores, config))
        if is_dense(config):
            scores["clc"] = summary.clc(samples.final["below"], scores["num_labelled_px"])
    columns = score_columns(
        is_dense(config), is_sequence(config), list(config.scores), config.vog.target
    )
    identity = _identity(samples, config)
    arrays = [_array(column, scores, identity, samples.num_samples) for column in columns]
    table = pa.table(arrays, schema=arrow_schema(columns, metadata))
    return UnitTables(
        scores=table.filter(pa.array(finite)),
        trajectories=_trajectories(samples, metadata).filter(pa.array(finite)),
        filtered=_filtered(samples, metadata),
        errors=errors_table((*samples.failures, *failures), metadata),
    )


def group_labels(samples: Samples) -> np.ndarray:
    """The group within which VoG is compared: the given label, or all where labels are dense."""
    labels = samples.identity["label"]
    if labels.null_count:
        return np.zeros(len(labels), np.int64)
    return labels.to_numpy().astype(np.int64)


def _identity(samples: Samples, config: AuditConfig) -> dict[str, Any]:
    classes = np.asarray(config.dataset.classes, dtype=object)
    identity = samples.identity
    columns: dict[str, Any] = {
        name: identity[name].combine_chunks()
        for name in ("sample_id", "shard", "frame_index", "pts_s", "label")
        if name in identity.column_names
    }
    if samples.predicted is not None:
        predicted = samples.predicted[:, -1]
        columns["predicted"] = pa.array(predicted, pa.int32())
        columns["predicted_name"] = pa.array(classes[predicted], pa.string())
        columns["label_name"] = pa.array(classes[identity["label"].to_numpy()], pa.string())
    return columns


def _array(
    column: Column, scores: dict[str, np.ndarray], identity: dict[str, Any], num_rows: int
) -> Any:
    if column.name in identity:
        return identity[column.name]
    if column.name not in scores:
        return pa.nulls(num_rows, column.type)
    # NaN means "has none" in the numerics; a table says null.
    return pa.array(scores[column.name], column.type, from_pandas=True)


def _trajectories(samples: Samples, metadata: dict[str, str]) -> pa.Table:
    means = samples.means
    num_checkpoints = means["loss"].shape[1] if means else 1
    columns = trajectory_columns(num_checkpoints)
    schema = arrow_schema(columns, metadata)
    if not samples.num_samples:
        return schema.empty_table()
    arrays = [samples.identity["sample_id"].combine_chunks()]
    for column in columns[1:]:
        flat = pa.array(means[column.name].astype(np.float32).reshape(-1))
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, num_checkpoints))
    return pa.table(arrays, schema=schema)


def _filtered(samples: Samples, metadata: dict[str, str]) -> pa.Table:
    # Every set's tail lists the same filtered samples: the first speaks for all.
    rows = samples.tails[0].filtered if samples.tails else FILTERED_SCHEMA.empty_table()
    return rows.cast(arrow_schema(list(FILTERED), metadata))


def errors_table(failures: tuple[ShardFailure, ...], metadata: dict[str, str]) -> pa.Table:
    """Failures as rows of the `errors` table."""
    rows = [vars(failure) for failure in failures]
    return pa.Table.from_pylist(rows, schema=arrow_schema(list(ERRORS), metadata))


def class_stats_table(
    confusion: np.ndarray | None, classes: list[str], metadata: dict[str, str]
) -> pa.Table:
    """(E, K, K) counts of given and predicted classes as rows of `class_stats`."""
    schema = arrow_schema(list(CLASS_STATS), metadata)
    if confusion is None:
        return schema.empty_table()
    rows = []
    for checkpoint, counts in enumerate(confusion):
        given, predicted, correct = counts.sum(1), counts.sum(0), np.diag(counts)
        for k, name in enumerate(classes):
            union = int(given[k] + predicted[k] - correct[k])
            rows.append(
                {
                    "checkpoint": checkpoint,
                    "class": name,
                    "num_given": int(given[k]),
                    "num_predicted": int(predicted[k]),
                    "num_correct": int(correct[k]),
                    "iou": float(correct[k] / union) if union else None,
                    "predicted_as": counts[k].tolist(),
                }
            )
    return pa.Table.from_pylist(rows, schema=schema)
