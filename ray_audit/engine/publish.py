"""From committed records to the tables of a run: passes over the units, none of it global.

The first pass folds every unit into a small summary of the dataset; the second finishes each
unit's rows with it; then findings are made from these. Rows are written where they are made; the
driver sees counts and ten rows.
"""

import heapq
import platform
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import groupby
from typing import Any, Self

import pyarrow as pa

from ray_audit.config import AuditConfig
from ray_audit.engine import ledger
from ray_audit.engine.assemble import UnitFiles, load_samples, unit_failures
from ray_audit.engine.finish import class_pairs_table, class_stats_table, unit_tables
from ray_audit.engine.found import FindingsContext, write_findings
from ray_audit.engine.ledger import SetFiles, Wanted
from ray_audit.engine.mapper import Item, Mapper
from ray_audit.engine.plan import Inputs, Plan, numeric_settings
from ray_audit.engine.recount import Recounted, flagged_pixels
from ray_audit.engine.summary import Summary, merged, summarise
from ray_audit.engine.unit_scores import is_dense, is_sequence, split_non_finite
from ray_audit.engine.whole import load_whole
from ray_audit.errors import RunError
from ray_audit.findings.images import ImageContext
from ray_audit.findings.regions import MaskContext
from ray_audit.findings.segments import SegmentContext
from ray_audit.samples import ShardFailure
from ray_audit.schemas import SCHEMA_VERSION
from ray_audit.scores.label_noise import NoiseEstimate
from ray_audit.scores.memorisation import FitState
from ray_audit.scores.recount import ExactCutoff
from ray_audit.tables.manifest import Manifest
from ray_audit.tables.store import TableFile, write_table

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
    fit: FitState | None
    top: list[dict[str, Any]]


@dataclass
class PartTotals:
    """What all finishing tasks told, added up in their order."""

    tables: dict[str, list[TableFile]]
    filtered: Counter[str]
    num_scored: int = 0
    num_failed: int = 0
    fit: FitState | None = None
    top: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, outcomes: Iterable[PartOutcome]) -> Self:
        """Fold the outcomes."""
        totals = cls({name: [] for name in _TABLES}, Counter())
        for outcome in outcomes:
            for name, file in outcome.files.items():
                totals.tables.setdefault(name, []).append(file)
            totals.filtered.update(outcome.filtered)
            totals.num_scored += outcome.num_scored
            totals.num_failed += outcome.num_failed
            totals.top = _largest([*totals.top, *outcome.top])
            totals.fit = merged(totals.fit, outcome.fit)
        return totals

    def counts(self) -> dict[str, Any]:
        """Samples by outcome; they add up."""
        num_filtered = self.filtered.total()
        return {
            "entered": self.num_scored + num_filtered + self.num_failed,
            "scored": self.num_scored,
            "filtered": num_filtered,
            "failed": self.num_failed,
            "filtered_by_reason": dict(sorted(self.filtered.items())),
        }

    def memorisation(self, dense: bool) -> dict[str, Any]:
        """How far suspicious labels were fitted, for the manifest; empty where nothing scored."""
        return asdict(self.fit.finish(dense)) if self.fit is not None else {}


@dataclass(frozen=True)
class Draft:
    """Everything a manifest needs, before it is written."""

    inputs: Inputs
    tables: dict[str, list[TableFile]]
    counts: dict[str, Any]
    findings: dict[str, Any]
    estimate: dict[str, Any]
    memorisation: dict[str, Any]
    order: dict[str, Any]
    top: list[dict[str, Any]]
    top_findings: list[dict[str, Any]]
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
            checkpoints=[
                {"name": c.name, "uri": c.uri, "digest": c.digest} for c in self.inputs.checkpoints
            ],
            labels_digest=self.inputs.listing.labels_digest,
            numeric=numeric_settings(config),
            plan={**layout, "num_shards": len(self.inputs.listing.shards)}
            | {"num_new": plan.num_new, "num_reused": plan.num_reused}
            | {"num_slices": plan.num_slices, "num_lead_in": plan.num_lead_in},
            tables=self.tables,
            timing=timing,
            versions={"python": platform.python_version()}
            | {name: version(name) for name in _LIBRARIES},
            findings=self.findings,
            estimate=self.estimate,
            memorisation=self.memorisation,
            order=self.order,
            top=self.top,
            top_findings=self.top_findings,
            notes=self.notes,
            breached_gates=breached,
        )


def summarise_dataset(
    mapper: Mapper, inputs: Inputs, files: list[tuple[UnitFiles, ...]]
) -> Summary:
    """First pass over the records."""
    summary = Summary.empty()
    step = partial(_summarise, inputs.config, inputs.wanted)
    for partial_summary in mapper.map(step, _chunks(files)):
        summary = summary.merge(partial_summary)
    return summary


