"""The command that drafts a specification: init."""

from dataclasses import asdict
from typing import Annotated

import typer

import ray_audit
from ray_audit.cli.ending import ending
from ray_audit.cli.options import AsJson, Verbose


def init(
    data: Annotated[str, typer.Argument(help="The folder of a dataset, local or in a store.")],
    labels: Annotated[
        str | None, typer.Option(metavar="URI", help="Folder of its labels, if it lies elsewhere.")
    ] = None,
    checkpoints: Annotated[
        str | None, typer.Option(metavar="URI", help="Folder, pattern or file of weights.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="PACKAGE.MODULE:FUNCTION", help="Returns your model.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write there; else print the draft.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Look at a dataset and draft its specification; say what was assumed."""
    with ending(verbose, as_json) as answer:
        from ray_audit.console.init import print_draft

        draft = ray_audit.init(
            data, labels=labels, checkpoints=checkpoints, model=model, to=to, force=force
        )
        answer(asdict(draft))
        if not as_json:
            print_draft(draft)
