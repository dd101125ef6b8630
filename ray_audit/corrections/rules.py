"""Validates the options of a correction against the run, before any work starts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Self, get_args

import pyarrow as pa

from ray_audit import storage
from ray_audit.checkpoints.catalog import list_checkpoints
from ray_audit.corrections.extent import MAX_CHANGED_FRACTION
from ray_audit.corrections.flagged import below_one
from ray_audit.corrections.intents import Gate, Rule
from ray_audit.corrections.memorised import (
    EARLY_CONFIDENCE,
    candidate_checkpoints,
    early_checkpoints,
    is_memorised,
    memorised_masks,
)
from ray_audit.corrections.no_harm import harmless
from ray_audit.corrections.proposals import BACKGROUND, MaskRule
from ray_audit.engine.backends.base import Mapper
from ray_audit.errors import CheckpointError, SpecificationError, StorageError
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.relabel import writable_classes
from ray_audit.metrics import FINDING_KINDS
from ray_audit.scores.early_learning import MIN_IOU
from ray_audit.scores.ranking import RankHistogram
from ray_audit.scores.wrong_masks import WrongMasks
from ray_audit.sources import Listing, list_dataset
from ray_audit.tables.run_tables import RunTables
from ray_audit.tables.store import TableFile, read_table

CONFIDENCE: dict[Rule, float] = {"findings": 0.8, "flagged": 0.8, "adele": 0.7, "decisions": 0.8}
SEGMENT_CONFIDENCE = 0.6
"""Of segments that are wrong as a whole: means over all checkpoints and frames, the first ones too,
seldom reach more, and changed few right labels (see docs/corrections.md)."""


@dataclass(frozen=True)
class CorrectionOptions:
    """How labels are to be corrected.

    Attributes:
        rule: what may change; `auto` for `findings`, or for `flagged` where the errors of masks
            were memorised and their losses tell which are wrong.
        confidence: of the gate, 0-1; None for that of the rule, and of the kind of finding.
        flagged_fraction: share of the samples that `flagged` may change; None for the run's
            estimate of wrong labels.
        max_changed_fraction: what a rule may change of a video, of a mask, or of all images;
            None for everything, even if it empties a mask.
        classes: that `adele` corrects; None for all but the background.
        background: class whose spreading empties a mask, and which `adele` may always write; None
            for the first one.
        kinds: of findings that the rule `findings` applies; None for all.
    """

    rule: Rule | Literal["auto"] = "auto"
    confidence: float | None = None
    flagged_fraction: float | None = None
    max_changed_fraction: float | None = MAX_CHANGED_FRACTION
    classes: Sequence[str] | None = None
    background: str | None = None
    kinds: Sequence[str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is left to the run what changes, if anything."""
        return self.rule == "auto" and self.flagged_fraction is None

    @classmethod
    def parse(
        cls,
        rule: str,
        confidence: float | None,
        flagged_fraction: float | None,
        max_changed_fraction: float | None,
        classes: Sequence[str] | None,
        background: str | None = None,
        kinds: Sequence[str] | None = None,
    ) -> Self:
        """As typed on a command line.

        Raises:
            SpecificationError: an unknown rule, or a value outside its range.
        """
        rules = ("auto", *get_args(Rule))
        if rule not in rules:
            raise SpecificationError(f"--rule {rule}: expected one of {', '.join(rules)}")
        known: Rule | Literal["auto"] = rule  # type: ignore[assignment]
        return cls(
            known, confidence, flagged_fraction, max_changed_fraction, classes, background, kinds
        )

    def __post_init__(self) -> None:
        fractions = {
            "--confidence": self.confidence,
            "--flagged-fraction": self.flagged_fraction,
            "--max-changed-fraction": self.max_changed_fraction,
        }
        for name, value in fractions.items():
            if value is not None and not 0 <= value <= 1:
                raise SpecificationError(f"{name} {value:g}: expected 0 to 1")
        if self.flagged_fraction is not None and self.rule not in ("auto", "flagged"):
            raise SpecificationError("--flagged-fraction goes with --rule flagged")
        if self.classes is not None and self.rule not in ("auto", "adele"):
            raise SpecificationError("--class goes with --rule adele")
        if self.kinds is not None and self.rule not in ("auto", "findings"):
            raise SpecificationError("--kind goes with --rule findings")
        unknown = [kind for kind in self.kinds or () if kind not in FINDING_KINDS]
        if unknown:
            raise SpecificationError(
                f"--kind {', '.join(unknown)}: expected some of {', '.join(FINDING_KINDS)}"
            )


