"""The command line: `ray-audit`."""

from collections.abc import Sequence

import typer

from ray_audit.cli import audit, findings, jobs, labels, model, render

app = typer.Typer(
    help="Find and correct wrong labels in video and image datasets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# In the order in which they are used.
for command in (
    audit.run,
    audit.plan,
    audit.status,
    audit.schema,
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
app.add_typer(render.app, name="render")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; the exit code."""
    try:
        app(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0
