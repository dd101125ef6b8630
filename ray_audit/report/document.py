"""The report's document: what the page shows of a run, made from its tables alone."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_audit import storage
from ray_audit.report.night_changes import make_changes
from ray_audit.report.sample_details import class_bands, finding_losses
from ray_audit.tables.run_tables import RunTables

SCHEMA = 1
FINDINGS_PER_BUNDLE = 12
_NUM_ERRORS = 20
_NUM_BINS = 40
_HISTOGRAMS = ("suspicion", "csl", "csl_segment", "order_nll", "final_loss", "softmin_interior")
_TEXTS = ("kind", "shard", "given", "suggested")
_NUMBERS = ("suspicion", "loss", "p_given", "p_suggested")


@dataclass(frozen=True)
class ShownFindings:
    """The findings that a report shows.

    Attributes:
        rows: of the `findings` table, first ranks first.
        bundles: name of each finding's bundle of pictures.
    """

    rows: pa.Table
    bundles: list[str]

    @classmethod
    def of(cls, tables: RunTables, limit: int) -> "ShownFindings":
        """Take the first findings of a run."""
        rows = tables.findings()
        order = pc.sort_indices(rows, [("rank", "ascending"), ("finding_id", "ascending")])
        rows = rows.take(order[:limit])
        return cls(rows, _bundle_names(rows))

    def by_bundle(self) -> dict[str, list[dict[str, Any]]]:
        """Findings of each bundle, in the order of their first ranks."""
        found: dict[str, list[dict[str, Any]]] = {}
        for name, row in zip(self.bundles, self.rows.to_pylist(), strict=True):
            found.setdefault(name, []).append(row)
        return found


def _bundle_names(rows: pa.Table) -> list[str]:
    """Name of the bundle with the pictures of each finding: safe as a file's name.

    Findings of one image or video share a bundle, `FINDINGS_PER_BUNDLE` at most.
    """
    names = ("sample_id", "shard", "start_frame", "mask_rle")
    columns = [rows[name].to_pylist() for name in names]
    seen: Counter[str] = Counter()
    bundles = []
    for sample_id, shard, start_frame, region in zip(*columns, strict=True):
        key = sample_id if start_frame is None or region else shard
        part = seen[key] // FINDINGS_PER_BUNDLE
        seen[key] += 1
        bundles.append(storage.digest(key, part)[:20])
    return bundles


def make_document(
    tables: RunTables, shown: ShownFindings, mode: str, against: str | None = None
) -> dict[str, Any]:
    """Everything but pictures and timelines.

    Args:
        tables: of the run.
        shown: its findings.
        mode: `file`, `folder` or `server`: where the page finds bundles. A server has so many
            findings that their loss trajectories come with the bundles too.
        against: run with which the findings are compared; see `make_changes`.

    Raises:
        StorageError: `against` is no complete run.
    """
    strings: dict[str, int] = {}
    columns = _findings(shown, strings)
    if mode != "server":
        columns["losses"] = finding_losses(tables, shown.rows)
    changes = make_changes(tables, against)
    if changes is not None:
        of_finding = changes.pop("of_finding")
        columns["change"] = [of_finding.get(column) for column in columns["id"]]
    return {
        "schema": SCHEMA,
        "mode": mode,
        "run": _run(tables),
        "histograms": _histograms(tables),
        "class_stats": _class_stats(tables),
        "class_pairs": _class_pairs(tables),
        "bands": class_bands(tables),
        "changes": changes,
        "findings": columns,
        "strings": list(strings),
    }


def _run(tables: RunTables) -> dict[str, Any]:
    manifest = tables.manifest
    config = tables.config
    errors = tables.head("errors", _NUM_ERRORS).to_pylist()
    return {
        "run_id": manifest.run_id,
        "name": config.name,
        "output": tables.run_uri.rpartition("/runs/")[0],
        "dataset": config.dataset.uri,
        "state": manifest.state,
        "protocol": manifest.protocol,
        "kind": config.dataset.kind,
        "task": tables.task.value,
        "counts": manifest.counts,
        "duration": _duration(manifest.timing.get("total_s")),
        "checkpoints": [checkpoint["name"] for checkpoint in manifest.checkpoints],
        "classes": list(config.dataset.classes),
        "estimate": _estimate(manifest.estimate),
        "findings": manifest.findings,
        "notes": [*manifest.notes, *manifest.judgements()],
        "errors": [
            {name: row[name] for name in ("shard", "sample_id", "stage", "message")}
            for row in errors
        ],
    }


def _estimate(estimate: dict[str, Any]) -> dict[str, Any]:
    return {name: estimate.get(name) for name in ("num_wrong", "fraction", "unit")}


def _duration(total_s: float | None) -> str:
    if total_s is None:
        return "unknown"
    minutes, seconds = divmod(round(total_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _histograms(tables: RunTables) -> dict[str, Any]:
    """Distribution of each score, part by part over edges that the parts' extremes give."""
    found = {}
    for name in _HISTOGRAMS:
        extremes = [
            (float(np.nanmin(v)), float(np.nanmax(v)))
            for v in tables.score(name)
            if np.isfinite(v).any()
        ]
        if not extremes:
            continue
        low, high = min(e[0] for e in extremes), max(e[1] for e in extremes)
        edges = np.linspace(low, high if high > low else low + 1.0, _NUM_BINS + 1)
        counts = np.zeros(_NUM_BINS, np.int64)
        for values in tables.score(name):
            counts += np.histogram(values[np.isfinite(values)], edges)[0]
        found[name] = {
            "edges": edges.tolist(),
            "counts": counts.tolist(),
            "unit": tables.score_units[name],
        }
    return found


