"""Commands that write labels: inject, correct."""

from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated

import typer

from ray_audit.cli.options import (
    Address,
    AsJson,
    Limit,
    Local,
    Output,
    Run,
    Set,
    Spec,
    Verbose,
    exit_codes,
    listed,
)
from ray_audit.config import AuditConfig


def inject(
    spec: Spec,
    to: Annotated[str, typer.Option(help="An empty folder, local or of any store.")],
    rate: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of videos, masks or images with an error.")
    ],
    kinds: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Kinds of error. Frames: mislabel, adjacent, distant, reversed, boundary (all). "
            "Masks: drop, swap, shift, boundary, under, over, scaled, random (all). "
            "Classes: symmetric, asymmetric (both), instance.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed plants the same errors.")] = 0,
    systematic_class: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="NAME", help="The class that under and over change in every mask."
        ),
    ] = None,
    set_: Set = None,
    limit: Limit = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Choose errors; write none.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write a copy of the labels with planted errors, the truth, and a specification for them."""
    with exit_codes(verbose):
        config = AuditConfig.load(spec, set_)
        from ray_audit.console.labels import print_injection
        from ray_audit.console.lines import write_json
        from ray_audit.console.progress import StepReporter
        from ray_audit.training.inject import inject as inject_errors

        with StepReporter() as progress:
            done = inject_errors(
                config,
                to,
                rate,
                listed(kinds),
                seed,
                systematic_class=systematic_class,
                limit=limit,
                dry_run=dry_run,
                progress=progress,
            )
        if as_json:
            write_json(asdict(done))
        else:
            print_injection(asdict(done), limit)


def correct(
    output: Output,
    to: Annotated[str, typer.Option(help="An empty folder, local or of any store.")],
    run: Run = None,
    rule: Annotated[
        str,
        typer.Option(
            help="findings: flagged segments, images and regions. flagged: the most suspicious "
            "samples. adele: masks, class by class from their onset on. decisions: only what "
            "reviewers accepted or relabelled."
        ),
    ] = "findings",
    decisions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="Reviewers' decisions beside those saved in the run; repeatable."
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="How sure the checkpoints must be, 0-1; default 0.8, whole segments 0.6, "
            "adele 0.7."
        ),
    ] = None,
    flagged_fraction: Annotated[
        float | None,
        typer.Option(help="Share of the samples that flagged may change; default: the estimate."),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="The classes that adele corrects.")
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of masks: the class that must not take over an image, and that adele may always "
            "write; default: the first.",
        ),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="The kinds of finding that findings applies; all."),
    ] = None,
    max_changed_fraction: Annotated[
        float, typer.Option(help="What a rule may change of a mask, a video, or of all images.")
    ] = 0.5,
    allow_large_changes: Annotated[
        bool, typer.Option("--allow-large-changes", help="Lift that limit.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count changes; write none.")] = False,
    address: Address = None,
    local: Local = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write corrected labels, in the format in which they came, to a new place."""
    with exit_codes(verbose), ExitStack() as stack:
        from ray_audit.console.labels import print_correction
        from ray_audit.console.lines import write_json
        from ray_audit.console.progress import StepReporter
        from ray_audit.corrections.correct import correct as correct_labels
        from ray_audit.corrections.rules import CorrectionOptions
        from ray_audit.engine.run.audit import opened_backend
        from ray_audit.findings.decisions import read_decisions
        from ray_audit.tables.run import RunTables

        most = None if allow_large_changes else max_changed_fraction
        asked = CorrectionOptions.parse(
            rule, confidence, flagged_fraction, most, listed(classes), background, listed(kinds)
        )
        tables = RunTables.open(output, run)
        given = [one for uri in decisions or [] for one in read_decisions(uri)]
        engine = tables.config.engine
        with StepReporter() as progress:
            done = correct_labels(
                tables,
                lambda: stack.enter_context(opened_backend(engine, address, local)),
                to,
                asked,
                given,
                dry_run=dry_run,
                progress=progress,
            )
        if as_json:
            write_json(asdict(done))
        else:
            print_correction(asdict(done))
