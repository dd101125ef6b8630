"""Classes that a recipe leaves open, from what lies there."""

import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from ray_audit.config import LabelsConfig
from ray_audit.discovery.class_names import folder_classes, names_file
from ray_audit.discovery.fitting import Fit, regex
from ray_audit.discovery.label_classes import classes_of
from ray_audit.discovery.pixel_values import guessed, read_pixels
from ray_audit.discovery.tree import Tree
from ray_audit.errors import RayAuditError
from ray_audit.formats.labels.tables import read_table
from ray_audit.formats.labels.text_tables import TextForm
from ray_audit.layouts.expand import filled
from ray_audit.layouts.recipe import ROOT

_NUM_READ = 24
_NUM_CHUNKS = 4
_TABLES = ("frames", "segments", "videos", "images")


class OpenClasses(NamedTuple):
    """Keys that are given beside a layout.

    Attributes:
        keys: of the section `dataset`.
        assumed: what was assumed.
    """

    keys: dict[str, Any]
    assumed: tuple[str, ...]


def with_classes(tree: Tree, fit: Fit, root: str) -> OpenClasses | None:
    """Classes for a recipe that leaves them open; None where nothing tells them.

    Args:
        tree: what lies there.
        fit: the recipe, and where it fits.
        root: the folder that stands for the recipe's root.
    """
    dataset, labels = fit.recipe.dataset, fit.recipe.dataset["labels"]
    if labels.get("folder"):
        classes = folder_classes(tree, _found(tree, fit, dataset["uri"]))
        return OpenClasses({"classes": classes}, (f"classes are the {len(classes)} folders",))
    names = names_file(tree)
    if "masks" in labels:
        paths = _found(tree, fit, labels["masks"])[:_NUM_READ]
        masks = [
            candidate
            for candidate in (read_pixels(tree, path) for path in paths)
            if candidate is not None
        ]
        if not masks:
            return None
        guess = guessed(masks, paths, names)
        keys = {**guess.dataset, **({"labels": guess.labels} if guess.labels else {})}
        return OpenClasses(keys, guess.assumed)
    form = next((candidate for candidate in _TABLES if candidate in labels), None)
    if form is None:
        return None
    config = LabelsConfig.model_validate(filled({"labels": labels}, root)["labels"])
    values = _values(config, [tree.at(path) for path in _found(tree, fit, labels[form])])
    if not values:
        return None
    found = classes_of(values, names)
    more = {"labels": found.labels} if found.labels else {}
    return OpenClasses({"classes": found.classes, **more}, found.assumed)


def _values(labels: LabelsConfig, uris: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels of some tables, in the order in which they come."""
    name = labels.columns.image if labels.form == "images" else labels.columns.video
    values: dict[str, None] = {}
    for uri in islice(uris, _NUM_READ):
        if not isinstance(labels.columns.label, str):
            return tuple(labels.columns.label)
        columns = {"label": labels.columns.label}
        columns |= {"name": name} if labels.form in ("images", "videos") else {}
        with suppress(RayAuditError):
            for chunk in islice(read_table(uri, columns, TextForm.of(labels)), _NUM_CHUNKS):
                values |= dict.fromkeys(map(_text, chunk.columns["label"].unique().to_pylist()))
    return tuple(value for value in values if value)


def _text(label: str | bool | None) -> str:
    return str(label).lower() if isinstance(label, bool) else label or ""


def _found(tree: Tree, fit: Fit, pattern: str) -> list[str]:
    """Files of the tree that a pattern or template of a recipe fits."""
    parts = re.split(r"(\{\w+\})", pattern.removeprefix(f"{ROOT}/"))
    expression = "".join(".*" if part.startswith("{") else regex(part) for part in parts)
    compiled = re.compile(expression)
    if fit.root == "..":
        own = tree.uri.rsplit("/", 1)[-1]
        return [path for path in tree.files if compiled.fullmatch(f"{own}/{path}")]
    root = f"{fit.root}/" if fit.root else ""
    inner = (path for path in tree.files if path.startswith(root))
    return [path for path in inner if compiled.fullmatch(path[len(root) :])]
