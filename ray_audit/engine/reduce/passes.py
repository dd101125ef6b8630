"""The two passes over records, as tasks: some units to a summary, and then to parts of tables."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import pyarrow as pa

from ray_audit.config import AuditConfig
from ray_audit.engine.backends.base import Held
from ray_audit.engine.ledger.crates import SetFiles
from ray_audit.engine.ledger.record_sets import RequiredRecords
from ray_audit.engine.reduce.load import HeldRecords, UnitFiles, kept_records, read_before
from ray_audit.engine.reduce.remarks import Remarks
from ray_audit.engine.reduce.second_pass import flagged_pixels
from ray_audit.engine.reduce.summary import Summary, summarise
from ray_audit.engine.reduce.unit_tables import unit_tables
from ray_audit.engine.reduce.video_slices import load_whole
from ray_audit.samples import ShardFailure
from ray_audit.scores.memorisation import FitState
from ray_audit.scores.recount import ExactCutoff
from ray_audit.tables.store import TableFile, write_table

_NUM_TOP = 10
_TABLES = ("scores", "trajectories", "filtered", "errors")
_TOP_COLUMNS = ("sample_id", "suspicion", "label_name", "predicted_name", "csl", "softmin")


@dataclass(frozen=True)
class PartOutcome:
    """What one finishing task tells the driver.

    `num_reached` are the checkpoints that its samples passed, together; `num_whole` the samples
    that passed all; `lost` the shards that failed, where other folds may tell of the same.
    """

    files: dict[str, TableFile]
    num_scored: int
    failed: dict[str, int]
    filtered: dict[str, int]
    fit: FitState | None
    top: list[dict[str, Any]]
    num_reached: int
    num_whole: int
    remarks: Remarks
    lost: tuple[ShardFailure, ...] = ()


@dataclass
class PartTotals:
    """What all finishing tasks told, added up in their order."""

    tables: dict[str, list[TableFile]]
    filtered: Counter[str]
    num_scored: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    fit: FitState | None = None
    top: list[dict[str, Any]] = field(default_factory=list)
    num_reached: int = 0
    num_whole: int = 0
    remarks: Remarks = field(default_factory=Remarks)
    lost: list[ShardFailure] = field(default_factory=list)

    @classmethod
    def of(cls, outcomes: Iterable[PartOutcome]) -> Self:
        """Fold the outcomes."""
        totals = cls({name: [] for name in _TABLES}, Counter())
        for outcome in outcomes:
            for name, file in outcome.files.items():
                totals.tables.setdefault(name, []).append(file)
            totals.filtered.update(outcome.filtered)
            totals.num_scored += outcome.num_scored
            totals.num_reached += outcome.num_reached
            totals.num_whole += outcome.num_whole
            totals.failed.update(outcome.failed)
            totals.remarks.add(outcome.remarks)
            totals.lost += outcome.lost
            totals.top = _largest([*totals.top, *outcome.top])
            totals.fit = _merged(totals.fit, outcome.fit)
        return totals

    def counts(self) -> dict[str, Any]:
        """Samples by outcome, which add up, and how many came through each stage."""
        failed, num_filtered = self.failed, self.filtered.total()
        num_probed = self.num_scored + failed["scores"]
        return {
            "entered": self.num_scored + num_filtered + failed.total(),
            "decoded": num_probed + failed["probe"],
            "probed": num_probed,
            "scored": self.num_scored,
            "filtered": num_filtered,
            "failed": failed.total(),
            "filtered_by_reason": dict(sorted(self.filtered.items())),
            "failed_by_stage": {stage: num for stage, num in sorted(failed.items()) if num},
        }

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The most suspicious samples, and none of equals that do not all fit.

        An order among equals would be that of their names.
        """
        if len(self.top) <= _NUM_TOP:
            return self.top
        left_out = self.top[_NUM_TOP]["suspicion"]
        return [row for row in self.top[:_NUM_TOP] if row["suspicion"] != left_out]

    def memorisation(self, dense: bool) -> dict[str, Any]:
        """How far suspicious labels were fitted, for the manifest; empty where nothing scored."""
        if self.fit is None:
            return {}
        # What is not known is null: NaN is no JSON.
        judged = asdict(self.fit.finish(dense))
        return {key: None if value != value else value for key, value in judged.items()}


def summarise_part(
    config: AuditConfig,
    required: RequiredRecords,
    room_bytes: int,
    units: tuple[tuple[UnitFiles, ...], ...],
) -> tuple[Summary, HeldRecords]:
    """First pass over some units; gives also what it has read, as far as there is room for it."""
    summary, kept = Summary(config.dataset.task), kept_records(room_bytes)
    for files in units:
        summary = summary.merge(summarise(load_whole(files, required, kept), config))
    return summary, kept.taken()


def finish_part(
    config: AuditConfig,
    dataset: Mapping[str, Any],
    exact: ExactCutoff | None,
    metadata: dict[str, str],
    run_uri: str,
    is_of_folds: bool,
    chunk: tuple[
        int,
        tuple[RequiredRecords, Held[HeldRecords]],
        tuple[tuple[tuple[UnitFiles, ...], SetFiles | None], ...],
    ],
) -> PartOutcome:
    """Second pass over some units: write their part of each table.

    Shards that failed are told and not written where the units are of folds: each tells its part.
    """
    number, (required, held), units = chunk
    kept = read_before(held.value())
    made, remarks = [], Remarks()
    lost: list[ShardFailure] = []
    for files, recount in units:
        samples, flagged = load_whole(files, required, kept), None
        if is_of_folds:
            lost += [failure for failure in samples.failures if failure.sample_id is None]
            of_samples = tuple(f for f in samples.failures if f.sample_id is not None)
            samples = replace(samples, failures=of_samples)
        remarks.add(Remarks.of({remark: None for tail in samples.tails for remark in tail.remarks}))
        if exact is not None and recount is not None and samples.num_samples:
            flagged = flagged_pixels(samples.identity["sample_id"].to_pylist(), recount, exact)
        made.append(unit_tables(samples, config, dataset, flagged, metadata))
    names = (*_TABLES, "regions", "areas") if config.dataset.task.is_dense else _TABLES
    tables = {name: pa.concat_tables([getattr(part, name) for part in made]) for name in names}
    reached = tables["scores"]["num_checkpoints"].to_numpy()
    fit: FitState | None = None
    for part in made:
        fit = _merged(fit, part.fit)
    return PartOutcome(
        files={name: write_table(run_uri, name, number, table) for name, table in tables.items()},
        num_scored=tables["scores"].num_rows,
        failed=_failed_by_stage(tables["errors"]),
        filtered=dict(Counter(tables["filtered"]["reason"].to_pylist())),
        fit=fit,
        top=_top_rows(tables["scores"]),
        num_reached=int(reached.sum()),
        num_whole=int((reached == len(required.checkpoints)).sum()),
        remarks=remarks,
        lost=tuple(lost),
    )


def _merged(first: FitState | None, other: FitState | None) -> FitState | None:
    if first is None or other is None:
        return other if first is None else first
    return first.merge(other)


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
    rows: list[dict[str, Any]] = scores.select(names).take(order[: _NUM_TOP + 1]).to_pylist()
    return rows


def _largest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # One more than is shown: it tells whether equals of the last one are left out.
    return heapq.nsmallest(
        _NUM_TOP + 1, rows, key=lambda row: (-(row["suspicion"] or 0.0), row["sample_id"])
    )
