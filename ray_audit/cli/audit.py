"""Commands that audit: run, plan, status."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

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
    exit_codes,
)
from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError


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
    with exit_codes(verbose):
        config = AuditConfig.load(spec, set_)
        if folds and limit is not None:
            raise SpecificationError("--limit does not go with --folds")
        from ray_audit.console.lines import write_json
        from ray_audit.console.outcome import print_outcome
        from ray_audit.console.progress import ConsoleReporter

        with ConsoleReporter() as reporter:
            if folds:
                from ray_audit.engine.run.folds import run_folds
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
                from ray_audit.engine.run.audit import run_audit

                outcome = run_audit(
                    config,
                    address=address,
                    local=local,
                    limit=limit,
                    logical_date=date,
                    reporter=reporter,
                )
        if as_json:
            write_json(_summary(outcome))
        else:
            print_outcome(outcome)
        if outcome.breached_gates and gate_fails:
            raise typer.Exit(3)


def _summary(outcome: Any) -> dict[str, Any]:
    return {
        "run_id": outcome.run_id,
        "state": outcome.manifest.state,
        "counts": outcome.counts,
        "duration_s": round(outcome.duration_s, 3),
        "manifest": f"{outcome.run_uri}/manifest.json",
        "breached_gates": list(outcome.breached_gates),
        "notes": [*outcome.manifest.notes, *outcome.notes],
        "findings": outcome.manifest.findings,
        "memorisation": outcome.manifest.memorisation,
        "order": outcome.manifest.order,
        "top": outcome.manifest.top_findings or outcome.manifest.top,
    }


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
    with exit_codes(verbose):
        config = AuditConfig.load(spec, set_)
        from ray_audit.console.lines import write_json
        from ray_audit.console.progress import ConsoleReporter
        from ray_audit.engine.run.dry_run import describe, dry_run

        planned = dry_run(config, address, local, limit, date, calibrate)
        if as_json:
            write_json(describe(planned))
        else:
            ConsoleReporter().plan(planned)


def schema() -> None:
    """Print the JSON schema of a specification, with a description on every key."""
    from ray_audit.config.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def status(output: Output, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Show the runs below an output: state, progress and counts."""
    with exit_codes(verbose):
        from ray_audit.console.lines import write_json
        from ray_audit.console.runs import print_status
        from ray_audit.engine.run.status import read_status

        found = read_status(output)
        if as_json:
            write_json({"output": output, **asdict(found)})
        else:
            print_status(output, found)
