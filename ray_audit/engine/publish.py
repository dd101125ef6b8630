"""From committed records to the tables of a run: two passes over the units, none of it global.

The first pass folds every unit into a small summary of the dataset; the second finishes each
unit's rows with it. Rows are written where they are made; the driver sees counts and ten rows.
"""

import heapq
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Protocol

import pyarrow as pa

from ray_audit.config import AuditConfig
from ray_audit.engine import ledger
from ray_audit.engine.assemble import UnitFiles, load_samples, named_failures
from ray_audit.engine.finish import class_stats_table, unit_tables
from ray_audit.engine.ledger import Wanted
from ray_audit.engine.plan import Inputs, Plan, numeric_settings
from ray_audit.engine.summary import Summary, summarise
from ray_audit.engine.unit_scores import split_non_finite
from ray_audit.errors import RunError
from ray_audit.samples import ShardFailure
from ray_audit.schemas import SCHEMA_VERSION
from ray_audit.tables.manifest import Manifest
from ray_audit.tables.store import TableFile, write_table

_UNITS_PER_PART = 16
_NUM_TOP = 10
_MOST_LOOKED_AT = 1000
_TABLES = ("scores", "trajectories", "filtered", "errors")
_TOP_COLUMNS = ("sample_id", "suspicion", "label_name", "predicted_name", "csl", "softmin")
_LIBRARIES = ("ray-audit", "ray", "torch", "numpy", "pyarrow", "av", "pillow")


class Mapper(Protocol):
    """The part of an engine that publishing needs."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Apply a function to each item; results in the items' order."""
        ...


@dataclass(frozen=True)
class PartOutcome:
    """What one finishing task tells the driver."""

    files: dict[str, TableFile]
    num_scored: int
    failed: dict[str, int]
    filtered: dict[str, int]
    top: list[dict[str, Any]]


@dataclass(frozen=True)
class Draft:
    """Everything a manifest needs, before it is written."""

    inputs: Inputs
    tables: dict[str, list[TableFile]]
    counts: dict[str, Any]
    top: list[dict[str, Any]]
    notes: list[str]

    def manifest(self, plan: Plan, timing: dict[str, Any], breached: list[str]) -> Manifest:
        """The manifest of the run."""
        config = self.inputs.config
        layout = asdict(plan.layout) if plan.layout else {}
        return Manifest(
            run_id=self.inputs.run_id,
            state="complete",
            specification=config.model_dump(mode="json"),
            protocol=config.protocol,
            counts=self.counts,
            checkpoints=[{"name": c.name, "digest": c.digest} for c in self.inputs.checkpoints],
            numeric=numeric_settings(config),
            plan={**layout, "num_new": plan.num_new, "num_reused": plan.num_reused},
            tables=self.tables,
            timing=timing,
            versions={"python": platform.python_version()}
            | {name: version(name) for name in _LIBRARIES},
            top=self.top,
            notes=self.notes,
            breached_gates=breached,
        )


def publish(mapper: Mapper, inputs: Inputs) -> Draft:
    """Write all tables of a run but its manifest.

    Raises:
        RunError: a unit's records are not all there.
    """
    config, wanted = inputs.config, inputs.wanted
    files = _unit_files(inputs)
    starts = range(0, len(files), _UNITS_PER_PART)
    chunks = [(i, tuple(files[s : s + _UNITS_PER_PART])) for i, s in enumerate(starts)]
    summary = Summary.empty()
    for partial_summary in mapper.map(partial(_summarise, config, wanted), chunks):
        summary = summary.merge(partial_summary)
    metadata = _file_metadata(inputs)
    finish = partial(_finish, config, wanted, summary, metadata, inputs.run_uri)
    tables: dict[str, list[TableFile]] = {name: [] for name in _TABLES}
    filtered: Counter[str] = Counter()
    top: list[dict[str, Any]] = []
    num_scored = 0
    failed: Counter[str] = Counter()
    for outcome in mapper.map(finish, chunks):
        for name, file in outcome.files.items():
            tables[name].append(file)
        filtered.update(outcome.filtered)
        num_scored += outcome.num_scored
        failed.update(outcome.failed)
        top = _largest([*top, *outcome.top])
    stats = class_stats_table(summary.confusion, config.dataset.classes, metadata)
    tables["class_stats"] = [write_table(inputs.run_uri, "class_stats", 0, stats)]
    counts = _counts(num_scored, filtered, failed)
    return Draft(inputs, tables, counts, top, list(inputs.listing.notes))


