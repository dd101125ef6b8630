"""Lines on standard error, numbers as people say them, and JSON for programs."""

import json
import math
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from ray_audit.printable import printable

# A sentence stays on one line: a log is searched, and a terminal wraps by itself.
LINE: dict[str, Any] = {"highlight": False, "soft_wrap": True}


class SafeConsole(Console):
    """A console on which names, messages and answers of servers cannot act.

    What is not seen (escape sequences, marks of direction) is written as an escape, and what goes
    on in a new line is indented: a name never makes a line of the log of its own.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """As of `Console`."""
        super().print(*(_one_entry(o) if isinstance(o, str) else o for o in objects), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As of `Console`; tables and texts pass here, each part of a line by itself."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text, keep="\n"), segment.style)


def _one_entry(text: str) -> str:
    """The text with what is not seen escaped, and indented behind its first line."""
    begin = text[: len(text) - len(text.lstrip("\n"))]
    rest = printable(text[len(begin) :], keep="\n")
    return begin + re.sub(r"\n(?=[^\n])", "\n  ", rest)


def human_bytes(num_bytes: float) -> str:
    """Bytes with a binary unit.

    >>> human_bytes(1536)
    '1.5 KiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} TiB"


def human_s(seconds: float) -> str:
    """Seconds as people say them.

    >>> human_s(3725), human_s(8.24)
    ('1 h 2 min', '8.2 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    return f"{minutes // 60} h {minutes % 60} min"


def say(message: str) -> None:
    """A line on standard error."""
    SafeConsole(stderr=True).print(escape(message), **LINE)


def fail(message: str) -> None:
    """Say on standard error why a command stops."""
    SafeConsole(stderr=True).print(f"[bold red]error[/] {escape(message)}", **LINE)


def write_json(value: dict[str, Any]) -> None:
    """One object on standard output, for programs; numbers that are none are null."""
    sys.stdout.write(json.dumps(_finite(value), allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
