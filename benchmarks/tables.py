"""docs/performance.md: the prose of benchmarks/performance.md with the tables of the results.

A line `{{ subject }}` stands for the table of `results/<subject>.json`. Where that is missing, the
page says so.

    python -m benchmarks.tables
"""

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness import RESULTS, Report, read_report

PROSE = Path(__file__).with_name("performance.md")
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_PLACE = re.compile(r"^\{\{ (?P<subject>[\w-]+) \}\}$", re.MULTILINE)

Reports = Mapping[str, tuple[Report, dict[str, str]]]


def subjects(prose: str) -> list[str]:
    """Results that the page shows, in order."""
    return [found["subject"] for found in _PLACE.finditer(prose)]


def page(prose: str, reports: Reports) -> str:
    """The prose with a table in each place.

    Args:
        prose: with its places.
        reports: subject -> report, and when and on what it was measured.
    """
    return _PLACE.sub(lambda found: _table(found["subject"], reports), prose)


def _table(subject: str, reports: Reports) -> str:
    if subject not in reports:
        return f"Not yet measured: no `benchmarks/results/{subject}.json`."
    report, measured = reports[subject]
    when = f"Measured {measured['date']} on {measured['machine']}."
    return "\n".join([*report.table(), "", when])


def main() -> None:
    """Write the page."""
    prose = PROSE.read_text(encoding="utf-8")
    there = [name for name in subjects(prose) if (RESULTS / f"{name}.json").exists()]
    PAGE.write_text(page(prose, {name: read_report(name) for name in there}), encoding="utf-8")
    print(f"{PAGE}: {len(there)} of {len(subjects(prose))} tables")


if __name__ == "__main__":
    main()