def _counts(num_scored: int, filtered: Counter[str], failed: Counter[str]) -> dict[str, Any]:
    """Samples by outcome, and how many came through each stage."""
    num_probed = num_scored + failed["scores"]
    return {
        "entered": num_scored + filtered.total() + failed.total(),
        "decoded": num_probed + failed["probe"],
        "probed": num_probed,
        "scored": num_scored,
        "filtered": filtered.total(),
        "failed": failed.total(),
        "filtered_by_reason": dict(sorted(filtered.items())),
        "failed_by_stage": {stage: num for stage, num in sorted(failed.items()) if num},
    }


def _unit_files(inputs: Inputs) -> list[UnitFiles]:
    output = inputs.config.output
    sets = ledger.read_sets(output)
    done = ledger.completed(output, True, [unit.unit_id for unit in inputs.units])
    files = []
    for unit in inputs.units:
        held = done.get(unit.unit_id, {})
        have = [sets[set_id] for set_id in held if set_id in sets]
        if inputs.wanted.missing_from(have):
            raise RunError(
                f"records of work unit {unit.unit_id} ({unit.shards[0].key}) are not all there: "
                "run again; what was committed is reused"
            )
        files.append(UnitFiles.choose(unit.unit_id, sets, held, inputs.wanted))
    return files


def first_failures(inputs: Inputs, num: int = 20) -> list[ShardFailure]:
    """Some of the failures that are committed, for the report of a run that failed.

    Of each unit only what names failures is read. Losses that are not finite are in no name: they
    are looked for in the first units where nothing else has failed.
    """
    sets = ledger.read_sets(inputs.config.output)
    unit_ids = [unit.unit_id for unit in inputs.units]
    done = ledger.completed(inputs.config.output, True, unit_ids)
    chosen = [
        UnitFiles.choose(unit_id, sets, done.get(unit_id, {}), inputs.wanted)
        for unit_id in unit_ids
    ]
    failures: list[ShardFailure] = []
    for files in chosen[:_MOST_LOOKED_AT]:
        failures += named_failures(files)
        if len(failures) >= num:
            return failures[:num]
    for files in [] if failures else chosen[:_UNITS_PER_PART]:
        if not inputs.wanted.missing_from(files.sets):
            failures += split_non_finite(load_samples(files, inputs.wanted))[1]
    return failures[:num]


def _file_metadata(inputs: Inputs) -> dict[str, str]:
    return {
        "ray_audit.schema_version": SCHEMA_VERSION,
        "ray_audit.run_id": inputs.run_id,
        "ray_audit.protocol": inputs.config.protocol,
        "ray_audit.vog_target": inputs.config.vog.target,
        "ray_audit.labels_digest": inputs.listing.labels_digest,
        "ray_audit.last_checkpoint": inputs.checkpoints[-1].digest,
    }


def _summarise(
    config: AuditConfig, wanted: Wanted, chunk: tuple[int, tuple[UnitFiles, ...]]
) -> Summary:
    summary = Summary.empty()
    for files in chunk[1]:
        summary = summary.merge(summarise(load_samples(files, wanted), config))
    return summary


def _finish(
    config: AuditConfig,
    wanted: Wanted,
    summary: Summary,
    metadata: dict[str, str],
    run_uri: str,
    chunk: tuple[int, tuple[UnitFiles, ...]],
) -> PartOutcome:
    number, units = chunk
    made = [unit_tables(load_samples(files, wanted), config, summary, metadata) for files in units]
    tables = {name: pa.concat_tables([getattr(one, name) for one in made]) for name in _TABLES}
    return PartOutcome(
        files={name: write_table(run_uri, name, number, table) for name, table in tables.items()},
        num_scored=tables["scores"].num_rows,
        failed=_failed_by_stage(tables["errors"]),
        filtered=dict(Counter(tables["filtered"]["reason"].to_pylist())),
        top=_top_rows(tables["scores"]),
    )


def _failed_by_stage(errors: pa.Table) -> dict[str, int]:
    failed: Counter[str] = Counter()
    for row in errors.select(["stage", "num_samples"]).to_pylist():
        failed[row["stage"]] += row["num_samples"]
    return dict(failed)


def _top_rows(scores: pa.Table) -> list[dict[str, Any]]:
    names = [name for name in _TOP_COLUMNS if name in scores.column_names]
    order = pa.compute.sort_indices(
        scores.select(["suspicion", "sample_id"]),
        sort_keys=[("suspicion", "descending"), ("sample_id", "ascending")],
    )
    rows: list[dict[str, Any]] = scores.select(names).take(order[:_NUM_TOP]).to_pylist()
    return rows


def _largest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return heapq.nsmallest(
        _NUM_TOP, rows, key=lambda row: (-(row["suspicion"] or 0.0), row["sample_id"])
    )
