"""A folder for each class in a zip archive."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ray_audit import archives, storage
from ray_audit.discovery.class_names import names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import kind_of, not_for_training
from ray_audit.discovery.tree import Tree, extension
from ray_audit.errors import RayAuditError

_MOST_SPREAD = 0.5  # a folder for almost each file is no class


def zip_proposals(tree: Tree) -> Iterator[Guess]:
    """Archives whose images lie in a folder for each class; those for training first."""
    zips = [path for path in tree.files if extension(path) == archives.ENDING]
    for path in sorted(zips, key=not_for_training):
        with suppress(RayAuditError):
            yield from _proposals(tree, path)


def _proposals(tree: Tree, path: str) -> Iterator[Guess]:
    uri = tree.at(path)
    listed = [archives.parted(item.uri)[1] for item in storage.list_data(uri)]
    images = [member for member in listed if kind_of(member) == "image files"]
    train = [member for member in images if not not_for_training(member)]
    parts = [member.split("/") for member in train]
    heads, depths = {tuple(part[:-2]) for part in parts}, {len(part) for part in parts}
    ends = {extension(member) for member in train}
    if len(heads) != 1 or len(depths) != 1 or min(depths) < 2 or len(ends) != 1:
        return
    classes = sorted({part[-2] for part in parts})
    if not 2 <= len(classes) <= max(2, _MOST_SPREAD * len(train)):
        return
    pattern = "/".join([*next(iter(heads)), "*", f"*{next(iter(ends))}"])
    questions = ["the order of your model's outputs: here classes are sorted by name"]
    assumed = [f"the {len(classes)} folders in {path} are the classes"]
    names = names_file(tree)
    if names is not None and sorted(names[1]) == classes:
        classes, questions = names[1], []
        assumed.append(f"in the order of {names[0]}")
    if len(train) < len(images):
        assumed.append("only the part for training: there are others too")
    dataset: dict[str, Any] = {
        "kind": "images",
        "uri": f"zip://{pattern}::{uri}",
        "labels": {"folder": True},
    }
    dataset["classes"] = classes
    what = "a folder for each class in a zip archive"
    yield Guess(what, dataset, tuple(assumed), tuple(questions))
