"""Files that lie as a published dataset does, whose stored numbers mean other classes there."""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ray_audit.config import DatasetConfig
from ray_audit.engine.planning.plan import Inputs
from ray_audit.errors import SpecificationError
from ray_audit.layouts import recipes
from ray_audit.layouts.recipe import Recipe

_PART_OF_A_DATASET = re.compile("train(ing)?")  # validation lies alike, under another name
_LEAST_SHARED = 0.5


def check_published(inputs: Inputs) -> None:
    """Hold what masks' numbers are said to mean against the layout in which their files lie.

    Raises:
        SpecificationError: numbers would be read as other classes than that layout's.
    """
    dataset = inputs.config.dataset
    labels = dataset.labels
    says_how = (labels.values, labels.first_value, labels.number, labels.panoptic)
    if not labels.masks or dataset.expansion is not None or any(o is not None for o in says_how):
        return
    paths = [
        path
        for shard in inputs.listing.shards[:1]
        for path in (shard.uri, shard.label_uri)
        if path is not None
    ]
    for recipe in recipes():
        if recipe.is_general or not _lies_so(paths, recipe):
            continue
        for number, meant, read in _misread(recipe, dataset):
            raise SpecificationError(
                f"dataset: files lie as those of {recipe.title} do, where {number} in a mask is "
                f"{meant!r}; by dataset.classes it would be {read!r}. Give dataset.labels."
                f"{'first_value' if 'first_value' in recipe.dataset['labels'] else 'values'} as "
                f"`ray-audit layouts {recipe.name}` has it, or dataset.layout: {recipe.name}; "
                "where the files were written anew with the indices of dataset.classes, "
                "dataset.labels.first_value: 0 says so"
            )


def _lies_so(paths: list[str], recipe: Recipe) -> bool:
    """Whether each pattern of the layout fits one of the paths, at their end."""
    return len(paths) > 1 and all(
        any(_fits(path, _PART_OF_A_DATASET.sub("*", pattern)) for path in paths)
        for pattern in recipe.files
    )


def _fits(path: str, pattern: str) -> bool:
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) >= len(patterns) and all(
        fnmatchcase(part, of) for part, of in zip(parts[-len(patterns) :], patterns, strict=True)
    )


def _misread(recipe: Recipe, dataset: DatasetConfig) -> Iterator[tuple[int, str, str]]:
    """Numbers that are indices of other classes than the layout's: number, its class, the other."""
    meanings = _meanings(recipe.dataset)
    wanted = {_plain(name) for name in meanings.values()}
    given = {_plain(name) for name in dataset.classes}
    is_named_alike = len(wanted & given) >= _LEAST_SHARED * len(wanted)
    if not is_named_alike and len(given) != len(wanted):
        return  # classes of one's own
    names = list(dict.fromkeys(recipe.dataset.get("classes", ())))
    for number, meant in sorted(meanings.items()):
        if not 0 <= number < len(dataset.classes):
            continue
        read = dataset.classes[number]
        is_same = _plain(read) == _plain(meant) if is_named_alike else names[number] == meant
        if not is_same:
            yield number, meant, read


def _meanings(section: Mapping[str, Any]) -> dict[int, str]:
    """Which class a stored number is, by a layout that does not count from 0; void left out."""
    labels, classes = section.get("labels", {}), section.get("classes")
    if not isinstance(classes, list):
        return {}
    if "first_value" in labels:
        return {labels["first_value"] + index: name for index, name in enumerate(classes)}
    values = labels.get("values")
    if not isinstance(values, Mapping):
        return {}
    return {
        number: name
        for number, name in values.items()
        if isinstance(number, int) and name in classes
    }


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()
