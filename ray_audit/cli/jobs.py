"""Commands for schedulers: night, submit."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import ray_audit
from ray_audit.cli.ending import ExitCode, ending
from ray_audit.cli.options import Address, AsJson, GateFails, Limit, Local, Set, Spec, Verbose


def night(
    spec: Spec,
    date: Annotated[
        str | None,
        typer.Option(
            "--date",
            metavar="YYYY-MM-DD",
            help="Logical date; default: that of a RayCronJob's tick, else today in the time zone.",
        ),
    ] = None,
    time_zone: Annotated[
        str, typer.Option("--time-zone", help="Of the schedule, e.g. Europe/Berlin.")
    ] = "UTC",
    set_: Set = None,
    address: Address = None,
    local: Local = False,
    limit: Limit = None,
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0, help="How long to wait for another night.")
    ] = 6 * 3600.0,
    gate_fails: GateFails = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Audit a date once, compare it with the night before, apply the gates, tell Prometheus.

    A second start for a date does nothing.
    """
    with ending(verbose, as_json) as answer:
        config = ray_audit.AuditConfig.load(spec, set_)
        from ray_audit.console.lines import say
        from ray_audit.console.outcome import print_outcome, require_scored
        from ray_audit.console.progress import ConsoleReporter
        from ray_audit.nightly import night as nights

        zone = nights.time_zone(time_zone)
        ticked = nights.scheduled_date(os.environ.get("RAY_CLUSTER_NAME", ""), zone)
        logical_date = nights.resolve_date(date or ticked, zone)

        def audit(config: ray_audit.AuditConfig) -> ray_audit.Run:
            with ConsoleReporter() as reporter:
                run = ray_audit.audit(
                    config,
                    address=address,
                    local=local,
                    limit=limit,
                    date=logical_date,
                    reporter=reporter,
                )
            print_outcome(run)
            require_scored(run.counts)
            return run

        done = nights.run_night(config, logical_date, audit, say, wait_s)
        answer(asdict(done))
        for line in (*done.notes, *(f"gate breached: {gate}" for gate in done.breached_gates)):
            say(line)
        if done.breached_gates and gate_fails:
            raise typer.Exit(ExitCode.GATE_BREACHED)


def submit(
    subject: Annotated[
        str, typer.Argument(metavar="SPEC", help="The specification; for correct, an output.")
    ],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS]", help="Of the job's command.")
    ] = None,
    job: Annotated[
        str, typer.Option("--job", metavar="run|night|train|correct", help="What the job does.")
    ] = "run",
    address: Annotated[
        str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The job server.")
    ] = "http://127.0.0.1:8265",
    code: Annotated[
        list[Path] | None, typer.Option(help="Sent with the job, such as your model; repeatable.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also where the job has succeeded already.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Submit and leave.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Submit a command to a Ray cluster, once, and follow its logs."""
    with ending(verbose, as_json) as answer:
        from ray_audit.console.lines import say
        from ray_audit.jobs.submit import Job
        from ray_audit.jobs.submit import submit as submit_job

        ray_job = Job(job, subject, tuple(options or ()), tuple(code or ()))
        done = submit_job(ray_job, address, say, again=again, wait=not no_wait)
        answer(asdict(done))
        if done.failed:
            raise typer.Exit(ExitCode.FAILED)
