"""Options that commands share, named and read alike in all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer


def _folder_of_runs(value: str) -> str:
    """An output, which is never a file: most often that would be the specification."""
    if Path(value).is_file():
        raise typer.BadParameter(
            f"{value} is a file: give the folder that has the runs, which the specification names "
            "as its `output`"
        )
    return value


# Required; before 0.18 one that is not given is None
# (findings/an_older_typer_takes_a_missing_argument_for_none.sh).
Spec = Annotated[str, typer.Argument(help="The specification, a YAML file, local or in a store.")]
Output = Annotated[
    str, typer.Argument(help="The `output` of a specification.", callback=_folder_of_runs)
]
Run = Annotated[
    str | None, typer.Option("--run", metavar="RUN_ID", help="A run; default: the latest complete.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a dotted key; repeatable."),
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
EmptyFolder = Annotated[str, typer.Option("--to", help="An empty folder, local or of any store.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count changes; write none.")]
GateFails = Annotated[
    bool,
    typer.Option(
        "--gate-fails/--gate-passes", help="Whether a breached gate ends with exit code 3."
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks.")]

# Lists are given the same way everywhere: repeated, or separated by commas (see `listed`). The
# plural forms are names from before, which stay.
FindingKinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind", "--kinds", metavar="A,B", help="Only findings of these kinds; repeatable."
    ),
]
ErrorKinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        "--kinds",
        metavar="A,B",
        help="Kinds of error; repeatable. Frames: mislabel, adjacent, distant, reversed, boundary "
        "(these five), missing. Masks: drop, swap, shift, boundary, under, over, scaled, random "
        "(all). Classes: symmetric, asymmetric (both), instance.",
    ),
]
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", "--classes", metavar="A,B", help="Only these classes; repeatable."),
]
Scores = Annotated[
    list[str] | None,
    typer.Option("--score", "--scores", metavar="A,B", help="Only these scores; repeatable."),
]


def listed(given: Sequence[str] | None) -> list[str] | None:
    """Names that were repeated, separated by commas, or both; None where none was given.

    >>> listed(["a, b", "c"])
    ['a', 'b', 'c']
    """
    if not given:
        return None
    return [name.strip() for part in given for name in part.split(",") if name.strip()]


SpecOfModel = Annotated[
    str | None,
    typer.Option(
        "--spec",
        metavar="FILE",
        help="Your specification: its model is called, not the one that the run names.",
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Call the model that the run names, although you never ran it on this machine.",
    ),
]
