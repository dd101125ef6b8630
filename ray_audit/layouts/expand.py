"""A recipe and what is given beside it, as the section that they stand for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray_audit import storage
from ray_audit.layouts.catalogue import recipe_named
from ray_audit.layouts.recipe import ROOT, Recipe

_FORMS = ("frames", "segments", "videos", "masks", "images", "folder", "column", "arrays")
_REQUIRED = ("kind", "uri", "labels", "classes")


@dataclass(frozen=True)
class Expansion:
    """What a recipe stands for.

    Attributes:
        recipe: it.
        root: the folder of the dataset.
        values: the section `dataset`, as plain values.
        overrides: dotted names of the keys that were given beside the recipe, and won.
    """

    recipe: Recipe
    root: str
    values: dict[str, Any]
    overrides: tuple[str, ...]


def expanded(given: Mapping[str, Any]) -> Expansion:
    """Expand `layout` and `root` of a section `dataset`; what is given beside them wins.

    Of nested keys each wins alone, but `classes`, `labels.values` and labels of another form than
    the recipe's are taken as they are given.

    Raises:
        SpecificationError: there is no such recipe.
        ValueError: the root is missing, or a key that the recipe leaves open.
    """
    recipe = recipe_named(str(given["layout"]))
    root = given.get("root")
    if not isinstance(root, str) or not root:
        raise ValueError(f"layout {recipe.name} needs root: the folder in which the dataset lies")
    if "{" in root or "}" in root:
        raise ValueError(f"root {root!r} has braces, which would be fields of a template")
    root = root if root.strip("/") == "" else root.rstrip("/")
    own = {key: value for key, value in given.items() if key not in ("layout", "root")}
    values, changed = _merged(filled(recipe.dataset, root), own)
    missing = [key for key in _REQUIRED if key not in values]
    if missing:
        meanings = "; ".join(f"{key}: {recipe.asks.get(key, 'is missing')}" for key in missing)
        raise ValueError(f"layout {recipe.name} leaves open {meanings}")
    return Expansion(recipe, root, values, tuple(changed))


def filled(dataset: Mapping[str, Any], root: str) -> dict[str, Any]:
    """A recipe's section with the root in place; wildcards in the root's own name are literal."""
    values: dict[str, Any] = _filled(dict(dataset), root)
    if "uri" in dataset:
        values["uri"] = _filled(dataset["uri"], storage.escape_glob(root))
    return values


def _filled(value: Any, root: str) -> Any:
    if isinstance(value, str):
        return value.replace(ROOT, root)
    if isinstance(value, list):
        return [_filled(item, root) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, root) for key, item in value.items()}
    return value


def _merged(recipe: dict[str, Any], own: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    values, changed = dict(recipe), list[str]()
    for key, value in own.items():
        base = recipe.get(key)
        is_section = isinstance(value, dict) and isinstance(base, dict)
        is_other_form = key == "labels" and is_section and _form(value) not in (None, _form(base))
        if is_section and key != "classes" and not is_other_form:
            inner, names = _merged_section(base, value)
            values[key] = inner
            changed += [f"{key}.{name}" for name in names]
        else:
            values[key] = value
            changed.append(key)
    return values, changed


def _merged_section(base: Any, own: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    columns = base.get("columns") if isinstance(own.get("columns"), dict) else None
    merged = {**base, **own}
    if isinstance(columns, dict):
        merged["columns"] = {**columns, **own["columns"]}
    for key, other in (("values", "first_value"), ("first_value", "values")):
        if key in own and other not in own:
            merged.pop(other, None)
    return merged, list(own)


def _form(labels: Any) -> str | None:
    return next((form for form in _FORMS if labels.get(form)), None)
