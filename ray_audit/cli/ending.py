"""How a command ends: its exit code, its error, and its one JSON object."""

import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from enum import IntEnum
from typing import Any, NoReturn

import typer

from ray_audit.errors import RayAuditError, SpecificationError, redacted
from ray_audit.interrupts import Interrupted, interruptible
from ray_audit.printable import printable
from ray_audit.supervisor import is_any_left_behind

Answer = Callable[[dict[str, Any]], None]

_GRACE_S = 5.0
"""For what is left to end by itself."""


class ExitCode(IntEnum):
    """What a scheduler learns of a command; one that a signal ended has 128 and its number."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    GATE_BREACHED = 3

    @classmethod
    def of(cls, error: RayAuditError) -> "ExitCode":
        """The code with which an error ends a command."""
        return cls.WRONG_USAGE if isinstance(error, SpecificationError) else cls.FAILED


@contextmanager
def ending(verbose: bool = False, as_json: bool = False) -> Iterator[Answer]:
    """Run a command's body; its errors become a line on standard error and an exit code.

    Args:
        verbose: show tracebacks.
        as_json: print the answer as one object on standard output, and nothing else there: what a
            model's factory or a library prints goes to standard error. A command that fails prints
            no object.

    Yields:
        Takes the answer of the command, for programs; printed at the end.
    """
    from ray_audit.console.lines import fail

    answers: list[dict[str, Any]] = []
    try:
        with interruptible(), _never_left(), _stdout_as_log() if as_json else nullcontext():
            yield answers.append
    except Interrupted as error:
        with suppress(OSError):  # the terminal may have gone
            fail(f"{error}: what was committed is whole, and the same command goes on from there")
        raise typer.Exit(error.exit_code) from error
    except RayAuditError as error:
        if verbose:
            # Libraries below ours may have written a URI as it was.
            print(printable(redacted(traceback.format_exc()), keep="\n"), file=sys.stderr)
        fail(str(error))
        raise typer.Exit(ExitCode.of(error)) from error
    except SystemExit as error:
        # What a command calls may leave with 0, which a scheduler would take for a success.
        if verbose:
            print(printable(redacted(traceback.format_exc()), keep="\n"), file=sys.stderr)
        fail(f"something that was called ended the process with exit code {error.code!r}")
        raise typer.Exit(ExitCode.FAILED) from error
    except typer.Exit:  # with an answer, but not well: a breached gate
        _write(as_json, answers)
        raise
    _write(as_json, answers)


def _write(as_json: bool, answers: list[dict[str, Any]]) -> None:
    if as_json and answers:
        from ray_audit.console.lines import write_json

        write_json(answers[-1])


def unwritten(error: OSError) -> int:
    """Say that standard output, or standard error, takes no more; the exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # else the interpreter would try once more, and end with a code of its own
    os.close(nowhere)
    with suppress(OSError):
        print(
            f"ray-audit: what was to be printed cannot be written: {error.strerror}. Files that "
            "the command wrote are whole",
            file=sys.stderr,
        )
    return ExitCode.FAILED


def leave(code: int) -> NoReturn:
    """End the process, whatever a model's code has left running in it.

    The interpreter waits for threads that are no daemons, and for children of `multiprocessing`:
    a loader's or a logger's thread would keep a job from ending for as long as it likes.
    """
    if is_any_left_behind():
        # Woken while the interpreter takes itself apart, native code would abort the process.
        _flush()
        os._exit(code)
    threading.Thread(target=_end_what_stays, args=(code,), daemon=True).start()
    sys.exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _end_what_stays(code: int) -> None:
    time.sleep(_GRACE_S)
    threads = [
        t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()
    ]
    children = multiprocessing.active_children()
    if not threads and not children:
        return  # the interpreter is on its way
    names = ", ".join([t.name for t in threads] + [f"process {c.pid}" for c in children])
    with suppress(OSError, ValueError):
        print(f"still there after the end, and not waited for: {printable(names)}", file=sys.stderr)
    _flush()
    for child in children:
        child.kill()
    os._exit(code)


@contextmanager
def _never_left() -> Iterator[None]:
    """Take `os._exit(0)` in this process for `sys.exit(0)`: a scheduler would call it a success.

    Forks, which end so, are left alone; other codes tell of a failure already.
    """
    process, exit_now = os.getpid(), os._exit

    def leave_now(status: int) -> NoReturn:
        if status == 0 and os.getpid() == process:
            raise SystemExit(status)
        exit_now(status)

    os._exit = leave_now
    try:
        yield
    finally:
        os._exit = exit_now


@contextmanager
def _stdout_as_log() -> Iterator[None]:
    """Standard output goes to standard error: Python's, and that of C libraries and children."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)
