"""Samples of one unit to the rows of the tables."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ray_audit.config import AuditConfig
from ray_audit.engine.reduce.area_table import areas_table
from ray_audit.engine.reduce.load import Samples
from ray_audit.engine.reduce.region_table import regions_table
from ray_audit.engine.reduce.unit_scores import (
    split_non_finite,
    unit_scores,
)
from ray_audit.measures import Kind, measures
from ray_audit.samples import FILTERED_SCHEMA, ShardFailure
from ray_audit.schemas import (
    CLASS_PAIRS,
    CLASS_STATS,
    ERRORS,
    FILTERED,
    IDENTITY,
    Column,
    arrow_schema,
)
from ray_audit.scores.class_pairs import ClassPairs
from ray_audit.scores.early_learning import Onset, fit_onset, iou_from_counts
from ray_audit.scores.fit_profile import carried_back
from ray_audit.scores.memorisation import MAX_SUSPICIOUS_FRACTION, FitState

# The certain samples leave, so those that pass all checkpoints are learnt later than the rest.
_MAX_IN_ROWS = 1000
"""Classes up to which `class_stats` holds rows of whole matrices: 80 MB for ten checkpoints."""
_NO_ONSET = Onset(None, "adaptive audit: each checkpoint was passed by other samples")


@dataclass(frozen=True)
class UnitTables:
    """Rows of one unit for each table, and how far its labels were fitted."""

    scores: pa.Table
    trajectories: pa.Table
    filtered: pa.Table
    errors: pa.Table
    regions: pa.Table | None
    areas: pa.Table | None
    fit: FitState | None


def unit_tables(
    samples: Samples,
    config: AuditConfig,
    dataset: Mapping[str, Any],
    flagged_px: np.ndarray | None,
    metadata: dict[str, str],
) -> UnitTables:
    """Finish a unit's scores with what is known of the whole dataset.

    Args:
        samples: of the unit.
        config: the specification.
        dataset: what is known of the whole of it, by name.
        flagged_px: (N,) pixels flagged by exact confident learning; None for that of histograms.
        metadata: of the files.
    """
    finite, failures = split_non_finite(samples)
    scores = unit_scores(samples, config, {**dataset, "flagged_px": flagged_px})
    columns = measures().columns(Kind.of(config))
    identity = _identity(samples, config)
    arrays = [_array(column, scores, identity, samples.num_samples) for column in columns]
    table = pa.table(arrays, schema=arrow_schema(columns, metadata))
    is_dense = config.dataset.task.is_dense
    suspicion = scores.get("suspicion", np.zeros(samples.num_samples))
    return UnitTables(
        scores=table.filter(pa.array(finite)),
        trajectories=_trajectories(samples, metadata).filter(pa.array(finite)),
        filtered=_filtered(samples, metadata),
        errors=errors_table((*samples.failures, *failures), metadata),
        regions=regions_table(samples, metadata) if is_dense else None,
        areas=areas_table(samples, suspicion, finite, metadata) if is_dense else None,
        fit=_fit(samples, scores, finite, dataset) if finite.any() else None,
    )


def _fit(
    samples: Samples, scores: dict[str, np.ndarray], finite: np.ndarray, dataset: Mapping[str, Any]
) -> FitState:
    rank = dataset["ranks"]["csl"].cdf(scores["csl"][finite])
    correct = carried_back(samples.values["correct"], samples.reached)
    return FitState.of(correct[finite], rank > 1.0 - MAX_SUSPICIOUS_FRACTION)


def _identity(samples: Samples, config: AuditConfig) -> dict[str, Any]:
    classes = np.asarray(config.dataset.classes, dtype=object)
    identity = samples.identity
    columns: dict[str, Any] = {
        name: identity[name].combine_chunks()
        for name in ("sample_id", "shard", "frame_index", "pts_s", "label")
        if name in identity.column_names
    }
    if "predicted" in samples.values:
        predicted = samples.values["predicted"][:, -1]
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
    values = scores[column.name]
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, np.nan)
    # NaN means "has none" in the numerics; a table says null.
    return pa.array(list(values) if values.ndim > 1 else values, column.type, from_pandas=True)


def _trajectories(samples: Samples, metadata: dict[str, str]) -> pa.Table:
    num_checkpoints = samples.values["loss"].shape[1]
    # A list entry for each checkpoint, in order.
    each = pa.list_(pa.float32(), num_checkpoints)
    lists = [replace(column, type=each) for column in measures().trajectories()]
    columns = [IDENTITY[0], *lists]
    schema = arrow_schema(columns, metadata)
    if not samples.num_samples:
        return schema.empty_table()
    arrays = [samples.identity["sample_id"].combine_chunks()]
    for column in columns[1:]:
        values = samples.values[column.name].astype(np.float32)
        # With one class there is no margin, and where a sample did not get to, nothing at all.
        gaps = ~np.isfinite(values)
        if samples.reached is not None:
            gaps |= ~samples.reached
        flat = pa.array(values.reshape(-1), mask=gaps.reshape(-1))
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
    confusion: ClassPairs | None,
    thresholds: np.ndarray | None,
    classes: list[str],
    metadata: dict[str, str],
    leave_early: bool = False,
) -> pa.Table:
    """What is known of each class at each checkpoint as rows of `class_stats`.

    Args:
        confusion: counts of given and predicted classes; None where nothing is known.
        thresholds: (E, K) class thresholds of confident learning, NaN where unknown; or None.
        classes: K names.
        metadata: of the file.
        leave_early: whether samples left before they had passed all checkpoints.
    """
    schema = arrow_schema(list(CLASS_STATS), metadata)
    if confusion is None:
        return schema.empty_table()
    given, predicted, correct = confusion.given(), confusion.predicted(), confusion.correct()
    iou = iou_from_counts(correct, predicted, given)
    onsets = [_NO_ONSET if leave_early else fit_onset(of_class) for of_class in iou.T]
    if thresholds is None:
        thresholds = np.full(given.shape, np.nan)
    num_checkpoints, num_classes = given.shape
    columns = {
        "checkpoint": np.repeat(np.arange(num_checkpoints), num_classes),
        "class": classes * num_checkpoints,
        "num_given": given.reshape(-1),
        "num_predicted": predicted.reshape(-1),
        "num_correct": correct.reshape(-1),
        "iou": iou.reshape(-1),
        "predicted_as": _rows_of_matrices(confusion),
        "threshold": thresholds.reshape(-1),
        "onset_epoch": [onset.epoch for onset in onsets] * num_checkpoints,
        "onset_reason": [onset.reason for onset in onsets] * num_checkpoints,
    }
    # NaN means "has none" in the numerics; a table says null.
    arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in schema]
    return pa.table(arrays, schema=schema)


def _rows_of_matrices(confusion: ClassPairs) -> list[Any]:
    num_checkpoints, num_classes = confusion.num_checkpoints, confusion.num_classes
    if num_classes > _MAX_IN_ROWS:
        return [None] * (num_checkpoints * num_classes)
    rows: list[Any] = confusion.matrices().reshape(-1, num_classes).tolist()
    return rows


def class_pairs_table(
    confusion: ClassPairs | None, classes: list[str], metadata: dict[str, str]
) -> pa.Table:
    """Counts as rows of `class_pairs`: pairs of different classes that occur."""
    schema = arrow_schema(list(CLASS_PAIRS), metadata)
    if confusion is None:
        return schema.empty_table()
    parts = confusion.parts()
    differ = parts[1] != parts[2]
    checkpoint, given, predicted = (part[differ] for part in parts)
    names = np.asarray(classes, dtype=object)
    arrays = [
        pa.array(checkpoint, pa.int32()),
        pa.array(names[given], pa.string()),
        pa.array(names[predicted], pa.string()),
        pa.array(confusion.count[differ], pa.int64()),
    ]
    return pa.table(arrays, schema=schema)
