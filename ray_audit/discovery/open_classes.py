"""Classes that a recipe leaves open, from what lies there."""

import re
from typing import Any, NamedTuple

from ray_audit.discovery.class_names import folder_classes, names_file
from ray_audit.discovery.fitting import Fit, regex
from ray_audit.discovery.label_classes import classes_of
from ray_audit.discovery.pixel_values import guessed, read_pixels
from ray_audit.discovery.table_heads import read_heads
from ray_audit.discovery.tree import Tree
from ray_audit.layouts.recipe import ROOT

_NUM_READ = 24


class OpenClasses(NamedTuple):
    """Keys that are given beside a layout.

    Attributes:
        keys: of the section `dataset`.
        told: what was assumed.
    """

    keys: dict[str, Any]
    told: tuple[str, ...]


def with_classes(tree: Tree, fit: Fit) -> OpenClasses | None:
    """Classes for a recipe that leaves them open; None where nothing tells them."""
    dataset, labels = fit.recipe.dataset, fit.recipe.dataset["labels"]
    names = names_file(tree)
    if labels.get("folder"):
        files = _found(tree, fit, dataset["uri"])
        classes = folder_classes(tree, files)
        return OpenClasses({"classes": classes}, (f"classes are the {len(classes)} folders",))
    if "masks" in labels:
        paths = _found(tree, fit, labels["masks"])[:_NUM_READ]
        masks = [one for one in (read_pixels(tree, path) for path in paths) if one is not None]
        if not masks:
            return None
        guess = guessed(masks, paths, names)
        keys = {**guess.dataset, **({"labels": guess.labels} if guess.labels else {})}
        return OpenClasses(keys, guess.told)
    form = next(iter(labels))
    values: dict[str, None] = {}
    for path in _found(tree, fit, labels[form])[:_NUM_READ]:
        for head in read_heads(tree, path)[:1]:
            header = list(labels.get("header") or head.names or ())
            column = labels.get("columns", {}).get("label", "label")
            if column in header:
                has_header = head.names is not None and not labels.get("header")
                rows = head.rows if has_header or head.names is None else (head.names, *head.rows)
                values |= dict.fromkeys(row[header.index(column)] for row in rows)
    kept = tuple(value for value in values if value)
    if not kept:
        return None
    found = classes_of(kept, names)
    more = {"labels": found.labels} if found.labels else {}
    return OpenClasses({"classes": found.classes, **more}, found.told)


def _found(tree: Tree, fit: Fit, pattern: str) -> list[str]:
    """Files of the tree that a pattern or template of a recipe fits."""
    root = f"{fit.root}/" if fit.root not in ("", "..") else ""
    text = pattern.removeprefix(f"{ROOT}/")
    parts = re.split(r"(\{\w+\})", text)
    expression = "".join(".*" if part.startswith("{") else regex(part) for part in parts)
    own = tree.uri.rsplit("/", 1)[-1]
    compiled = re.compile(expression)
    if fit.root == "..":
        return [path for path in tree.files if compiled.fullmatch(f"{own}/{path}")]
    inner = (path for path in tree.files if path.startswith(root))
    return [path for path in inner if compiled.fullmatch(path[len(root) :])]