def publish(
    mapper: Mapper,
    inputs: Inputs,
    files: list[tuple[UnitFiles, ...]],
    summary: Summary,
    recounted: Recounted | None,
) -> Draft:
    """Write all tables of a run but its manifest: the second pass over the records."""
    config, metadata = inputs.config, _file_metadata(inputs)
    exact = recounted.cutoff if recounted else None
    recounts = recounted.files if recounted else {}
    finish = partial(_finish, config, inputs.wanted, summary, exact, metadata, inputs.run_uri)
    # Masks, which alone are recounted, are never cut into slices.
    pairs = [(one, recounts.get(one[0].unit_id)) for one in files]
    parts = PartTotals.of(mapper.map(finish, enumerate(_chunks(pairs))))
    tables, classes = parts.tables, config.dataset.classes
    stats = class_stats_table(summary.confusion, summary.thresholds, classes, metadata)
    for name, table in (
        ("class_stats", stats),
        ("class_pairs", class_pairs_table(summary.confusion, classes, metadata)),
    ):
        tables[name] = [write_table(inputs.run_uri, name, 0, table)]
    estimate = summary.estimate
    wrong_fraction = estimate.wrong_fraction if estimate is not None else 0.0
    context = _findings_context(inputs, metadata, summary, wrong_fraction)
    found = write_findings(mapper, context, tables["scores"], tables.get("regions"))
    tables["findings"] = found.files
    return Draft(
        inputs,
        tables,
        parts.counts(),
        found.summary.counts(),
        {} if estimate is None else _estimate(estimate, config),
        parts.memorisation(is_dense(config)),
        summary.order.described(),
        parts.top,
        found.top,
        list(inputs.listing.notes),
    )


def _findings_context(
    inputs: Inputs, metadata: dict[str, str], summary: Summary, wrong_fraction: float
) -> FindingsContext:
    config, classes = inputs.config, tuple(inputs.config.dataset.classes)
    if is_dense(config):
        thresholds = summary.thresholds
        last = None if thresholds is None else thresholds[-1]
        return FindingsContext(inputs.run_uri, metadata, MaskContext(classes, last))
    if not is_sequence(config):
        return FindingsContext(inputs.run_uri, metadata, ImageContext(wrong_fraction))
    cutoff = None
    if wrong_fraction > 0:
        cutoff = summary.ranks["csl_segment"].quantile(1.0 - wrong_fraction)
    order = summary.order.statistics if summary.order.is_strict else None
    segments = SegmentContext(classes, order, wrong_fraction, cutoff)
    return FindingsContext(inputs.run_uri, metadata, segments)


def _estimate(estimate: NoiseEstimate, config: AuditConfig) -> dict[str, Any]:
    """For the manifest."""
    unit = "pixels" if is_dense(config) else "frames" if is_sequence(config) else "samples"
    return {
        "num_wrong": estimate.num_wrong,
        "low": estimate.low,
        "high": estimate.high,
        "fraction": estimate.wrong_fraction,
        "unit": unit,
        "by_suggested": dict(zip(config.dataset.classes, estimate.by_other.tolist(), strict=True)),
    }


def _chunks(items: list[Item]) -> list[tuple[Item, ...]]:
    starts = range(0, len(items), _UNITS_PER_PART)
    return [tuple(items[start : start + _UNITS_PER_PART]) for start in starts]


def unit_files(inputs: Inputs) -> list[tuple[UnitFiles, ...]]:
    """Where the records of each unit lie; those of a video's slices together: segments cross them.

    Raises:
        RunError: a unit's records are not all there.
    """
    output = inputs.config.output
    sets = ledger.read_sets(output)
    done = ledger.completed(output, accept_retries=True)
    files: list[UnitFiles] = []
    for unit in inputs.units:
        held = done.get(unit.unit_id, {})
        have = [sets[set_id] for set_id in held if set_id in sets]
        if inputs.wanted.missing_from(have):
            raise RunError(
                f"records of work unit {unit.unit_id} ({unit.shards[0].key}) are not all there: "
                "run again; what was committed is reused"
            )
        files.append(UnitFiles.choose(unit.unit_id, sets, held, inputs.wanted))
    together = groupby(zip(inputs.units, files, strict=True), lambda pair: pair[0].whole)
    return [tuple(one for _, one in group) for _, group in together]


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


def _summarise(
    config: AuditConfig, wanted: Wanted, units: tuple[tuple[UnitFiles, ...], ...]
) -> Summary:
    summary = Summary.empty()
    for files in units:
        summary = summary.merge(summarise(load_whole(files, wanted), config))
    return summary


def _finish(
    config: AuditConfig,
    wanted: Wanted,
    summary: Summary,
    exact: ExactCutoff | None,
    metadata: dict[str, str],
    run_uri: str,
    chunk: tuple[int, tuple[tuple[tuple[UnitFiles, ...], SetFiles | None], ...]],
) -> PartOutcome:
    number, units = chunk
    made = []
    for files, recount in units:
        samples, flagged = load_whole(files, wanted), None
        if exact is not None and recount is not None and samples.num_samples:
            flagged = flagged_pixels(samples.identity["sample_id"].to_pylist(), recount, exact)
        made.append(unit_tables(samples, config, summary, flagged, metadata))
    names = (*_TABLES, "regions") if is_dense(config) else _TABLES
    tables = {name: pa.concat_tables([getattr(one, name) for one in made]) for name in names}
    fit: FitState | None = None
    for one in made:
        fit = merged(fit, one.fit)
    return PartOutcome(
        files={name: write_table(run_uri, name, number, table) for name, table in tables.items()},
        num_scored=tables["scores"].num_rows,
        num_failed=sum(tables["errors"]["num_samples"].to_pylist()),
        filtered=dict(Counter(tables["filtered"]["reason"].to_pylist())),
        fit=fit,
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
