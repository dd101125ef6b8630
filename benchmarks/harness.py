"""What every benchmark shares: options, hardware, spread, results as JSON and Markdown."""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_LIBRARIES = ("ray", "torch", "numpy", "pyarrow", "av", "pillow", "cleanlab")
REPEATS = 5


class _Parser(argparse.ArgumentParser):
    """Measures once where it is only to be seen that a benchmark works."""

    num_repeats = REPEATS

    def parse_args(self, *args: Any, **options: Any) -> Any:
        """As ever, with the number of repeats that goes with the others."""
        chosen = super().parse_args(*args, **options)
        if chosen.repeats is None:
            chosen.repeats = 1 if chosen.quick else self.num_repeats
        return chosen


def parser(doc: str | None, repeats: int = REPEATS) -> argparse.ArgumentParser:
    """Options that every benchmark has.

    Args:
        doc: the module's docstring.
        repeats: how often each measurement is taken, unless another number is given; once if quick.
    """
    made = _Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.num_repeats = repeats
    made.add_argument("--repeats", type=int, help=f"of each measurement (default: {repeats})")
    made.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it works; nothing is written"
    )
    return made


@dataclass(frozen=True)
class Figure:
    """Repeated measurements of one quantity."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Middle of the measurements."""
        return statistics.median(self.values)

    def row(self) -> str:
        """A line of a Markdown table."""
        low, high = min(self.values), max(self.values)
        number = len(self.values)
        median = f"{digits(self.median)} {self.unit}".strip()
        return f"| {self.name} | {median} | {digits(low)} - {digits(high)} | {number} |"


def digits(value: float) -> str:
    """Three digits, and no exponent where a number reads well without.

    >>> digits(1382.4), digits(0.00152), digits(17.36)
    ('1,380', '0.00152', '17.4')
    """
    return f"{float(f'{value:.3g}'):,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


@dataclass(frozen=True)
class Report:
    """A benchmark's figures with what they were measured on."""

    subject: str
    figures: list[Figure]
    notes: list[str] = field(default_factory=list)

    def publish(self, is_kept: bool = True) -> None:
        """Print the table, and write it with its raw numbers."""
        markdown = self.markdown()
        print(markdown, flush=True)
        if not is_kept:
            return
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.subject}.md").write_text(markdown, encoding="utf-8")
        content = asdict(self) | {"machine": machine(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        text = json.dumps(content, indent=1)
        (RESULTS / f"{self.subject}.json").write_text(text + "\n", encoding="utf-8")

    def markdown(self) -> str:
        """Table and notes."""
        return "\n".join([f"### {self.subject}", "", machine(), "", *self.table()]) + "\n"

    def table(self) -> list[str]:
        """Lines of the table and of the notes below it."""
        lines = ["| what | median | spread | runs |", "|---|---|---|---|"]
        lines += [figure.row() for figure in self.figures]
        return [*lines, "", *(f"- {note}" for note in self.notes)]


def read_report(subject: str) -> tuple[Report, dict[str, str]]:
    """A report that was published, and on what machine and when it was measured."""
    content = json.loads((RESULTS / f"{subject}.json").read_text(encoding="utf-8"))
    figures = [Figure(f["name"], f["unit"], tuple(f["values"])) for f in content["figures"]]
    report = Report(content["subject"], figures, content["notes"])
    return report, {name: content[name] for name in ("machine", "date")}


def machine() -> str:
    """Cores, processor and versions, in one line."""
    libraries = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"{libraries}"
    )


def _version(name: str) -> str:
    """Of a library; some benchmarks run where not all of them are."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def ratios(tops: Sequence[float], bottoms: Sequence[float]) -> tuple[float, ...]:
    """Pairwise quotients of measurements that were taken in turn."""
    return tuple(top / bottom for top, bottom in zip(tops, bottoms, strict=True))