def _class_stats(tables: RunTables) -> dict[str, Any]:
    stats = tables.whole("class_stats").to_pydict()
    classes = list(tables.config.dataset.classes)
    num_checkpoints = max(stats["checkpoint"], default=-1) + 1
    iou: list[list[float | None]] = [[None] * len(classes) for _ in range(num_checkpoints)]
    onset: list[int | None] = [None] * len(classes)
    onsets = stats.get("onset_epoch", [None] * len(stats["class"]))
    rows = zip(stats["checkpoint"], stats["class"], stats["iou"], onsets, strict=True)
    for checkpoint, name, value, epoch in rows:
        index = classes.index(name)
        iou[checkpoint][index] = _finite(value)
        onset[index] = epoch
    return {"iou": iou, "onset": onset}


def _class_pairs(tables: RunTables) -> list[dict[str, Any]]:
    pairs = tables.whole("class_pairs")
    if not pairs.num_rows:
        return []
    last = pairs.filter(pc.equal(pairs["checkpoint"], pc.max(pairs["checkpoint"])))
    rows: list[dict[str, Any]] = last.select(["given", "predicted", "num"]).to_pylist()
    return rows


def _findings(shown: ShownFindings, strings: dict[str, int]) -> dict[str, list[Any]]:
    """Findings as columns; texts that repeat as an index into `strings`."""
    rows = shown.rows.to_pydict()
    columns: dict[str, list[Any]] = {
        "id": rows["finding_id"],
        "rank": rows["rank"],
        "sample": rows["sample_id"],
        "start": rows["start_frame"],
        "end": rows["end_frame"],
        "box": rows["box"],
        "reason": rows["reason"],
        "bundle": shown.bundles,
    }
    for name in _NUMBERS:
        columns[name] = _rounded(rows[name])
    for name in _TEXTS:
        columns[name] = [
            None if text is None else strings.setdefault(text, len(strings)) for text in rows[name]
        ]
    return columns


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [_finite(value) for value in values]


def _finite(value: float | None) -> float | None:
    """Rounded; None for what JSON cannot hold."""
    return None if value is None or not math.isfinite(value) else round(value, 4)
