"""Commands that show findings: report, review, diff, export, evaluate."""

import signal
from dataclasses import asdict
from typing import Annotated

import typer

import ray_audit
from ray_audit.cli.ending import ending
from ray_audit.cli.options import (
    Address,
    AsJson,
    Classes,
    FindingKinds,
    Local,
    Output,
    Run,
    Scores,
    SpecOfModel,
    Trust,
    Verbose,
    listed,
)
from ray_audit.interrupts import Interrupted


def report(
    output: Output,
    run: Run = None,
    to: Annotated[
        str | None, typer.Option(help="File (with --folder: folder) to write; default: in the run.")
    ] = None,
    folder: Annotated[
        bool, typer.Option("--folder", help="Pictures as files of their own, for large runs.")
    ] = False,
    findings: Annotated[int, typer.Option(min=1, help="How many findings are listed.")] = 5000,
    pictures: Annotated[
        int, typer.Option(min=0, help="How many images or videos get pictures.")
    ] = 150,
    against: Annotated[
        str | None,
        typer.Option(metavar="RUN_ID", help="Compare with this run; default: the date before."),
    ] = None,
    spec: SpecOfModel = None,
    trust: Trust = False,
    address: Address = None,
    local: Local = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write the HTML report of a run: findings, their evidence, and the run as a whole."""
    with ending(verbose, as_json) as answer:
        from ray_audit.console.runs import print_report

        written = ray_audit.open_run(output, run, specification=spec, trust=trust).report(
            to,
            folder=folder,
            num_findings=findings,
            num_pictures=pictures,
            against=against,
            address=address,
            local=local,
        )
        answer(asdict(written))
        if not as_json:
            print_report(written.uri, written.num_findings, written.num_bundles, written.notes)


def review(
    output: Output,
    run: Run = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Your name beside your decisions; default: the user's.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    spec: SpecOfModel = None,
    trust: Trust = False,
    address: Address = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Make pictures on a Ray cluster, not in this process.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Serve the report on this machine, make pictures on demand, and save decisions in the run."""
    with ending(verbose):
        from ray_audit.console.lines import say

        opened = ray_audit.open_run(output, run, specification=spec, trust=trust)
        with opened.review(reviewer, port=port, address=address, local=not ray) as server:
            say(f"Reviewing {opened.run_id} as {server.reviewer}: open {server.address}")
            say("Decisions are saved as you make them. Ctrl-C ends the review.")
            try:
                server.serve_forever()
            except KeyboardInterrupt as error:  # Ctrl-C is how a review ends
                if isinstance(error, Interrupted) and error.number != signal.SIGINT:
                    raise


def diff(
    output: Output,
    run_a: Annotated[str, typer.Argument(help="The earlier run.")],
    run_b: Annotated[str, typer.Argument(help="The later run.")],
    to: Annotated[str | None, typer.Option(metavar="FILE", help="Write a Parquet table.")] = None,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the later run's report with changes.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Compare the findings of two runs: new, fixed and recurring ones."""
    with ending(verbose, as_json) as answer:
        from ray_audit.console.lines import say
        from ray_audit.console.runs import print_diff

        later = ray_audit.open_run(output, run_b)
        found = ray_audit.open_run(output, run_a).diff(later)
        if to is not None and found.is_comparable:
            found.write(to)
        if html is not None:
            written = later.report(html, against=run_a, local=True)
            say(f"Changes: {written.uri}#changes")
        answer(found.summary())
        if not as_json:
            print_diff(found, to)


def export(
    output: Output,
    format_: Annotated[
        str,
        typer.Option(
            "--format", metavar="F", help="fiftyone, labelstudio, cvat, coco, csv or parquet."
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            help="Folder, local or of any store; default: exports/F in the run. Nothing that is "
            "there is replaced."
        ),
    ] = None,
    run: Run = None,
    kind: FindingKinds = None,
    classes: Classes = None,
    min_suspicion: Annotated[
        float, typer.Option(min=0, max=1, help="Only findings at least as suspicious.")
    ] = 0.0,
    top: Annotated[int | None, typer.Option(min=1, help="Only the first N of them.")] = None,
    media_prefix: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Where the tool finds the dataset's files: stands before their keys, in place of "
            "where they lie.",
        ),
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write findings for another tool; images and videos are pointed at, never copied."""
    with ending(verbose, as_json) as answer:
        from ray_audit.console.labels import print_export

        done = ray_audit.open_run(output, run).export(
            format_,
            to,
            kinds=listed(kind),
            classes=listed(classes),
            min_suspicion=min_suspicion,
            top=top,
            media_prefix=media_prefix,
        )
        answer(asdict(done))
        if not as_json:
            print_export(asdict(done))


def evaluate(
    output: Output,
    truth: Annotated[str, typer.Option(help="The truth file, Parquet or CSV.")],
    run: Run = None,
    scores: Scores = None,
    by_kind: Annotated[
        bool, typer.Option("--by-kind", help="Every metric for each kind of error.")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Measure how well a run's scores find errors that are known."""
    with ending(verbose, as_json) as answer:
        from ray_audit.console.evaluation import print_evaluation

        found = ray_audit.evaluate(output, truth, run=run, scores=listed(scores))
        answer(found.summary())
        if not as_json:
            print_evaluation(found, by_kind)
