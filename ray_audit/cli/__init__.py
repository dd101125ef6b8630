"""The command line: `ray-audit`."""

import typer

from ray_audit.cli import audit, findings, labels, model, render

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
    findings.report,
    findings.review,
    labels.inject,
    labels.correct,
    findings.export,
    findings.diff,
    findings.evaluate,
    model.train,
    model.demo,
):
    app.command()(command)
app.add_typer(render.app, name="render")


def main() -> None:
    """Entry point of the console script."""
    app()
