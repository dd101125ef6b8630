"""Recipes of published layouts, as a person sees them."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from ray_audit.config import DatasetConfig
from ray_audit.console.lines import SafeConsole
from ray_audit.layouts import Recipe
from ray_audit.layouts.shown import yaml_lines


def expansion_rows(dataset: DatasetConfig) -> list[tuple[str, str]]:
    """What a named layout stands for, and what was given beside it; nothing where none is named."""
    expansion = dataset.expansion
    if expansion is None:
        return []
    recipe = expansion.recipe
    rows = [("layout", f"{recipe.name}: {recipe.title}, at {expansion.root}, stands for")]
    rows.append(("", "\n".join(yaml_lines(expansion.values))))
    if expansion.overrides:
        rows.append(("given beside it", ", ".join(expansion.overrides)))
    if recipe.note:
        rows.append(("", " ".join(recipe.note.split())))
    return rows


def expansion_of(dataset: DatasetConfig) -> dict[str, Any] | None:
    """The same for programs, with every value."""
    expansion = dataset.expansion
    if expansion is None:
        return None
    return {
        "layout": expansion.recipe.name,
        "root": expansion.root,
        "dataset": expansion.values,
        "given": list(expansion.overrides),
    }


def print_layouts(recipes: Iterable[Recipe]) -> None:
    """All layouts, a line each, on standard output."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("layout", "labels", "what it is"):
        table.add_column(title, no_wrap=title != "what it is")
    for recipe in recipes:
        table.add_row(recipe.name, recipe.group, recipe.title)
    SafeConsole().print(table)


def print_layout(recipe: Recipe) -> None:
    """One layout, with all that it stands for, on standard output."""
    console = SafeConsole()
    lines = [recipe.title, f"  {recipe.source}", "", "dataset:"]
    lines += [f"  {line}" for line in yaml_lines(recipe.dataset, None)]
    lines += ["", "  you say:", "    root: the folder that stands for {root}"]
    lines += [f"    {key}: {meaning}" for key, meaning in recipe.asks.items()]
    if recipe.note:
        lines += ["", f"  {' '.join(recipe.note.split())}"]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