@dataclass(frozen=True)
class CorrectionPlan:
    """What was asked for, with what the run says.

    Attributes:
        options: as given.
        rule: that was asked for, or chosen.
        gate: confidence, and whether labels were memorised.
        writable: class names that a label can have.
        flagged_fraction: of `flagged`; 0 for other rules.
        mask_rule: how pixels change; None where labels are no masks, or only decisions count.
        steps: URIs of the checkpoints that each predictor of the mask rule averages; where masks
            were memorised a candidate each, of which a look chooses.
        notes: what the user should know.
        wrong_masks: where masks were memorised: those that `flagged` changes.
    """

    options: CorrectionOptions
    rule: Rule
    gate: Gate
    writable: tuple[str, ...]
    flagged_fraction: float
    mask_rule: MaskRule | None
    steps: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    wrong_masks: WrongMasks | None = None


def resolve(options: CorrectionOptions, tables: RunTables) -> CorrectionPlan:
    """Hold what is asked for against the run.

    Raises:
        SpecificationError: the run cannot answer; the message says what could be asked instead.
        CheckpointError: a checkpoint that is needed has gone, or is another one now.
    """
    dataset = tables.config.dataset
    learnt = None
    if options.rule in ("auto", "flagged"):
        learnt = memorised_masks(tables, options.flagged_fraction)
    rule, notes = _chosen(options, learnt)
    memorised = tables.manifest.memorisation.get("verdict") == "early"
    is_averaged = rule in ("findings", "flagged")
    by_early = is_averaged and (is_memorised(tables) or learnt is not None)
    confidence = options.confidence
    if confidence is None:
        confidence = EARLY_CONFIDENCE if by_early else CONFIDENCE[rule]
    unlearnt = _unlearnt(tables) if is_averaged else []
    gate = Gate(
        confidence,
        # Early checkpoints have not learnt the wrong labels: there is nothing to hold against them.
        memorised and rule != "adele" and not by_early,
        frozenset(unlearnt),
        None if options.kinds is None else frozenset(options.kinds),
        SEGMENT_CONFIDENCE if options.confidence is None else None,
        whole_masks=by_early,
    )
    if (
        options.is_open
        and rule == "findings"
        and options.confidence is None
        and options.kinds is None
    ):
        gate, left_alone = harmless(gate, tables)
        notes += left_alone
    indices = writable_classes(ClassNames.of(dataset))
    writable = tuple(dataset.classes[index] for index in indices)
    background = _background(options, dataset.classes)
    averaged = []
    if tables.task.is_dense and is_averaged:
        checkpoints = tables.manifest.checkpoints
        averaged = early_checkpoints(tables) if by_early else _later_half(checkpoints)
    notes += _notes(gate, rule, unlearnt, averaged if by_early and rule == "findings" else [])
    steps: tuple[tuple[str, ...], ...] = ()
    classes_of_step: tuple[tuple[int, ...], ...] = ((),)
    if rule == "adele":
        steps, classes_of_step = _adele_steps(options, tables, background)
    elif learnt is not None and rule == "flagged":
        steps = tuple((checkpoint["uri"],) for checkpoint in candidate_checkpoints(tables))
    elif averaged:
        steps = (tuple(checkpoint["uri"] for checkpoint in averaged),)
    if steps:
        _check_no_folds(tables)
    _check_checkpoints(tables, steps)
    mask_rule = None
    if steps:
        stays = tuple(dataset.classes.index(name) for name in unlearnt)
        kinds = {"adele": "adele", "findings": "regions", "flagged": "images"}
        mask_rule = MaskRule(
            kinds[rule],  # type: ignore[arg-type]
            gate,
            classes_of_step,
            tuple(indices),
            background,
            stays,
        )
    return CorrectionPlan(
        options,
        rule,
        gate,
        writable,
        _fraction(options, rule, tables, learnt),
        mask_rule,
        steps,
        tuple(notes),
        learnt,
    )


