"""The command line: `ray-audit`."""

import errno
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

import ray_audit
from ray_audit.cli import audit, findings, init, jobs, k8s, labels, model
from ray_audit.cli.ending import leave, unwritten
from ray_audit.supervisor import own_process

_UNWRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE}

app = typer.Typer(
    help="Find and correct wrong labels in video and image datasets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"ray-audit {ray_audit.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find and correct wrong labels in video and image datasets."""


# In the order in which they are used.
for command in (
    init.init,
    audit.run,
    audit.plan,
    audit.status,
    audit.schema,
    audit.layouts,
    findings.report,
    findings.review,
    labels.inject,
    labels.correct,
    findings.export,
    findings.diff,
    findings.evaluate,
    model.train,
    jobs.night,
    jobs.submit,
    model.demo,
):
    app.command()(command)
app.add_typer(k8s.app, name="render")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    code = 0
    try:
        try:
            app(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITTEN:
            raise
        return unwritten(error)
    return code


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command as the whole of a process: the entry point of the console script."""
    own_process()
    leave(main(arguments))
