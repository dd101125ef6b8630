"""Videos with masks of their frames: a folder of images called as each video is."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ray_audit.discovery.class_names import colour_names, names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import kind_of
from ray_audit.discovery.media_groups import media_groups
from ray_audit.discovery.pixel_values import guessed, read_pixels
from ray_audit.discovery.tree import Tree, extension, folder_of
from ray_audit.formats.labels.names import stem_of

_NUM_MASKS = 8
_MOST_VALUES = 64  # a mask has few, a picture many


def video_mask_proposals(tree: Tree) -> Iterator[Guess]:
    """Datasets of videos whose frames have masks, the likeliest first."""
    for group in media_groups(tree, "video", lambda _: True):
        stems = {stem_of(path) for path in group.files}
        found: dict[str, list[str]] = defaultdict(list)
        for path in tree.few:
            if kind_of(path) == "image files":
                for template in _templates(path, stems):
                    found[template].append(path)
        for template, paths in sorted(found.items(), key=lambda item: -len(item[1])):
            proposal = _proposal(tree, group.uri(tree), template, paths)
            if proposal is not None and _num_named(paths, stems) > len(stems) / 2:
                yield proposal


def _templates(path: str, stems: set[str]) -> Iterator[str]:
    """Templates of the masks of a video that a path fits: one for each folder called as one."""
    parts = folder_of(path).split("/")
    for at, part in enumerate(parts):
        if part in stems:
            yield "/".join([*parts[:at], "{stem}", *parts[at + 1 :], f"*{extension(path)}"])


def _num_named(paths: list[str], stems: set[str]) -> int:
    return len({part for path in paths for part in folder_of(path).split("/") if part in stems})


def _proposal(tree: Tree, uri: str | list[str], template: str, paths: list[str]) -> Guess | None:
    few = paths[:: max(1, len(paths) // _NUM_MASKS)][:_NUM_MASKS]
    masks = [mask for mask in (read_pixels(tree, path) for path in few) if mask is not None]
    if not masks or any(len(mask.values) > _MOST_VALUES for mask in masks):
        return None
    guess = guessed(masks, few, names_file(tree), colour_names(tree))
    labels: dict[str, Any] = {"masks": tree.at(template), **guess.labels}
    assumed = [f"masks of frames are the files {template}", *guess.assumed]
    if _first_number(paths) == 1:
        labels["first_frame"] = 1
        assumed.append("frames count from 1, since that is the first number")
    dataset = {"kind": "video", "uri": uri, "labels": labels, **guess.dataset}
    return Guess("videos with masks of their frames", dataset, tuple(assumed), guess.questions)


def _first_number(paths: list[str]) -> int | None:
    """The smallest last number of the files' names."""
    numbers = (re.findall(r"\d+", stem_of(path)) for path in paths)
    return min((int(found[-1]) for found in numbers if found), default=None)