def _check_no_folds(tables: RunTables) -> None:
    if tables.num_folds:
        raise SpecificationError(
            f"each of the {tables.num_folds} folds of this run has checkpoints of its own: correct "
            "masks by --rule decisions, or by the runs of the folds (the folders fold_0, fold_1, "
            "... in its output)"
        )


def _notes(
    gate: Gate, rule: Rule, unlearnt: list[str], early: list[dict[str, str]]
) -> Iterator[str]:
    """What the user should know of the gate, a sentence each."""
    if unlearnt:
        yield (
            f"Never learnt (IoU below {MIN_IOU:g} at every checkpoint): {', '.join(unlearnt)}; "
            "labels of these stay as they are, unless a reviewer decides"
        )
    if early:
        yield (
            "The last checkpoints have learnt the labels that look wrong: masks change by the mean "
            f"of {len(early)} before that, {early[0]['name']} to {early[-1]['name']}"
        )
    if gate.memorised and rule != "decisions":
        yield (
            "The checkpoints have learnt the labels that look wrong: the suggested class is held "
            "against the other classes, not against the given one"
        )


def _chosen(options: CorrectionOptions, wrong: WrongMasks | None) -> tuple[Rule, list[str]]:
    """The rule, and why it was chosen where the user left it open."""
    if options.rule != "auto":
        return options.rule, []
    if options.classes is not None:
        raise SpecificationError("--class goes with --rule adele")
    if options.flagged_fraction is not None:
        return "flagged", []
    if options.kinds is not None or wrong is None:
        return "findings", []
    why = wrong.share.reason
    if not wrong.share.fraction:
        return "findings", [f"Which masks are wrong cannot be told by their losses: {why}"]
    return "flagged", [f"Rule flagged, since the wrong masks were memorised: {why}"]


def _background(options: CorrectionOptions, classes: Sequence[str]) -> int:
    if options.background is None:
        return BACKGROUND
    if options.background not in classes:
        raise SpecificationError(
            f"--background {options.background}: expected one of {', '.join(classes)}"
        )
    return classes.index(options.background)


def _unlearnt(tables: RunTables) -> list[str]:
    """Given classes whose IoU stayed below `MIN_IOU`, in index order."""
    best: dict[str, float] = {}
    for row in tables.whole("class_stats").to_pylist():
        if row["num_given"]:
            best[row["class"]] = max(best.get(row["class"], 0.0), row["iou"] or 0.0)
    return [name for name in tables.config.dataset.classes if best.get(name, 1.0) < MIN_IOU]


