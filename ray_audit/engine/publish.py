"""From committed records to the tables of a run: two passes over the units, none of it global.

The first pass folds every unit into a small summary of the dataset; the second finishes each
unit's rows with it. Rows are written where they are made; the driver sees counts and ten rows.
"""

import heapq
import platform
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar

import pyarrow as pa

from ray_audit.config import AuditConfig
from ray_audit.engine import ledger
from ray_audit.engine.assemble import UnitFiles, load_samples, unit_failures
from ray_audit.engine.finish import class_stats_table, unit_tables
from ray_audit.engine.ledger import SetFiles, Wanted
from ray_audit.engine.plan import Inputs, Mapper, Plan, numeric_settings
from ray_audit.engine.recount import Recounted, flagged_pixels
from ray_audit.engine.summary import Summary, summarise
from ray_audit.engine.unit_scores import split_non_finite
from ray_audit.errors import RunError
from ray_audit.samples import ShardFailure
from ray_audit.schemas import SCHEMA_VERSION
from ray_audit.scores.recount import ExactCutoff
from ray_audit.tables.manifest import Manifest
from ray_audit.tables.store import TableFile, write_table

Item = TypeVar("Item")

_UNITS_PER_PART = 16
_NUM_TOP = 10
_TABLES = ("scores", "trajectories", "filtered", "errors")
_TOP_COLUMNS = ("sample_id", "suspicion", "label_name", "predicted_name", "csl", "softmin")
_LIBRARIES = ("ray-audit", "ray", "torch", "numpy", "pyarrow", "av", "pillow")


@dataclass(frozen=True)
class PartOutcome:
    """What one finishing task tells the driver."""

    files: dict[str, TableFile]
    num_scored: int
    num_failed: int
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


def summarise_dataset(mapper: Mapper, inputs: Inputs, files: list[UnitFiles]) -> Summary:
    """First pass over the records."""
    summary = Summary.empty()
    step = partial(_summarise, inputs.config, inputs.wanted)
    for partial_summary in mapper.map(step, _chunks(files)):
        summary = summary.merge(partial_summary)
    return summary


def publish(
    mapper: Mapper,
    inputs: Inputs,
    files: list[UnitFiles],
    summary: Summary,
    recounted: Recounted | None,
) -> Draft:
    """Write all tables of a run but its manifest: the second pass over the records."""
    config, metadata = inputs.config, _file_metadata(inputs)
    exact = recounted.cutoff if recounted else None
    recounts = recounted.files if recounted else {}
    finish = partial(_finish, config, inputs.wanted, summary, exact, metadata, inputs.run_uri)
    pairs = [(one, recounts.get(one.unit_id)) for one in files]
    tables: dict[str, list[TableFile]] = {name: [] for name in _TABLES}
    filtered: Counter[str] = Counter()
    top: list[dict[str, Any]] = []
    num_scored = num_failed = 0
    for outcome in mapper.map(finish, enumerate(_chunks(pairs))):
        for name, file in outcome.files.items():
            tables[name].append(file)
        filtered.update(outcome.filtered)
        num_scored += outcome.num_scored
        num_failed += outcome.num_failed
        top = _largest([*top, *outcome.top])
    classes = config.dataset.classes
    stats = class_stats_table(summary.confusion, summary.thresholds, classes, metadata)
    tables["class_stats"] = [write_table(inputs.run_uri, "class_stats", 0, stats)]
    counts = {
        "entered": num_scored + filtered.total() + num_failed,
        "scored": num_scored,
        "filtered": filtered.total(),
        "failed": num_failed,
        "filtered_by_reason": dict(sorted(filtered.items())),
    }
    return Draft(inputs, tables, counts, top, list(inputs.listing.notes))


def _chunks(items: list[Item]) -> list[tuple[Item, ...]]:
    starts = range(0, len(items), _UNITS_PER_PART)
    return [tuple(items[start : start + _UNITS_PER_PART]) for start in starts]


def unit_files(inputs: Inputs) -> list[UnitFiles]:
    """Where the records of each unit lie.

    Raises:
        RunError: a unit's records are not all there.
    """
    output = inputs.config.output
    sets = ledger.read_sets(output)
    done = ledger.completed(output, accept_retries=True)
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
    """Some of the failures that are committed, for the report of a run that failed."""
    sets = ledger.read_sets(inputs.config.output)
    done = ledger.completed(inputs.config.output, accept_retries=True)
    failures: list[ShardFailure] = []
    for unit in inputs.units:
        held = done.get(unit.unit_id, {})
        files = UnitFiles.choose(unit.unit_id, sets, held, inputs.wanted)
        if inputs.wanted.missing_from(files.sets):
            failures += unit_failures(files)
        else:
            samples = load_samples(files, inputs.wanted)
            failures += (*samples.failures, *split_non_finite(samples)[1])
        if len(failures) >= num:
            break
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


def _summarise(config: AuditConfig, wanted: Wanted, units: tuple[UnitFiles, ...]) -> Summary:
    summary = Summary.empty()
    for files in units:
        summary = summary.merge(summarise(load_samples(files, wanted), config))
    return summary


def _finish(
    config: AuditConfig,
    wanted: Wanted,
    summary: Summary,
    exact: ExactCutoff | None,
    metadata: dict[str, str],
    run_uri: str,
    chunk: tuple[int, tuple[tuple[UnitFiles, SetFiles | None], ...]],
) -> PartOutcome:
    number, units = chunk
    made = []
    for files, recount in units:
        samples, flagged = load_samples(files, wanted), None
        if exact is not None and recount is not None and samples.num_samples:
            flagged = flagged_pixels(samples.identity["sample_id"].to_pylist(), recount, exact)
        made.append(unit_tables(samples, config, summary, flagged, metadata))
    tables = {name: pa.concat_tables([getattr(one, name) for one in made]) for name in _TABLES}
    return PartOutcome(
        files={name: write_table(run_uri, name, number, table) for name, table in tables.items()},
        num_scored=tables["scores"].num_rows,
        num_failed=sum(tables["errors"]["num_samples"].to_pylist()),
        filtered=dict(Counter(tables["filtered"]["reason"].to_pylist())),
        top=_top_rows(tables["scores"]),
    )


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
