"""Figures of a run for notebooks: timelines, loss trajectories, masks, precision and recall.

Each takes a run's tables and returns a matplotlib figure (`pip install 'ray-audit[plots]'`);
`ray_audit.report.drawing` draws the same from plain arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.metrics import precision_recall_curve

from ray_audit import rle
from ray_audit.errors import SpecificationError
from ray_audit.evaluation.truth import directed_columns, join_truth, read_truth
from ray_audit.formats.labels.names import stem_of
from ray_audit.report.drawing import (
    DrawnRegion,
    DrawnSpan,
    draw_mask,
    draw_precision_recall,
    draw_timeline,
    draw_trajectory,
)
from ray_audit.report.mask_layers import mask_layers
from ray_audit.report.sample_details import class_bands
from ray_audit.tables.run_tables import RunTables
from ray_audit.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def timeline(tables: RunTables, shard: str) -> Figure:
    """A video or sequence: given, predicted and suggested labels, findings, CSL and order score.

    Args:
        tables: of a run with one label per frame.
        shard: shard key, as in the tables.

    Raises:
        SpecificationError: the labels are not of frames, or the run has no such video.
    """
    _check_task(tables, Task.FRAMES, "a timeline", "one label per frame")
    columns = ["frame_index", "label", "predicted", "csl", "order_nll"]
    rows = _rows(tables, "shard", shard, columns).sort_by("frame_index")
    frames = rows["frame_index"].to_numpy()
    classes = list(tables.config.dataset.classes)
    findings = _findings(tables, "shard", shard)
    bands = {
        "given": _indices(rows["label"]),
        "predicted": _indices(rows["predicted"]),
        "suggested": _suggested(frames, findings, classes),
    }
    named = {"CSL (nat)": "csl", "order score (nat)": "order_nll"}
    lines = {
        text: rows[name].cast(pa.float64()).to_numpy()
        for text, name in named.items()
        if rows[name].null_count < rows.num_rows
    }
    spans = [
        DrawnSpan(finding["start_frame"], finding["end_frame"], f"#{finding['rank']}")
        for finding in findings
    ]
    return draw_timeline(frames, bands, lines, classes, spans, title=shard)


def _indices(column: pa.ChunkedArray) -> np.ndarray:
    found: np.ndarray = pc.fill_null(column, -1).to_numpy()
    return found


def _suggested(
    frames: np.ndarray, findings: list[dict[str, Any]], classes: list[str]
) -> np.ndarray:
    """Class index that findings suggest for each frame, -1 for none; the first ranks win."""
    found = np.full(len(frames), -1)
    for finding in reversed(findings):
        if finding["suggested"] in classes:
            inside = (frames >= finding["start_frame"]) & (frames < finding["end_frame"])
            found[inside] = classes.index(finding["suggested"])
    return found


def trajectory(tables: RunTables, sample_id: str) -> Figure:
    """A sample's loss at each checkpoint, among the middle 80% of its class.

    For masks, whose samples have no one class, the sample's loss alone.

    Raises:
        SpecificationError: the run has no such sample.
    """
    losses = _rows(tables, "sample_id", sample_id, ["loss"], table="trajectories")
    (label,) = _rows(tables, "sample_id", sample_id, ["label_name"])["label_name"].to_pylist()
    quantiles = class_bands(tables).get(str(label))
    band = (
        None if quantiles is None else np.array([quantiles[q] for q in ("low", "middle", "high")])
    )
    checkpoints = [stem_of(checkpoint["name"]) for checkpoint in tables.manifest.checkpoints]
    (loss,) = losses["loss"].to_pylist()
    return draw_trajectory(np.array(loss), band, str(label), checkpoints, title=sample_id)


def mask_overlay(tables: RunTables, sample_id: str) -> Figure:
    """An image, its given mask and what the last checkpoint sees, with its findings outlined.

    The image is decoded and predicted again, in this process.

    Raises:
        SpecificationError: the labels are no masks, or the run or the dataset has no such image.
        CheckpointError: the last checkpoint is not there any more.
    """
    _check_task(tables, Task.DENSE, "a mask overlay", "masks")
    (shard,) = _rows(tables, "sample_id", sample_id, ["shard"])["shard"].to_pylist()
    layers = mask_layers(tables, shard, sample_id)
    regions = [
        DrawnRegion(
            rle.decode(finding["mask_rle"], tuple(finding["mask_size_px"])), f"#{finding['rank']}"
        )
        for finding in _findings(tables, "sample_id", sample_id)
    ]
    classes = list(tables.config.dataset.classes)
    return draw_mask(
        layers.image, layers.given, layers.predicted, classes, regions, title=sample_id
    )


def precision_recall(
    tables: RunTables, truth_uri: str, scores: Sequence[str] = ("suspicion",)
) -> Figure:
    """Precision and recall of scores against a truth file.

    Args:
        tables: of a run.
        truth_uri: Parquet or CSV with `sample_id` and `is_error`.
        scores: score columns that have a direction; samples without a score are left out.

    Raises:
        SpecificationError: a score that the run lacks or that has no direction, or nothing to find.
        LabelError: the truth is malformed, or of another dataset.
    """
    table = tables.whole("scores")
    directions = directed_columns(table.schema)
    unknown = [name for name in scores if name not in directions]
    if unknown:
        raise SpecificationError(
            f"no score with a direction: {', '.join(unknown)}; there are {', '.join(directions)}"
        )
    known = join_truth(table, read_truth(truth_uri))
    if not 0 < known.is_error.sum() < len(known.is_error):
        raise SpecificationError(
            f"{truth_uri}: {int(known.is_error.sum())} of {len(known.is_error)} samples are wrong; "
            "precision and recall need right and wrong ones"
        )
    curves = {}
    for name in scores:
        values = known.table[name].cast(pa.float64()).to_numpy()
        there = ~np.isnan(values)
        if known.is_error[there].any():
            sign = 1.0 if directions[name] == "higher" else -1.0
            precision, recall, _ = precision_recall_curve(
                known.is_error[there], sign * values[there]
            )
            curves[name] = (precision, recall)
    share = float(known.is_error.mean())
    return draw_precision_recall(curves, share, title=f"{tables.config.name}: wrong labels found")


def _check_task(tables: RunTables, task: Task, what: str, needed: str) -> None:
    if tables.task is not task:
        raise SpecificationError(f"{what} needs a run over {needed}")


def _rows(
    tables: RunTables, key: str, value: str, columns: list[str], table: str = "scores"
) -> pa.Table:
    """The rows of a table that belong to one shard or sample.

    Raises:
        SpecificationError: there is none.
    """
    found = []
    example = "none"
    for (file,) in tables.parts(table):
        rows = tables.read(file, [key, *columns])
        example = repr(rows[key][0].as_py()) if rows.num_rows else example
        found.append(rows.filter(pc.equal(rows[key], value)))
    if not sum(item.num_rows for item in found):
        raise SpecificationError(
            f"run {tables.manifest.run_id} has no {key} {value!r}; one that it has is {example}"
        )
    return pa.concat_tables(found)


def _findings(tables: RunTables, key: str, value: str) -> list[dict[str, Any]]:
    rows = tables.findings()
    chosen: pa.Table = rows.filter(pc.equal(rows[key], value)).sort_by("rank")
    found: list[dict[str, Any]] = chosen.to_pylist()
    return found
