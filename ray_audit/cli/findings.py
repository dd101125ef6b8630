"""Commands that show findings: report, review, diff, export, evaluate."""

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

import typer

from ray_audit.cli.options import Address, AsJson, Local, Output, Run, Verbose, exit_codes, listed


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
    address: Address = None,
    local: Local = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write the HTML report of a run: findings, their evidence, and the run as a whole."""
    with exit_codes(verbose):
        from ray_audit.console.lines import write_json
        from ray_audit.console.runs import print_report
        from ray_audit.engine.run.audit import opened_backend
        from ray_audit.report.write import write_report
        from ray_audit.tables.run import RunTables

        tables = RunTables.open(output, run)
        with opened_backend(tables.config.engine, address, local) as engine:
            written = write_report(
                tables,
                engine,
                to,
                folder=folder,
                num_findings=findings,
                num_bundles=pictures,
                against=against,
            )
        if as_json:
            write_json(asdict(written))
        else:
            print_report(written.uri, written.num_findings, written.num_bundles, written.notes)


def review(
    output: Output,
    run: Run = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Your name beside your decisions; default: the user's.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    address: Address = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Make pictures on a Ray cluster, not in this process.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Serve the report on this machine, make pictures on demand, and save decisions in the run."""
    with exit_codes(verbose):
        import getpass

        from ray_audit.console.lines import say
        from ray_audit.engine.run.audit import opened_backend
        from ray_audit.report.serve import Review, ReviewServer
        from ray_audit.tables.run import RunTables

        tables = RunTables.open(output, run)
        with opened_backend(tables.config.engine, address, local=not ray) as engine:
            name = reviewer or getpass.getuser()
            server = ReviewServer(Review(tables, engine, name), port)
            say(f"Reviewing {tables.manifest.run_id} as {name}: open {server.address}")
            say("Decisions are saved as you make them. Ctrl-C ends the review.")
            with server, suppress(KeyboardInterrupt):
                server.serve_forever()


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
    with exit_codes(verbose):
        from ray_audit.console.lines import write_json
        from ray_audit.console.runs import print_diff
        from ray_audit.tables.diff import diff_runs

        found = diff_runs(output, run_a, run_b)
        if to is not None and found.is_comparable:
            found.write(to)
        if html is not None:
            _write_changes(output, run_a, run_b, html)
        if as_json:
            write_json(found.summary())
        else:
            print_diff(found, to)


def _write_changes(output: str, run_a: str, run_b: str, html: str) -> None:
    """The report of the later run, compared with the earlier one; made in this process."""
    from ray_audit.console.lines import say
    from ray_audit.engine.run.audit import opened_backend
    from ray_audit.report.write import write_report
    from ray_audit.tables.run import RunTables

    tables = RunTables.open(output, run_b)
    with opened_backend(tables.config.engine, None, local=True) as engine:
        written = write_report(tables, engine, html, against=run_a)
    say(f"Changes: {written.uri}#changes")


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
    kind: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only findings of these kinds.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option("--class", metavar="A,B", help="Only given or suggested as one of these."),
    ] = None,
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
    with exit_codes(verbose):
        from ray_audit.console.labels import print_export
        from ray_audit.console.lines import write_json
        from ray_audit.exports.export import export as export_findings
        from ray_audit.exports.selection import Selection
        from ray_audit.tables.run import RunTables

        selection = Selection(listed(kind), listed(classes), min_suspicion, top)
        tables = RunTables.open(output, run)
        done = export_findings(tables, format_, to, selection, media_prefix)
        if as_json:
            write_json(asdict(done))
        else:
            print_export(asdict(done))


def evaluate(
    output: Output,
    truth: Annotated[str, typer.Option(help="The truth file, Parquet or CSV.")],
    run: Run = None,
    scores: Annotated[str | None, typer.Option(metavar="A,B", help="Only these scores.")] = None,
    by_kind: Annotated[
        bool, typer.Option("--by-kind", help="Every metric for each kind of error.")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Measure how well a run's scores find errors that are known."""
    with exit_codes(verbose):
        from ray_audit.console.evaluation import print_evaluation
        from ray_audit.evaluation.report import evaluate_run, summary

        found = evaluate_run(output, truth, run, listed(scores))
        if as_json:
            typer.echo(json.dumps(summary(found), allow_nan=False))
        else:
            print_evaluation(found, by_kind)
