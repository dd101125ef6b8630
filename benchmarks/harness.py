"""What every benchmark shares: hardware, spread, results as JSON and Markdown."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
_LIBRARIES = ("ray", "torch", "numpy", "pyarrow")


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
        return (
            f"| {self.name} | {self.median:.3g} {self.unit} | {low:.3g} - {high:.3g} | {number} |"
        )


@dataclass(frozen=True)
class Report:
    """A benchmark's figures with what they were measured on."""

    subject: str
    figures: list[Figure]
    notes: list[str] = field(default_factory=list)

    def publish(self) -> None:
        """Print the table, and write it with its raw numbers."""
        markdown = self.markdown()
        print(markdown, flush=True)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.subject}.md").write_text(markdown, encoding="utf-8")
        content = json.dumps(asdict(self) | {"machine": machine()}, indent=2)
        (RESULTS / f"{self.subject}.json").write_text(content, encoding="utf-8")

    def markdown(self) -> str:
        """Table and notes."""
        lines = [f"### {self.subject}", "", f"{machine()}", ""]
        lines += ["| what | median | spread | runs |", "|---|---|---|---|"]
        lines += [figure.row() for figure in self.figures]
        lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"


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
