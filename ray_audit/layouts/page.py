"""Tables of layouts for the documentation, from the recipes.

`python -m ray_audit.layouts.page docs/datasets.md` writes what stands between
`<!-- layouts: GROUP -->` and `<!-- end -->` in a page anew; a test holds the page to it.
"""

import re
import sys
from pathlib import Path
from typing import Any

from ray_audit.layouts.catalogue import recipes
from ray_audit.layouts.recipe import ROOT, Recipe
from ray_audit.layouts.shown import cut, flow

_TABLE = re.compile(r"(<!-- layouts: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NUM_SHOWN = 4
_MOST_CHARS = 90


def filled(page: str) -> str:
    """A page with the tables between its marks written anew."""
    return _TABLE.sub(lambda found: f"{found[1]}{table(found[2])}\n{found[3]}", page)


def table(group: str) -> str:
    """The layouts of a group as a table in Markdown."""
    rows = ["| `layout` | `kind`, `uri` | `labels` | further keys |", "|---|---|---|---|"]
    for recipe in recipes():
        if recipe.group == group:
            cells = (cell.replace("|", "\\|") for cell in _cells(recipe))
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _cells(recipe: Recipe) -> tuple[str, str, str, str]:
    dataset = _plain(recipe.dataset)
    further = {key: dataset[key] for key in dataset if key not in ("kind", "uri", "labels")}
    required = [f"you give `{key}`" for key in recipe.asks if key not in further]
    return (
        f"`{recipe.name}` {recipe.title}",
        f"{dataset['kind']}, `{dataset['uri']}`",
        _keys(dataset["labels"]),
        ", ".join(part for part in (_keys(further), *required) if part),
    )


def _plain(value: Any) -> Any:
    """Paths below the root, without it."""
    if isinstance(value, str):
        return value.replace(f"{ROOT}/", "")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _keys(section: dict[str, Any]) -> str:
    shown = (f"{key}: {flow(cut(value, _NUM_SHOWN))}" for key, value in section.items())
    return ", ".join(f"`{_short(name)}`" for name in shown)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARS or ", ..., " not in text else _shorter(text)


def _shorter(text: str) -> str:
    """With the first entry of a list and its last, where long names make it long."""
    start, _, rest = text.partition(", ")
    return f"{start}, ..., {rest.rpartition(', ')[2]}"


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
