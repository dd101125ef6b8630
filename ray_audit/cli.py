"""The command line: `ray-audit`."""

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ray_audit.config import AuditConfig
from ray_audit.errors import RayAuditError, SpecificationError, redacted

app = typer.Typer(
    help="Find and correct wrong labels in video and image datasets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Spec = Annotated[str, typer.Argument(help="The specification, a YAML file, local or in a store.")]
Output = Annotated[str, typer.Argument(help="The `output` of a specification.")]
Run = Annotated[
    str | None, typer.Option("--run", metavar="RUN_ID", help="A run; default: the latest complete.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a dotted key; may be repeated."),
]
Address = Annotated[
    str | None,
    typer.Option(envvar="RAY_ADDRESS", help="Ray address; default: a Ray on this machine."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Take only the first N shards.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Date = Annotated[
    str | None,
    typer.Option(
        "--date", metavar="YYYY-MM-DD", help="Logical date of the run; default: today, UTC."
    ),
]
Local = Annotated[bool, typer.Option("--local", help="Run in this process, without Ray.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks.")]


def main() -> None:
    """Entry point of the console script."""
    app()


@contextmanager
def _exit_codes(verbose: bool) -> Iterator[None]:
    """2 for a wrong specification, 1 for a failed run, with the message and no traceback."""
    from ray_audit.console import fail

    try:
        yield
    except RayAuditError as error:
        if verbose:
            # Libraries below ours may have written a URI as it was.
            print(redacted(traceback.format_exc()), file=sys.stderr)
        fail(str(error))
        raise typer.Exit(2 if isinstance(error, SpecificationError) else 1) from error


@app.command()
def run(
    spec: Spec,
    set_: Set = None,
    address: Address = None,
    limit: Limit = None,
    date: Date = None,
    folds: Annotated[
        bool,
        typer.Option(
            "--folds", help="One run by the models of `train --folds`: each on what it never saw."
        ),
    ] = False,
    local: Local = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Run an audit; resume by itself what an earlier run of the same specification left."""
    with _exit_codes(verbose):
        config = AuditConfig.load(spec, set_)
        if folds and limit is not None:
            raise SpecificationError("--limit does not go with --folds")
        from ray_audit.console import ConsoleReporter, print_outcome, write_json

        with ConsoleReporter() as reporter:
            if folds:
                from ray_audit.engine.folds import run_folds
                from ray_audit.training.folds import held_out_parts

                outcome = run_folds(
                    config,
                    held_out_parts(config),
                    address=address,
                    local=local,
                    logical_date=date,
                    reporter=reporter,
                )
            else:
                from ray_audit.engine.run import run_audit

                outcome = run_audit(
                    config,
                    address=address,
                    local=local,
                    limit=limit,
                    logical_date=date,
                    reporter=reporter,
                )
        if as_json:
            write_json(json.dumps(_summary(outcome)))
        else:
            print_outcome(outcome)
        if outcome.manifest.breached_gates:
            raise typer.Exit(3)


def _summary(outcome: Any) -> dict[str, Any]:
    return {
        "run_id": outcome.run_id,
        "state": outcome.manifest.state,
        "counts": outcome.counts,
        "duration_s": round(outcome.duration_s, 3),
        "manifest": f"{outcome.run_uri}/manifest.json",
        "findings": outcome.manifest.findings,
        "memorisation": outcome.manifest.memorisation,
        "order": outcome.manifest.order,
        "top": outcome.manifest.top_findings or outcome.manifest.top,
    }


@app.command()
def plan(
    spec: Spec,
    set_: Set = None,
    address: Address = None,
    limit: Limit = None,
    date: Date = None,
    local: Local = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Time a batch on this machine; choose pools by it.")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Show what a run would do: new and reused work, pools, resources. Writes nothing."""
    with _exit_codes(verbose):
        config = AuditConfig.load(spec, set_)
        from ray_audit.console import ConsoleReporter, write_json
        from ray_audit.engine.dry_run import describe, dry_run

        planned = dry_run(config, address, local, limit, date, calibrate)
        if as_json:
            write_json(json.dumps(describe(planned)))
        else:
            ConsoleReporter().plan(planned)


@app.command()
def status(output: Output, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Show the runs below an output: state, progress and counts."""
    with _exit_codes(verbose):
        from ray_audit.console import print_status, write_json
        from ray_audit.engine.status import read_status

        found = read_status(output)
        if as_json:
            write_json(json.dumps({"output": output, **asdict(found)}))
        else:
            print_status(output, found)


@app.command()
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
    with _exit_codes(verbose):
        from ray_audit.console import print_report, write_json
        from ray_audit.engine.run import opened_engine
        from ray_audit.report.write import write_report
        from ray_audit.tables.run import RunTables

        tables = RunTables.open(output, run)
        with opened_engine(tables.config.engine, address, local) as engine:
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
            write_json(json.dumps(asdict(written)))
        else:
            print_report(written.uri, written.num_findings, written.num_bundles, written.notes)


@app.command()
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
    with _exit_codes(verbose):
        import getpass

        from ray_audit.console import say
        from ray_audit.engine.run import opened_engine
        from ray_audit.report.serve import Review, ReviewServer
        from ray_audit.tables.run import RunTables

        tables = RunTables.open(output, run)
        with opened_engine(tables.config.engine, address, local=not ray) as engine:
            name = reviewer or getpass.getuser()
            server = ReviewServer(Review(tables, engine, name), port)
            say(f"Reviewing {tables.manifest.run_id} as {name}: open {server.address}")
            say("Decisions are saved as you make them. Ctrl-C ends the review.")
            with server, suppress(KeyboardInterrupt):
                server.serve_forever()


@app.command()
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
    with _exit_codes(verbose):
        config = AuditConfig.load(spec, set_)
        from ray_audit.console import StepReporter, print_injection, write_json
        from ray_audit.training.inject import inject as inject_errors

        with StepReporter() as progress:
            done = inject_errors(
                config,
                to,
                rate,
                _listed(kinds),
                seed,
                systematic_class=systematic_class,
                limit=limit,
                dry_run=dry_run,
                progress=progress,
            )
        if as_json:
            write_json(json.dumps(asdict(done)))
        else:
            print_injection(asdict(done), limit)


@app.command()
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
        typer.Option(help="How sure the checkpoints must be, 0-1; default 0.8, adele 0.7."),
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
    with _exit_codes(verbose), ExitStack() as stack:
        from ray_audit.console import StepReporter, print_correction, write_json
        from ray_audit.corrections.correct import correct as correct_labels
        from ray_audit.corrections.rules import Asked
        from ray_audit.engine.run import opened_engine
        from ray_audit.findings.decisions import read_decisions
        from ray_audit.tables.run import RunTables

        most = None if allow_large_changes else max_changed_fraction
        asked = Asked.parse(
            rule, confidence, flagged_fraction, most, _listed(classes), background, _listed(kinds)
        )
        tables = RunTables.open(output, run)
        given = [one for uri in decisions or [] for one in read_decisions(uri)]
        engine = tables.config.engine
        with StepReporter() as progress:
            done = correct_labels(
                tables,
                lambda: stack.enter_context(opened_engine(engine, address, local)),
                to,
                asked,
                given,
                dry_run=dry_run,
                progress=progress,
            )
        if as_json:
            write_json(json.dumps(asdict(done)))
        else:
            print_correction(asdict(done))


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


@app.command()
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
    with _exit_codes(verbose):
        from ray_audit.console import print_export, write_json
        from ray_audit.export.export import export as export_findings
        from ray_audit.export.selection import Selection
        from ray_audit.tables.run import RunTables

        selection = Selection(_listed(kind), _listed(classes), min_suspicion, top)
        tables = RunTables.open(output, run)
        done = export_findings(tables, format_, to, selection, media_prefix)
        if as_json:
            write_json(json.dumps(asdict(done)))
        else:
            print_export(asdict(done))


@app.command()
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
    with _exit_codes(verbose):
        from ray_audit.console import print_diff, write_json
        from ray_audit.tables.diff import diff_runs

        found = diff_runs(output, run_a, run_b)
        if to is not None and found.is_comparable:
            found.write(to)
        if html is not None:
            _write_changes(output, run_a, run_b, html)
        if as_json:
            write_json(json.dumps(found.summary()))
        else:
            print_diff(found, to)


def _write_changes(output: str, run_a: str, run_b: str, html: str) -> None:
    """The report of the later run, compared with the earlier one; made in this process."""
    from ray_audit.console import say
    from ray_audit.engine.run import opened_engine
    from ray_audit.report.write import write_report
    from ray_audit.tables.run import RunTables

    tables = RunTables.open(output, run_b)
    with opened_engine(tables.config.engine, None, local=True) as engine:
        written = write_report(tables, engine, html, against=run_a)
    say(f"Changes: {written.uri}#changes")


@app.command()
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
    with _exit_codes(verbose):
        from ray_audit.evaluation.report import evaluate_run, summary
        from ray_audit.evaluation.screen import print_evaluation

        found = evaluate_run(output, truth, run, _listed(scores))
        if as_json:
            typer.echo(json.dumps(summary(found), allow_nan=False))
        else:
            print_evaluation(found, by_kind)


render_app = typer.Typer(help="Write files for other systems.", no_args_is_help=True)
app.add_typer(render_app, name="render")


@render_app.command()
def k8s(
    spec: Spec,
    to: Annotated[Path, typer.Option(help="Folder for the manifests.")],
    image: Annotated[str, typer.Option(help="With ray-audit and your model: see k8s/Dockerfile.")],
    gpu_image: Annotated[str | None, typer.Option(help="The same with CUDA.")] = None,
    namespace: Annotated[str, typer.Option()] = "ray-audit",
    schedule: Annotated[str, typer.Option(help="In cron's five fields.")] = "0 2 * * *",
    time_zone: Annotated[str, typer.Option(help="Of schedule and logical date.")] = "Etc/UTC",
    workers: Annotated[int, typer.Option(min=1, help="Most CPU workers.")] = 4,
    gpus: Annotated[int, typer.Option(min=0, help="Most GPU workers.")] = 0,
    secret: Annotated[
        str | None, typer.Option(help="A Secret with credentials as environment variables.")
    ] = None,
    set_: Set = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write the Kubernetes manifests for a specification."""
    with _exit_codes(verbose):
        config = AuditConfig.load(spec, set_)
        from ray_audit.console import say, write_json
        from ray_audit.kubernetes.render import Deployment, render, write

        deployment = Deployment(
            image, gpu_image, namespace, schedule, time_zone, workers, gpus, secret
        )
        written = [str(path) for path in write(render(config, deployment), to)]
        if as_json:
            write_json(json.dumps({"files": written}))
        else:
            say(f"{len(written)} files below {to}. Then:")
            say(f"  kubectl create namespace {namespace}")
            for folder in ("base", "nightly-cronjob"):
                say(f"  kubectl -n {namespace} apply -k {to}/{folder}")


@app.command()
def train(
    spec: Spec,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep weights there, not at `checkpoints`, with a specification that audits them.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of weights, order and folds.")] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Train N models, each on all folds but one.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The largest of the cycle.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Of each worker.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that train.")] = None,
    num_gpus: Annotated[float | None, typer.Option(min=0, help="Of each worker.")] = None,
    correct: Annotated[
        str | None,
        typer.Option(metavar="none|adele|refurbish", help="Correct labels during training."),
    ] = None,
    records: Annotated[
        bool, typer.Option("--records", help="Keep each sample's loss in each epoch.")
    ] = False,
    set_: Set = None,
    address: Address = None,
    local: Local = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Train the specification's model and keep a checkpoint per epoch; resume by itself."""
    with _exit_codes(verbose):
        given = {
            "epochs": epochs,
            "seed": seed,
            "folds": folds,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "workers": workers,
            "num_gpus": num_gpus,
            "correction.method": correct,
            "records": records or None,
        }
        options = [f"training.{key}={value}" for key, value in given.items() if value is not None]
        config = AuditConfig.load(spec, [*(set_ or []), *options])
        from ray_audit.console import write_json
        from ray_audit.training.screen import print_epoch, print_training
        from ray_audit.training.train import train as train_models

        trained = train_models(config, address=address, local=local, to=to, progress=print_epoch)
        if as_json:
            write_json(json.dumps(asdict(trained)))
        else:
            print_training(trained, str(spec))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for data, models and tables.")] = Path(
        "ray-audit-demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of data, errors and training.")] = 0,
    verbose: Verbose = False,
) -> None:
    """Make small datasets with planted label errors, audit them, and print what was found."""
    with _exit_codes(verbose):
        from ray_audit.demo.demo import run_demo

        run_demo(out, seed=seed)
