"""Commands that write labels: inject, correct."""

from dataclasses import asdict
from typing import Annotated

import typer

import ray_audit
from ray_audit.cli.ending import ending
from ray_audit.cli.options import (
    Address,
    AsJson,
    Classes,
    DryRun,
    EmptyFolder,
    ErrorKinds,
    FindingKinds,
    Limit,
    Local,
    Output,
    Run,
    Set,
    Spec,
    SpecOfModel,
    Trust,
    Verbose,
    listed,
)


def inject(
    spec: Spec,
    to: EmptyFolder,
    rate: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of videos, masks or images with an error.")
    ],
    kind: ErrorKinds = None,
    seed: Annotated[int, typer.Option(help="The same seed plants the same errors.")] = 0,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            "--classes",
            metavar="NAME",
            help="The class that under and over change in every mask.",
        ),
    ] = None,
    set_: Set = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write a copy of the labels with planted errors, the truth, and a specification for them."""
    with ending(verbose, as_json) as answer:
        config = ray_audit.AuditConfig.load(spec, set_)
        named = listed(classes) or []
        if len(named) > 1:
            raise ray_audit.SpecificationError(f"--class {','.join(named)}: give one class")
        from ray_audit.console.labels import print_injection
        from ray_audit.console.progress import StepReporter

        with StepReporter() as progress:
            done = ray_audit.inject(
                config,
                to,
                rate,
                kinds=listed(kind),
                seed=seed,
                systematic_class=named[0] if named else None,
                limit=limit,
                dry_run=dry_run,
                progress=progress,
            )
        answer(asdict(done))
        if not as_json:
            print_injection(asdict(done), limit)


def correct(
    output: Output,
    to: EmptyFolder,
    run: Run = None,
    rule: Annotated[
        str,
        typer.Option(
            help="auto: findings, or flagged where the errors of masks were memorised. findings: "
            "wrong segments, images and regions. flagged: the most suspicious samples. adele: "
            "masks, class by class from their onset on. decisions: only what reviewers accepted or "
            "relabelled."
        ),
    ] = "auto",
    decisions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Reviewers' decisions beside those saved in the runs of OUTPUT; repeatable.",
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
    classes: Classes = None,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of masks: the class that must not take over an image, and that adele may always "
            "write; default: the first.",
        ),
    ] = None,
    kind: FindingKinds = None,
    max_changed_fraction: Annotated[
        float, typer.Option(help="What a rule may change of a mask, a video, or of all images.")
    ] = 0.5,
    allow_large_changes: Annotated[
        bool, typer.Option("--allow-large-changes", help="Lift that limit.")
    ] = False,
    dry_run: DryRun = False,
    spec: SpecOfModel = None,
    trust: Trust = False,
    address: Address = None,
    local: Local = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write corrected labels, in the format in which they came, to a new place."""
    with ending(verbose, as_json) as answer:
        from ray_audit.console.labels import print_correction
        from ray_audit.console.progress import StepReporter

        with StepReporter() as progress:
            done = ray_audit.open_run(output, run, specification=spec, trust=trust).correct(
                to,
                rule=rule,
                decisions=decisions or (),
                confidence=confidence,
                flagged_fraction=flagged_fraction,
                kinds=listed(kind),
                classes=listed(classes),
                background=background,
                max_changed_fraction=None if allow_large_changes else max_changed_fraction,
                dry_run=dry_run,
                address=address,
                local=local,
                progress=progress,
            )
        answer(asdict(done))
        if not as_json:
            print_correction(asdict(done))
