"""What the commands share: options, and how errors end them."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer

from ray_audit.errors import RayAuditError, SpecificationError, redacted
from ray_audit.interrupts import Interrupted, interruptible

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
GateFails = Annotated[
    bool,
    typer.Option(
        "--gate-fails/--gate-passes", help="Whether a breached gate ends with exit code 3."
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks.")]


@contextmanager
def exit_codes(verbose: bool) -> Iterator[None]:
    """2 for a wrong specification, 1 for a failed run, with the message and no traceback.

    130, 143 and 129 where SIGINT, SIGTERM or SIGHUP ended it.
    """
    from ray_audit.console.lines import fail

    try:
        with interruptible():
            yield
    except Interrupted as error:
        with suppress(OSError):  # the terminal may have gone
            fail(f"{error}: what was committed is whole, and the same command goes on from there")
        raise typer.Exit(error.exit_code) from error
    except RayAuditError as error:
        if verbose:
            # Libraries below ours may have written a URI as it was.
            print(redacted(traceback.format_exc()), file=sys.stderr)
        fail(str(error))
        raise typer.Exit(2 if isinstance(error, SpecificationError) else 1) from error


def listed(text: str | None) -> list[str] | None:
    """Names between commas."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
