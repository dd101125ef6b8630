"""Corrects the labels of a run's dataset: new labels in a new place, what changed, and why."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from ray_audit import storage
from ray_audit.claims import Claim
from ray_audit.config import AuditConfig
from ray_audit.corrections.agreement import Image, agreement
from ray_audit.corrections.audited import audited_labels, suspicion_histogram
from ray_audit.corrections.corrections_table import CorrectionRow, CorrectionsTable
from ray_audit.corrections.flagged import COLUMNS, flagged_intents, is_flagged
from ray_audit.corrections.intents import FINDING_COLUMNS, Intent, check_decisions, intents_of
from ray_audit.corrections.mask_corrections import MaskWork, correct_masks
from ray_audit.corrections.mask_orders import mask_orders
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.corrections.rules import CorrectionPlan, resolve
from ray_audit.corrections.sample_corrections import correct_classes, correct_sequences
from ray_audit.corrections.unseen_labels import weighed
from ray_audit.corrections.write_labels import (
    check_masks,
    check_writable,
    write_labels,
    written_masks,
)
from ray_audit.corrections.write_specification import write_specification
from ray_audit.corrections.wrong_labels import WrongLabels, wrong_labels
from ray_audit.engine.backends.base import Mapper
from ray_audit.errors import SpecificationError
from ray_audit.findings.decisions import Decision, MergedDecisions, merge
from ray_audit.findings.kept_decisions import kept_decisions
from ray_audit.formats.label_changes import Progress, WrittenLabels
from ray_audit.formats.labels.given import GivenLabels
from ray_audit.formats.places import absolute
from ray_audit.sample_ids import Owner
from ray_audit.sources import Listing
from ray_audit.sources.destinations import check_destination
from ray_audit.tables.run_tables import RunTables
from ray_audit.tables.trajectories import losses_of

_IMAGE = ("shard", "sample_id")


@dataclass(frozen=True)
class CorrectionOutcome:
    """What was corrected, or would be.

    Attributes:
        run_id: whose findings.
        to_uri: the folder that was filled.
        rule: that was used.
        labels: what they belong to: dense, frames or class.
        confidence: of the gate.
        segment_confidence: of the gate of segments that are wrong as a whole; None: the same.
        memorised: whether the given labels count as memorised.
        checkpoints: whose probabilities were looked up again, by name.
        num_changed: pixels, frames or images with a new label.
        pairs: class before, class after, and how many.
        num_harmed: expected right labels among those that the rule changed.
        outcomes: outcome -> findings or samples.
        named: the first of what was refused, disputed, in conflict or unmatched.
        ignored_decisions: findings that reviewers decided and the run does not have.
        spec: the specification that reads the new labels; None in a dry run.
        table: the corrections table beside them; None in a dry run.
        notes: what the user should know.
        wrong: share of labels that are wrong before and afterwards, estimated, and whether that is
            a lower bound; None where the run does not say.
    """

    run_id: str
    to_uri: str
    rule: str
    labels: str
    confidence: float
    segment_confidence: float | None
    memorised: bool
    checkpoints: tuple[str, ...]
    num_changed: int
    pairs: list[dict[str, Any]]
    num_harmed: float
    outcomes: dict[str, int]
    named: dict[str, list[str]]
    ignored_decisions: tuple[str, ...]
    spec: str | None
    table: str | None
    notes: tuple[str, ...]
    wrong: WrongLabels | None


def correct(
    tables: RunTables,
    open_mapper: Callable[[], Mapper],
    to_uri: str,
    options: CorrectionOptions,
    decisions: Sequence[Decision] = (),
    *,
    dry_run: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> CorrectionOutcome:
    """Correct labels by a run's findings; the originals are never touched.

    Args:
        tables: of the run.
        open_mapper: gives the engine, once everything that can be refused has been checked.
        to_uri: an empty folder: gets the labels (or the data, where the labels lie in them),
            `corrections.parquet` and, last, `spec.yaml`.
        options: the rule and its limits.
        decisions: of reviewers, beside those that are saved in the runs of the output.
        dry_run: find out what would change; write nothing.
        progress: told how far the work is.

    Raises:
        SpecificationError: refused before any work: see `resolve` and `check_writable`; or the
            labels are not those that were audited.
        StorageError: something cannot be read or written.
    """
    to_uri = absolute(to_uri)
    check_destination(tables.config, to_uri, "--to")
    resolved = resolve(options, tables)
    if tables.task.is_dense and resolved.mask_rule is not None:
        tables.check_trusted()
    kept = kept_decisions(tables)
    merged = merge([*kept.rows, *decisions])
    check_decisions(merged, resolved.writable)
    with tempfile.TemporaryDirectory(prefix="ray-audit-") as folder:
        progress("listing", 0, 1)
        listing = audited_labels(tables, Path(folder))
        listing = replace(listing, notes=(*listing.notes, *kept.notes))
        check_writable(tables.config.dataset, listing, to_uri)
        made_of = (tables, resolved, merged, kept.gone, listing)
        work = _Work(*made_of, folder, to_uri, dry_run, progress)
        if dry_run:
            work.do(open_mapper())
        else:
            with Claim(to_uri, _purpose(tables, options, merged)).held() as claim:
                written = work.do(open_mapper())
                if written is not None:
                    write_specification(_as_given(tables), written, to_uri, claim)
    return work.outcome()


def _as_given(tables: RunTables) -> AuditConfig:
    """The specification that the run is of; one over folds says held_out, whatever that says."""
    if not tables.num_folds:
        return tables.config
    # What its `checkpoints` name without folds is trained on all labels.
    return tables.config.model_copy(update={"protocol": "training"})


def _purpose(
    tables: RunTables, options: CorrectionOptions, decisions: MergedDecisions
) -> dict[str, str]:
    """What makes two calls the same: the same labels come of them."""
    given = {name: str(value) for name, value in vars(options).items() if value is not None}
    decided = storage.digest(sorted(map(repr, decisions.agreed.items())), decisions.disputed)
    return {"correct": tables.run_uri, **given, "decisions": decided[:8]}


class _Work:
    def __init__(
        self,
        tables: RunTables,
        resolved: CorrectionPlan,
        decisions: MergedDecisions,
        gone: Sequence[dict[str, Any]],
        listing: Listing,
        folder: str,
        to_uri: str,
        dry_run: bool,
        progress: Progress,
    ) -> None:
        self._tables = tables
        self._resolved = resolved
        self._decisions = decisions
        self._gone = gone
        self._listing = listing
        self._folder = folder
        self._to_uri = to_uri
        self._dry_run = dry_run
        self._progress = progress
        self._checkpoints = self._names_of(resolved.steps)
        self._table = self._new_table()
        self._ignored: tuple[str, ...] = ()
        self._wrong_early: tuple[float, float] | None = None
        self._notes = [*resolved.notes, *listing.notes]

    def do(self, mapper: Mapper) -> WrittenLabels | None:
        """Change labels and write the table; None in a dry run."""
        findings = self._findings()
        if self._tables.task.is_dense:
            return self._masks(mapper, findings)
        intents = [*findings, *self._flagged_samples(mapper)]
        classes = self._tables.config.dataset.classes
        if self._tables.task.has_one_label:
            changes, rows = correct_classes(intents, classes, self._owners_of(intents))
            self._check_share(rows)
        else:
            given = GivenLabels(self._tables.config.dataset, self._listing.shards, self._folder)
            max_changed = self._resolved.options.max_changed_fraction
            changes, rows = correct_sequences(intents, classes, given, max_changed, self._progress)
        written = None
        if not self._dry_run:
            dataset, listing = self._tables.config.dataset, self._listing
            written = write_labels(dataset, listing, changes, self._to_uri, self._progress)
            self._notes += written.notes
            rows = [_as_written(row, written) for row in rows]
        self._table.take(rows)
        return written

    def _owners_of(self, intents: list[Intent]) -> dict[str, Owner]:
        """What the label of each image or video belongs to: its file, or its key in a container."""
        keys = {shard.key for shard in self._listing.shards}
        known = (intent for intent in intents if intent.shard in keys)
        return {i.sample_id: Owner.of_sample(i.shard, i.sample_id) for i in known}

    def _new_table(self) -> CorrectionsTable:
        return CorrectionsTable(self._to_uri, self._tables.run_uri, self._metadata(), self._dry_run)

    def _names_of(self, steps: Sequence[Sequence[str]]) -> tuple[str, ...]:
        """Names of the checkpoints that predict."""
        uris = {uri for step in steps for uri in step}
        checkpoints = self._tables.manifest.checkpoints
        return tuple(checkpoint["name"] for checkpoint in checkpoints if checkpoint["uri"] in uris)

    def _findings(self) -> list[Intent]:
        """Intents of all findings, and which decisions are of none of them."""
        tables, resolved = self._tables, self._resolved
        rows: list[dict[str, Any]] = tables.findings().select(FINDING_COLUMNS).to_pylist()
        if not rows:
            self._notes.append("The run has no findings")
        elif resolved.gate.weighed_by is not None:
            rows = weighed(rows, tables, resolved.gate.weighed_by)
        rows += self._gone
        decided = {*self._decisions.agreed, *self._decisions.disputed}
        self._ignored = tuple(sorted(decided - {row["finding_id"] for row in rows}))
        rule = resolved.rule
        return list(intents_of(rows, self._decisions, rule, resolved.gate, resolved.writable))

    def _flagged_parts(self, mapper: Mapper, columns: tuple[str, ...]) -> Iterator[pa.Table]:
        """Rows of the most suspicious samples, part by part."""
        if self._resolved.rule != "flagged":
            return
        wrong = self._resolved.wrong_masks
        if wrong is not None:
            for file, losses in self._tables.parts("scores", "trajectories"):
                is_wrong = wrong.holds(losses_of(self._tables.read(losses, ["loss"])))
                yield self._tables.read(file, list(columns)).filter(pa.array(is_wrong))
            return
        histogram = suspicion_histogram(self._tables, mapper)
        num = int(self._resolved.flagged_fraction * histogram.counts.sum())
        for (file,) in self._tables.parts("scores"):
            part = self._tables.read(file, list(columns))
            yield part.filter(pa.array(is_flagged(part["suspicion"], histogram, num)))

    def _flagged_samples(self, mapper: Mapper) -> Iterator[Intent]:
        every = self._tables.config.dataset.clip.every
        for part in self._flagged_parts(mapper, COLUMNS):
            yield from flagged_intents(part, self._resolved.gate, self._resolved.writable, every)

    def _check_share(self, rows: list[CorrectionRow]) -> None:
        """One label per image: the share that a rule may change is that of the dataset."""
        max_changed = self._resolved.options.max_changed_fraction
        scored = int(self._tables.manifest.counts["scored"])
        num = sum(row.num_changed for row in rows if row.rule != "decisions")
        if max_changed is not None and num > max_changed * scored:
            raise SpecificationError(
                f"{num} of {scored} labels would change, more than {max_changed:.0%}: look at the "
                "findings first, or give --allow-large-changes"
            )

    def _masks(self, mapper: Mapper, findings: list[Intent]) -> WrittenLabels | None:
        resolved, dataset = self._resolved, self._tables.config.dataset
        digest = self._tables.manifest.labels_digest or "none"
        work = MaskWork(
            self._tables.config,
            storage.join(self._tables.config.output, "labels", digest),
            resolved.mask_rule,
            resolved.steps,
            resolved.options.max_changed_fraction,
            None if self._dry_run else self._to_uri,
        )
        shards = self._listing.shards
        flagged = list(self._flagged_images(mapper))
        if resolved.wrong_masks is not None and flagged:
            work, flagged = self._calibrated(mapper, work, flagged)
            self._table = self._new_table()  # says which checkpoints were chosen
        orders = list(mask_orders(shards, findings, flagged, only_affected=self._dry_run))
        affected = (s for order in orders for s in order.unit.shards if s.key in order.by_shard)
        check_masks(dataset, affected, {name for order in orders for name in order.intents})

        def rows() -> Iterator[CorrectionRow]:
            looks = work.rule is not None
            made_of_each = mapper.map(partial(correct_masks, work), orders, on_gpu=looks)
            for num_done, made in enumerate(made_of_each, 1):
                self._progress("correcting masks", num_done, len(orders))
                yield from made

        self._table.take(rows())
        if self._dry_run:
            return None
        return written_masks(dataset, self._listing.shards, self._to_uri)

    def _calibrated(
        self, mapper: Mapper, work: MaskWork, flagged: list[Image]
    ) -> tuple[MaskWork, list[Image]]:
        """Predictions that say of the other masks what these say; which masks they better."""
        tables, options = self._tables, self._resolved.options
        parts = (tables.read(file, list(_IMAGE)) for (file,) in tables.parts("scores"))
        images = [image for part in parts for image in _images(part)]
        flag_again = options.flagged_fraction is None
        found = agreement(
            mapper, work, self._listing.shards, flagged, images, flag_again=flag_again
        )
        self._checkpoints = self._names_of(found.work.steps)
        self._notes.append(
            f"The last checkpoints have learnt the labels that look wrong: {len(found.flagged)} "
            f"masks change by {', '.join(self._checkpoints)}, which promise most"
        )
        gain = found.window.gain
        if gain is not None:
            self._notes.append(gain.sentence(*found.num_looked_at))
        if options.is_open and (gain is None or not gain.is_clear):
            self._notes.append("So nothing changes; --rule flagged changes them nevertheless")
            return found.work, []
        self._wrong_early = found.wrong_of(len(images))
        return found.work, found.flagged

    def _flagged_images(self, mapper: Mapper) -> Iterator[Image]:
        """The images that are not confined to findings."""
        parts = self._flagged_parts(mapper, (*_IMAGE, "suspicion"))
        if self._resolved.rule == "adele":
            tables = self._tables
            parts = (tables.read(file, list(_IMAGE)) for (file,) in tables.parts("scores"))
        for part in parts:
            yield from _images(part)

    def _metadata(self) -> dict[str, str]:
        manifest, resolved = self._tables.manifest, self._resolved
        return {
            "ray_audit.run_id": manifest.run_id,
            "ray_audit.labels_digest": manifest.labels_digest,
            "ray_audit.rule": resolved.rule,
            "ray_audit.confidence": f"{resolved.gate.confidence:g}",
            "ray_audit.memorised": str(resolved.gate.memorised),
            "ray_audit.checkpoints": ", ".join(self._checkpoints),
            "ray_audit.to": self._to_uri,
        }

    def outcome(self) -> CorrectionOutcome:
        """What became of everything."""
        totals, resolved = self._table.totals, self._resolved
        num = totals.pairs.total()
        missed = 0.0 if resolved.gate.weighed_by is None else totals.p_neither
        pairs = [
            {"given": given, "corrected": corrected, "num": num}
            for (given, corrected), num in sorted(totals.pairs.items(), key=_by_falling_count)
        ]
        return CorrectionOutcome(
            run_id=self._tables.manifest.run_id,
            to_uri=self._to_uri,
            rule=resolved.rule,
            labels=self._tables.task.value,
            confidence=resolved.gate.confidence,
            segment_confidence=resolved.gate.of_segments,
            memorised=resolved.gate.memorised,
            checkpoints=self._checkpoints,
            num_changed=num,
            pairs=pairs,
            num_harmed=totals.num_harmed,
            outcomes=dict(sorted(totals.outcomes.items())),
            named=totals.named,
            ignored_decisions=self._ignored,
            spec=None if self._dry_run else storage.join(self._to_uri, "spec.yaml"),
            table=None if self._dry_run else self._table.uri,
            notes=tuple(self._notes),
            wrong=wrong_labels(self._tables, num, totals.num_harmed, missed, self._wrong_early),
        )


def _images(scores: pa.Table) -> Iterator[Image]:
    return zip(*(scores[name].to_pylist() for name in _IMAGE), strict=True)


def _by_falling_count(pair: tuple[tuple[str, str], int]) -> tuple[int, tuple[str, str]]:
    return -pair[1], pair[0]


def _as_written(row: CorrectionRow, written: WrittenLabels) -> CorrectionRow:
    """The row, or where its file was left out of the copy, that nothing changed."""
    why = written.left_out.get(row.shard)
    if why is None or row.outcome != "changed":
        return row
    return replace(row, outcome="unmatched", evidence=why, num_changed=0, num_harmed=None)
