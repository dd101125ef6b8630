"""Folders of numbered images, which are the frames of a video each."""

import re
from collections import Counter, defaultdict

from ray_audit.discovery.kinds_of_files import kind_of
from ray_audit.discovery.media_groups import MediaGroup
from ray_audit.discovery.name_pairs import folder_pattern
from ray_audit.discovery.tree import Tree, folder_of
from ray_audit.formats.labels.names import stem_of

_NUMBERED = re.compile(r"(?P<front>\D*)(?P<number>\d+)")
_FEWEST = 2


def numbered_folders(tree: Tree) -> list[MediaGroup]:
    """Folders whose images are called alike but for a number, the same in most folders.

    Whether they are videos, or classes, only a table can tell that labels them.
    """
    inside: dict[str, list[str]] = defaultdict(list)
    for path in tree.files:
        if kind_of(path) == "image files" and "/" in path:
            inside[folder_of(path)].append(stem_of(path))
    by_depth: dict[int, list[str]] = defaultdict(list)
    for folder, stems in inside.items():
        if len(stems) >= _FEWEST and _are_numbered(stems):
            by_depth[folder.count("/")].append(folder)
    groups = []
    for folders in by_depth.values():
        counts = Counter(stem for folder in folders for stem in inside[folder])
        pattern, others = folder_pattern(folders)
        if 2 * counts.most_common(1)[0][1] > len(folders) and pattern[-1] == "*":
            uri = "/".join([*filter(None, pattern), ""])
            groups.append(MediaGroup("video", (uri,), tuple(folders), others))
    return groups


def _are_numbered(stems: list[str]) -> bool:
    found = [_NUMBERED.fullmatch(stem) for stem in stems]
    return all(found) and len({match["front"] for match in found if match}) == 1


def numbers_in(tree: Tree, folders: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """The least and the greatest number of the images in each folder."""
    wanted, found = set(folders), defaultdict[str, list[int]](list)
    for path in tree.files:
        match = _NUMBERED.fullmatch(stem_of(path))
        if match and folder_of(path) in wanted:
            found[folder_of(path)].append(int(match["number"]))
    return {folder: (min(numbers), max(numbers)) for folder, numbers in found.items()}
