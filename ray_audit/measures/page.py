"""The list of score columns for the documentation, from the declarations.

`python -m ray_audit.measures.page docs/scores.md` writes what stands between `<!-- measures -->`
and `<!-- end -->` anew; a test holds the page to it. Without a page it prints the list, with the
columns of installed packages.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from ray_audit.measures import Measures, measures
from ray_audit.measures.registry import collected
from ray_audit.schemas import Column

_LIST = re.compile(r"(<!-- measures -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """A page with the list of our own columns written anew."""
    return _LIST.sub(lambda found: f"{found[1]}{listed(collected())}\n{found[2]}", page)


def listed(declared: Measures) -> str:
    """Tables of the score columns of each family and of the dataset's quantities, in Markdown."""
    rows = ["| column | what it is | unit | direction | source |", "|---|---|---|---|---|"]
    for _, family in declared.families:
        if family.scores:
            rows.append(f"| **{family.title}** | | | | |")
        rows += _unique(column for score in family.scores for column in score.columns)
    rows += ["", "| known of the whole dataset | what it is |", "|---|---|"]
    states = {state.name: state for _, family in declared.families for state in family.dataset}
    rows += [f"| `{name}` | {state.definition} |" for name, state in states.items()]
    return "\n".join(rows)


def line(column: Column) -> str:
    """One column, as a row of the list."""
    cells = (f"`{column.name}`", column.definition, column.unit, column.direction, column.source)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _unique(columns: Iterable[Column]) -> list[str]:
    """A line per column: of those that there are for each target of VoG, the first."""
    return list({column.name: line(column) for column in reversed(list(columns))}.values())[::-1]


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    if not sys.argv[1:]:
        print(listed(measures()))
