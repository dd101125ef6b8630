"""Validates the options of a correction against the run, before any work starts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ray_audit.corrections.intents import Gate, Rule
from ray_audit.corrections.mask_steps import (
    adele_steps,
    check_checkpoints,
    check_no_folds,
    later_half,
)
from ray_audit.corrections.memorised import (
    EARLY_CONFIDENCE,
    candidate_checkpoints,
    early_checkpoints,
    is_memorised,
    memorised_masks,
)
from ray_audit.corrections.no_harm import harmless
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.corrections.proposals import BACKGROUND, MaskRule
from ray_audit.errors import SpecificationError
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.relabel import writable_classes
from ray_audit.scores.early_learning import MIN_IOU
from ray_audit.scores.wrong_masks import WrongMasks
from ray_audit.tables.run_tables import RunTables

CONFIDENCE: dict[Rule, float] = {"findings": 0.8, "flagged": 0.8, "adele": 0.7, "decisions": 0.8}
SEGMENT_CONFIDENCE = 0.6
"""Of segments that are wrong as a whole: means over all checkpoints and frames, the first ones too,
seldom reach more, and changed few right labels (see docs/corrections.md)."""


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
    is_averaged = rule in ("findings", "flagged")
    by_early = is_averaged and (is_memorised(tables) or learnt is not None)
    unlearnt = _unlearnt(tables) if is_averaged else []
    gate = _gate(options, rule, tables, by_early, unlearnt)
    is_default = options.is_open and options.confidence is None and options.kinds is None
    if is_default and rule == "findings":
        gate, left_alone = harmless(gate, tables)
        notes += left_alone
    indices = writable_classes(ClassNames.of(dataset))
    writable = tuple(dataset.classes[index] for index in indices)
    background = _background(options, dataset.classes)
    averaged = []
    if tables.task.is_dense and is_averaged:
        checkpoints = tables.manifest.checkpoints
        averaged = early_checkpoints(tables) if by_early else later_half(checkpoints)
    notes += _notes(gate, rule, unlearnt, averaged if by_early and rule == "findings" else [])
    steps: tuple[tuple[str, ...], ...] = ()
    classes_of_step: tuple[tuple[int, ...], ...] = ((),)
    if rule == "adele":
        steps, classes_of_step = adele_steps(options, tables, background)
    elif learnt is not None and rule == "flagged":
        steps = tuple((checkpoint["uri"],) for checkpoint in candidate_checkpoints(tables))
    elif averaged:
        steps = (tuple(checkpoint["uri"] for checkpoint in averaged),)
    if steps:
        check_no_folds(tables)
    check_checkpoints(tables, steps)
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


def _gate(
    options: CorrectionOptions,
    rule: Rule,
    tables: RunTables,
    by_early: bool,
    unlearnt: list[str],
) -> Gate:
    """What a finding must reach."""
    confidence = options.confidence
    if confidence is None:
        confidence = EARLY_CONFIDENCE if by_early else CONFIDENCE[rule]
    memorised = tables.manifest.memorisation.get("verdict") == "early"
    # Of two classes the suggested one is always all that is not the given one.
    has_others = len(tables.config.dataset.classes) > 2
    return Gate(
        confidence,
        # Early checkpoints have not learnt the wrong labels: there is nothing to hold against them.
        memorised and has_others and rule != "adele" and not by_early,
        frozenset(unlearnt),
        None if options.kinds is None else frozenset(options.kinds),
        SEGMENT_CONFIDENCE if options.confidence is None else None,
        whole_masks=by_early,
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