def _later_half(checkpoints: list[dict[str, str]]) -> list[dict[str, str]]:
    """All but the first ceil(E / 2); the only one where there is one."""
    return checkpoints[(len(checkpoints) + 1) // 2 :] or checkpoints


def _fraction(
    options: CorrectionOptions, rule: Rule, tables: RunTables, wrong: WrongMasks | None
) -> float:
    if rule != "flagged":
        return 0.0
    if options.flagged_fraction is not None:
        return options.flagged_fraction
    if tables.task.is_dense:
        if wrong is None or not wrong.share.fraction:
            why = "the run's estimate counts pixels"
            if wrong is not None:
                why = f"it cannot be told from their losses, {wrong.share.reason}"
            raise SpecificationError(
                "--rule flagged of masks needs --flagged-fraction, the share of images to correct "
                f"({why})"
            )
        return wrong.share.fraction
    if "fraction" not in tables.manifest.estimate:
        raise SpecificationError("the run has no estimate of wrong labels: give --flagged-fraction")
    return float(tables.manifest.estimate["fraction"])


def _adele_steps(
    options: CorrectionOptions, tables: RunTables, background: int
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[int, ...], ...]]:
    """Checkpoints at which a class is past its onset, and the classes of each, in order."""
    if not tables.task.is_dense:
        raise SpecificationError("--rule adele corrects masks; use findings, flagged or decisions")
    names = tables.config.dataset.classes
    foreground = [name for index, name in enumerate(names) if index != background]
    chosen = list(options.classes or foreground)
    unknown = [name for name in chosen if name not in foreground]
    if unknown:
        raise SpecificationError(
            f"--class {', '.join(unknown)}: expected some of "
            f"{', '.join(foreground)} ({names[background]} is the background, which every "
            "correction may write)"
        )
    rows = tables.whole("class_stats").to_pylist()
    onsets = {row["class"]: (row["onset_epoch"], row["onset_reason"]) for row in rows}
    missing = {name: onsets.get(name, (None, "not in the run")) for name in chosen}
    refused = {name: reason for name, (epoch, reason) in missing.items() if epoch is None}
    if refused:
        trusted = [name for name in foreground if onsets.get(name, (None,))[0] is not None]
        can = f"--class {','.join(trusted)} could be corrected" if trusted else "no class can be"
        why = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise SpecificationError(f"--rule adele: the onset is not to be trusted ({why}); {can}")
    by_epoch: dict[int, list[int]] = {}
    for name in chosen:
        by_epoch.setdefault(onsets[name][0], []).append(names.index(name))
    uris = [checkpoint["uri"] for checkpoint in tables.manifest.checkpoints]
    epochs = sorted(by_epoch)
    return tuple((uris[epoch - 1],) for epoch in epochs), tuple(tuple(by_epoch[e]) for e in epochs)


def _check_checkpoints(tables: RunTables, steps: tuple[tuple[str, ...], ...]) -> None:
    needed = {uri for uris in steps for uri in uris}
    for checkpoint in tables.manifest.checkpoints:
        if checkpoint["uri"] not in needed:
            continue
        if not storage.exists(checkpoint["uri"]):
            raise CheckpointError(
                f"checkpoint {checkpoint['uri']} is needed and has been deleted since the run; "
                "correct with --rule decisions, or restore it"
            )
        if (
            list_checkpoints([storage.escape_glob(checkpoint["uri"])])[0].digest
            != checkpoint["digest"]
        ):
            raise CheckpointError(f"checkpoint {checkpoint['uri']} is not the one that was audited")


def audited_labels(tables: RunTables, folder: Path) -> Listing:
    """The dataset as it is listed now, if its labels are those of the run.

    Raises:
        SpecificationError: they have changed.
    """
    manifest = tables.manifest
    try:
        listing = list_dataset(tables.config.dataset, folder, manifest.plan.get("num_shards"))
    except StorageError as error:
        raise SpecificationError(f"dataset: {error}") from error
    if listing.labels_digest != manifest.labels_digest:
        raise SpecificationError(
            f"the labels have changed since run {manifest.run_id}: what it found may not be there "
            "any more. Audit them again, and correct by that run"
        )
    return listing


def suspicion_histogram(tables: RunTables, mapper: Mapper) -> RankHistogram:
    """Suspicion - 1 of all samples of a run."""
    histogram = RankHistogram.empty()
    files = tables.manifest.tables["scores"]
    for of_file in mapper.map(partial(_observe, tables.run_uri), files):
        histogram = histogram.merge(of_file)
    return histogram


def _observe(run_uri: str, file: TableFile) -> RankHistogram:
    table: pa.Table = read_table(run_uri, [file], ["suspicion"])
    return RankHistogram.empty().observe(below_one(table["suspicion"]))
