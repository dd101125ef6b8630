"""A folder for each class."""

from collections.abc import Iterator

from ray_audit.discovery.class_names import folder_classes, names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.media_groups import MediaGroup, media_groups
from ray_audit.discovery.tree import Tree

_MOST_SPREAD = 0.8  # a folder for almost each file is no class


def folder_proposals(tree: Tree) -> Iterator[Guess]:
    """Images, or videos, in a folder for each class."""
    groups = [g for kind in ("images", "video") for g in media_groups(tree, kind, lambda _: True)]
    for group in groups:
        parts = group.patterns[0].split("/")
        if len(parts) < 2 or parts[-2] != "*":
            continue
        inside = [path for path in group.files if _fits(path, parts)]
        classes = folder_classes(tree, inside)
        if len(classes) < 2 or len(classes) > max(2, _MOST_SPREAD * len(inside)):
            continue
        yield _proposal(tree, group, classes)


def _fits(path: str, parts: list[str]) -> bool:
    folders = path.split("/")[:-1]
    return all(part in ("*", folder) for part, folder in zip(parts[:-1], folders, strict=True))


def _proposal(tree: Tree, group: MediaGroup, classes: list[str]) -> Guess:
    assumed = [f"the {len(classes)} folders are the classes"]
    asked = ["the order of your model's outputs: here classes are sorted by name"]
    names = names_file(tree)
    if names is not None and sorted(names[1]) == classes:
        classes, asked = names[1], []
        assumed.append(f"in the order of {names[0]}")
    if group.others:
        assumed.append(f"only the part for training: {', '.join(group.others)} are there too")
    if group.left_out:
        assumed.append(f"files of other extensions are left out, such as {group.left_out[0]}")
    dataset = {"kind": group.kind, "uri": group.uri(tree), "labels": {"folder": True}}
    return Guess(
        "a folder for each class", {**dataset, "classes": classes}, tuple(assumed), tuple(asked)
    )
