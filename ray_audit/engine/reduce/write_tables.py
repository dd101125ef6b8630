"""From committed records to the tables of a run: passes over the units, none of it global.

The first pass folds every unit into a small summary of the dataset; the second finishes each
unit's rows with it; then findings are made from these. Rows are written where they are made; the
driver sees counts and ten rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from ray_audit.config import AuditConfig
from ray_audit.engine.backends.base import Held, Item, Mapper
from ray_audit.engine.ledger import record_sets
from ray_audit.engine.ledger.record_sets import RequiredRecords
from ray_audit.engine.planning.plan import Inputs
from ray_audit.engine.reduce.draft import draft_of
from ray_audit.engine.reduce.kept import MAX_BYTES
from ray_audit.engine.reduce.load import HeldRecords, UnitFiles, load_samples, named_failures
from ray_audit.engine.reduce.masks_context import masks_context
from ray_audit.engine.reduce.passes import PartTotals, finish_part, summarise_part
from ray_audit.engine.reduce.second_pass import Recounted
from ray_audit.engine.reduce.summary import Summary
from ray_audit.engine.reduce.unit_scores import split_non_finite
from ray_audit.engine.reduce.unit_tables import class_pairs_table, class_stats_table, errors_table
from ray_audit.engine.reduce.write_findings import FindingsContext, write_findings
from ray_audit.errors import RunError
from ray_audit.findings.image_findings import ImageContext
from ray_audit.findings.region_findings import MaskContext
from ray_audit.findings.segment_findings import SegmentContext
from ray_audit.measures.fit import fit_of
from ray_audit.measures.ranking import described, known_ranks, ranks_nothing
from ray_audit.samples import ShardFailure
from ray_audit.schemas import SCHEMA_VERSION
from ray_audit.scores.class_pairs import ClassPairs
from ray_audit.scores.label_noise import NoiseEstimate
from ray_audit.tables.manifest import Manifest
from ray_audit.tables.store import write_table

_UNITS_PER_PART = 16
_SHARDS_PER_PART = 1024
_TIES = "all samples tie: no score tells one from another, so none is to be looked at first"
_MAX_LOOKED_AT = 1000
_MAX_NAMED = 5
NUM_FIRST = 20
"""Failures that are named where a run has failed."""


@dataclass(frozen=True)
class Records:
    """Records of units by the same checkpoints.

    Attributes:
        required: the checkpoints, and what was taken of each.
        files: of each unit; those of a video's slices together: segments cross them.
        held: what the first pass has read of them, by chunk; none before it.
    """

    required: RequiredRecords
    files: list[tuple[UnitFiles, ...]]
    held: list[Held[HeldRecords]] = field(default_factory=list, compare=False)


def summarise_dataset(mapper: Mapper, config: AuditConfig, records: Sequence[Records]) -> Summary:
    """First pass over the records, which are held for the second as far as there is room."""
    summary = Summary(config.dataset.task)
    chunks = [_chunks(record.files, lambda files: files) for record in records]
    num_chunks = sum(map(len, chunks))
    room_bytes = min(MAX_BYTES, mapper.held_bytes // max(1, num_chunks))
    for record, of_record in zip(records, chunks, strict=True):
        step = partial(summarise_part, config, record.required, room_bytes)
        record.held.clear()
        for of_chunk, held in mapper.map_holding(step, of_record):
            summary = summary.merge(of_chunk)
            record.held.append(held)
    return summary


def publish(
    mapper: Mapper,
    inputs: Inputs,
    records: Sequence[Records],
    summary: Summary,
    recounted: Recounted | None,
) -> Manifest:
    """Write all tables of a run but its manifest: the second pass over the records."""
    config, metadata = inputs.config, _file_metadata(inputs)
    exact = recounted.cutoff if recounted else None
    recounts = recounted.files if recounted else {}
    dataset = summary.finish()
    is_of_folds = len(records) > 1
    finish = partial(finish_part, config, dataset, exact, metadata, inputs.run_uri, is_of_folds)
    chunks = []
    for record in records:
        # Masks, which alone are recounted, are never cut into slices.
        pairs = [(files, recounts.get(files[0].unit_id)) for files in record.files]
        of_record = _chunks(pairs, lambda pair: pair[0])
        chunks += [
            ((record.required, held), chunk)
            for held, chunk in zip(record.held, of_record, strict=True)
        ]
    numbered = ((number, *chunk) for number, chunk in enumerate(chunks))
    parts = PartTotals.of(mapper.map(finish, numbered))
    _write_lost(parts, inputs.run_uri, len(chunks), metadata)
    tables, task, classes = parts.tables, config.dataset.task, config.dataset.classes
    confusion, order = dataset.get("confusion"), dataset.get("order")
    fit = fit_of(task, len(classes), config.protocol, dataset.get("profile"), confusion)
    leave_early = inputs.required.rule is not None
    stats = class_stats_table(confusion, summary.thresholds, classes, metadata, leave_early)
    for name, table in (
        ("class_stats", stats),
        ("class_pairs", class_pairs_table(confusion, classes, metadata)),
    ):
        tables[name] = [write_table(inputs.run_uri, name, 0, table)]
    estimate = summary.estimate(config.protocol)
    wrong_fraction = estimate.wrong_fraction if estimate is not None else 0.0
    context = _findings_context(inputs, metadata, dataset, summary.thresholds, wrong_fraction)
    memorisation = parts.memorisation(task.is_dense)
    if task.is_dense:
        context = replace(context, masks=masks_context(mapper, inputs, tables, memorisation))
    companions = (tables.get("regions"), tables["trajectories"])
    found = write_findings(mapper, context, tables["scores"], *companions)
    tables["findings"] = found.files
    ranks = known_ranks(dataset.get("ranks"), dataset.get("components"))
    ties = [_TIES] if ranks_nothing(ranks, order, task) else []
    return replace(
        draft_of(inputs, tables),
        counts=parts.counts(),
        findings=found.summary.counts(),
        estimate={} if estimate is None else _estimate(estimate, config),
        memorisation=memorisation,
        order={} if order is None else order.described(fit.memorised),
        ranking=described(fit, task),
        top=[] if ties else parts.shown,
        top_findings=found.top,
        notes=[
            *inputs.listing.notes,
            *parts.remarks.notes(config),
            *_missing_columns(inputs),
            *ties,
            *_unlabelled_classes(confusion, config),
            *_uncounted(confusion, config),
            *_passes(inputs, parts),
        ],
    )


def _write_lost(parts: PartTotals, run_uri: str, number: int, metadata: dict[str, str]) -> None:
    """The shards that folds have lost, each once."""
    if parts.lost:
        lost = united_failures(parts.lost)
        parts.tables["errors"].append(
            write_table(run_uri, "errors", number, errors_table(tuple(lost), metadata))
        )
        for failure in lost:
            parts.failed[failure.stage] += failure.num_samples


def united_failures(failures: Iterable[ShardFailure]) -> list[ShardFailure]:
    """What several folds tell of one sample or shard as one: each counts its own samples."""
    united: dict[tuple[str | None, ...], ShardFailure] = {}
    for told in failures:
        key = (told.shard, told.sample_id, told.stage, told.error_class, told.message)
        other = united.get(key, replace(told, num_samples=0))
        united[key] = replace(
            told,
            num_samples=told.num_samples + other.num_samples,
            attempts=max(told.attempts, other.attempts),
        )
    return list(united.values())


def _findings_context(
    inputs: Inputs,
    metadata: dict[str, str],
    dataset: Mapping[str, Any],
    thresholds: np.ndarray | None,
    wrong_fraction: float,
) -> FindingsContext:
    config, classes = inputs.config, tuple(inputs.config.dataset.classes)
    if config.dataset.task.is_dense:
        last = None if thresholds is None else thresholds[-1]
        return FindingsContext(inputs.run_uri, metadata, MaskContext(classes, last))
    if not config.dataset.task.is_sequence:
        return FindingsContext(inputs.run_uri, metadata, ImageContext(wrong_fraction))
    cutoff = None
    if wrong_fraction > 0:
        cutoff = dataset["ranks"]["csl_segment"].quantile(1.0 - wrong_fraction)
    order = dataset.get("order")
    statistics = order.statistics if order is not None and order.is_used else None
    segments = SegmentContext(classes, statistics, wrong_fraction, cutoff)
    return FindingsContext(inputs.run_uri, metadata, segments)


def _estimate(estimate: NoiseEstimate, config: AuditConfig) -> dict[str, Any]:
    """For the manifest."""
    reason = ""
    if config.dataset.task.is_dense:
        reason = "pixels of an image are right or wrong together"
    elif config.protocol == "training":
        reason = "the checkpoints were trained on these labels, and may have learnt wrong ones"
    return {
        "num_wrong": estimate.num_wrong,
        "low": None if reason else estimate.low,
        "high": None if reason else estimate.high,
        "no_interval": reason,
        "fraction": estimate.wrong_fraction,
        "unit": config.dataset.task.element,
        "by_suggested": dict(zip(config.dataset.classes, estimate.by_other.tolist(), strict=True)),
    }


def _missing_columns(inputs: Inputs) -> Iterator[str]:
    """Why columns are null throughout, a sentence each."""
    window = inputs.required.vog[1:] if inputs.required.vog else None
    if window is not None and len(window) < 2:
        num = len(window)
        yield f"vog and vog_z are null: a spread needs 2 checkpoints, and the window has {num}"
    if len(inputs.checkpoints) < 2:
        yield "late_loss, loss_std, variability and forgetting are null: there is 1 checkpoint"
    if len(inputs.config.dataset.classes) < 2:
        yield "there is one class: no label can be suggested, and margins say nothing"


def _unlabelled_classes(confusion: ClassPairs | None, config: AuditConfig) -> Iterator[str]:
    """Classes that no sample is of, which may be a sign that numbers mean others."""
    classes = config.dataset.classes
    without = [] if confusion is None else np.flatnonzero(confusion.given()[-1] == 0).tolist()
    if without and len(without) < len(classes):
        shown = ", ".join(repr(classes[index]) for index in without[:_MAX_NAMED])
        yield (
            f"{len(without)} of {len(classes)} classes have no label: {shown}"
            f"{', ...' * (len(without) > _MAX_NAMED)}. Where there should be some, hold the order "
            "of dataset.classes, labels.first_value and labels.values against the files"
        )


def _uncounted(confusion: ClassPairs | None, config: AuditConfig) -> Iterator[str]:
    """What the estimate cannot count: wrong labels of classes that nothing is labelled as."""
    if confusion is None:
        return
    num_seen = np.where(confusion.given()[-1] == 0, confusion.predicted()[-1], 0)
    names = [config.dataset.classes[index] for index in np.flatnonzero(num_seen)]
    if names:
        shown = ", ".join(map(repr, names[:_MAX_NAMED])) + ", ..." * (len(names) > _MAX_NAMED)
        yield (
            f"the estimate of wrong labels leaves out {int(num_seen.sum())} "
            f"{config.dataset.task.element} that the last checkpoint sees as {shown}: no label is "
            "of that class, so it is not known how sure of it the checkpoint is where it is right"
        )


def _passes(inputs: Inputs, parts: PartTotals) -> Iterator[str]:
    """What an adaptive audit saved."""
    num_all = parts.num_scored * len(inputs.checkpoints)
    if inputs.required.rule is not None and num_all:
        yield (
            f"adaptive: {parts.num_whole} of {parts.num_scored} samples passed all "
            f"{len(inputs.checkpoints)} checkpoints, the others left early; "
            f"{parts.num_reached / num_all:.1%} of all passes of samples were made; what "
            "class_stats says of a checkpoint is of those that passed it"
        )


def _chunks(
    items: Iterable[Item], files_of: Callable[[Item], tuple[UnitFiles, ...]]
) -> list[tuple[Item, ...]]:
    """Work of one task, and rows of one file: 16 units, or fewer of many small files."""
    chunks: list[list[Item]] = [[]]
    num_shards = 0
    for item in items:
        if len(chunks[-1]) == _UNITS_PER_PART or num_shards >= _SHARDS_PER_PART:
            chunks.append([])
            num_shards = 0
        chunks[-1].append(item)
        num_shards += sum(file.num_shards for file in files_of(item))
    return [tuple(chunk) for chunk in chunks if chunk]


def records_of(inputs: Inputs) -> Records:
    """Where the records of each unit lie.

    Raises:
        RunError: a unit's records are not all there.
    """
    output = inputs.config.output
    sets = record_sets.read_sets(output)
    done = record_sets.completed(output, True, [unit.unit_id for unit in inputs.units])
    files: list[UnitFiles] = []
    for unit in inputs.units:
        set_files = done.get(unit.unit_id, {})
        have = [sets[set_id] for set_id in set_files if set_id in sets]
        if inputs.required.missing_from(have):
            raise RunError(
                f"records of work unit {unit.unit_id} ({unit.shards[0].key}) are not all there: "
                "run again; what was committed is reused"
            )
        chosen = UnitFiles.choose(unit.unit_id, sets, set_files, inputs.required)
        files.append(replace(chosen, num_shards=len(unit.shards)))
    together = groupby(zip(inputs.units, files, strict=True), lambda pair: pair[0].whole)
    return Records(
        inputs.required, [tuple(unit_files for _, unit_files in group) for _, group in together]
    )


def first_failures(inputs: Inputs, num: int = NUM_FIRST) -> list[ShardFailure]:
    """Some of the failures that are committed, for the report of a run that failed.

    Of each unit only what names failures is read. Losses that are not finite are in no name: they
    are looked for in the first units where nothing else has failed.
    """
    sets = record_sets.read_sets(inputs.config.output)
    unit_ids = [unit.unit_id for unit in inputs.units]
    done = record_sets.completed(inputs.config.output, True, unit_ids)
    chosen = [
        UnitFiles.choose(unit_id, sets, done.get(unit_id, {}), inputs.required)
        for unit_id in unit_ids
    ]
    failures: list[ShardFailure] = []
    for files in chosen[:_MAX_LOOKED_AT]:
        failures += named_failures(files)
        if len(failures) >= num:
            return failures[:num]
    for files in [] if failures else chosen[:_UNITS_PER_PART]:
        if not inputs.required.missing_from(files.sets):
            failures += split_non_finite(load_samples(files, inputs.required))[1]
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
