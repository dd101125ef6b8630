"""Commands that audit: run, plan, status, schema, layouts."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

import ray_audit
from ray_audit.cli.ending import ExitCode, ending
from ray_audit.cli.options import (
    Address,
    AsJson,
    Date,
    GateFails,
    Limit,
    Local,
    Output,
    Set,
    Spec,
    Verbose,
)


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
    gate_fails: GateFails = True,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Run an audit; resume by itself what an earlier run of the same specification left."""
    with ending(verbose, as_json) as answer:
        config = ray_audit.AuditConfig.load(spec, set_)
        from ray_audit.console.outcome import print_outcome, require_scored, summary
        from ray_audit.console.progress import ConsoleReporter

        with ConsoleReporter() as reporter:
            done = ray_audit.audit(
                config,
                address=address,
                local=local,
                limit=limit,
                date=date,
                folds=folds,
                reporter=reporter,
            )
        answer(summary(done))
        if not as_json:
            print_outcome(done)
        require_scored(done.counts)
        if done.breached_gates and gate_fails:
            raise typer.Exit(ExitCode.GATE_BREACHED)


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
    with ending(verbose, as_json) as answer:
        config = ray_audit.AuditConfig.load(spec, set_)
        from ray_audit.console.plan import described
        from ray_audit.console.progress import ConsoleReporter

        planned = ray_audit.plan(
            config, address=address, local=local, limit=limit, date=date, calibrate=calibrate
        )
        answer(described(planned))
        if not as_json:
            ConsoleReporter().plan(planned)


def status(output: Output, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Show the runs below an output: state, progress and counts."""
    with ending(verbose, as_json) as answer:
        from ray_audit.console.runs import print_status

        found = ray_audit.status(output)
        answer({"output": output, **asdict(found)})
        if not as_json:
            print_status(output, found)


def schema() -> None:
    """Print the JSON schema of a specification, with a description on every key."""
    from ray_audit.config.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def layouts(
    name: Annotated[
        str | None, typer.Argument(help="One of them, with all that it stands for.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """List the published layouts that `dataset.layout` knows, or show one."""
    with ending(verbose, as_json) as answer:
        from ray_audit.console.layouts import print_layout, print_layouts
        from ray_audit.layouts import recipe_named, recipes

        found = recipes() if name is None else (recipe_named(name),)
        answer({"layouts": [recipe.model_dump() for recipe in found]})
        if not as_json and name is None:
            print_layouts(found)
        elif not as_json:
            print_layout(found[0])
