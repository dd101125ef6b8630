"""A folder for each class."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ray_audit.discovery.class_names import folder_classes, names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import is_table
from ray_audit.discovery.media_groups import MediaGroup, media_groups
from ray_audit.discovery.table_heads import read_heads
from ray_audit.discovery.tree import Tree, folder_of
from ray_audit.discovery.words import NO_CLASS, NO_CLASS_FOLDER
from ray_audit.formats.registry import format_of

_NAMED = r"(?:^|/)([^/]+?)[._-]?\d+\.[^./]+$"
_NAMED_BEHIND = r"(?:^|/)[^/]*\d[._ -]([^/\d]+)\.[^./]+$"
_DATE = re.compile(r"(19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d(\D.*)?")
_NUM_TABLES = 20
_MOST_SPREAD = 0.8  # a folder for almost each file is no class


def folder_proposals(tree: Tree) -> Iterator[Guess]:
    """Images, or videos, in a folder for each class."""
    groups = [g for kind in ("images", "video") for g in media_groups(tree, kind, _is_sample)]
    for group in groups:
        parts = group.patterns[0].split("/")
        if "*" in parts[:-2] and parts[-2] != "*":
            yield from _higher_folder(tree, group, parts)
        if len(parts) < 2 or parts[-2] != "*":
            continue
        inside = [path for path in group.files if _fits(path, parts)]
        classes = folder_classes(tree, inside)
        if len(classes) < 2 or len(classes) > max(2, _MOST_SPREAD * len(inside)):
            continue
        if not _are_samples(tree, group, classes):
            proposal = _proposal(tree, group, classes)
            others = [other for other in groups if other is not group and other.kind == group.kind]
            said = (*_left_out(others), *_tables_left_out(tree, group))
            yield replace(proposal, assumed=(*proposal.assumed, *said))


def _left_out(groups: Sequence[MediaGroup]) -> Iterator[str]:
    """A sentence on files of the kind that lie deeper or higher than those of the pattern."""
    for group in groups[:1]:
        num = sum(len(other.files) for other in groups)
        yield f"{num} {group.kind} at another depth are left out, such as {group.files[0]}"


def _tables_left_out(tree: Tree, group: MediaGroup) -> Iterator[str]:
    """A sentence on each table that names files as several folders have one."""
    counts = Counter(path.rsplit("/", 1)[-1] for path in group.files)
    several = {name for name, num in counts.items() if num > 1}
    several |= {name.rpartition(".")[0] for name in several}
    for path in [path for path in tree.files if is_table(path)][:_NUM_TABLES] if several else ():
        columns = (
            head.column(index)
            for head in read_heads(tree, path)
            for index in range(len(head.rows[0]) if head.rows else 0)
        )
        name = next((value for column in columns for value in column if value in several), None)
        if name is not None:
            yield (
                f"{path} is left out: it names files such as {name}, which lie in several folders; "
                "where it has the labels, write the folders into it"
            )


def _are_samples(tree: Tree, group: MediaGroup, folders: list[str]) -> bool:
    """Whether folders are no classes: a video or a table is called as each, or it is a kind."""
    if any(NO_CLASS_FOLDER.fullmatch(folder) for folder in folders) or _are_days(folders):
        return True  # images beside their masks, parts of a dataset, or days of recording
    requested, own = set(folders), set(group.files)
    others = (p for p in tree.files if p not in own and (is_table(p) or _is_video(p)))
    called = {path.rsplit("/", 1)[-1].partition(".")[0] for path in others}
    if len(called & requested) > len(requested) / 2:
        return True
    return _are_numbered(group) and _are_labelled(tree, requested)


def _are_days(folders: Sequence[str]) -> bool:
    return all(_DATE.fullmatch(folder) for folder in folders)


def _are_numbered(group: MediaGroup) -> bool:
    """Whether files are called by numbers alone, the same ones in most folders, as frames are."""
    stems: dict[str, set[str]] = {}
    for path in group.files:
        stems.setdefault(folder_of(path), set()).add(path.rsplit("/", 1)[-1].rpartition(".")[0])
    counts = Counter(stem for inner in stems.values() for stem in inner)
    return all(map(str.isdigit, counts)) and counts.most_common(1)[0][1] > len(stems) / 2


def _are_labelled(tree: Tree, folders: set[str]) -> bool:
    """Whether a table names the folders, and what several of them have, or several of each."""
    for path in [path for path in tree.files if is_table(path)][:_NUM_TABLES]:
        for head in read_heads(tree, path):
            columns = [head.column(index) for index in range(len(head.rows[0]))]
            naming = [c for c in columns if len(folders & set(c)) > len(folders) / 2]
            if naming and any(1 < len(set(c)) < len(set(naming[0])) for c in columns):
                return True
            if naming and len(naming[0]) > len(set(naming[0])) and not _name_files(columns):
                return True  # segments of each, say
    return False


def _name_files(columns: Sequence[Sequence[str]]) -> bool:
    """Whether a column names files, by their extensions."""
    return any(all(format_of(value) for value in column) for column in columns)


def _is_video(path: str) -> bool:
    form = format_of(path)
    return form is not None and form.kind == "video"


def _is_sample(path: str) -> bool:
    """Whether a file has one label: a volume has as many as slices."""
    form = format_of(path)
    return form is not None and not form.is_volume


def _higher_folder(tree: Tree, group: MediaGroup, parts: list[str]) -> Iterator[Guess]:
    """A folder for each class, with a folder of one name in each."""
    at = parts.index("*")
    inside = [path for path in group.files if _fits(path, parts)]
    classes = sorted({path.split("/")[at] for path in inside})
    if 2 <= len(classes) <= max(2, _MOST_SPREAD * len(inside)) and not _are_days(classes):
        proposal = _proposal(tree, group, classes)
        proposal.dataset["labels"]["match"] = "^([^/]+)/"
        yield proposal


def named_proposals(tree: Tree) -> Iterator[Guess]:
    """Images whose names begin with their class and end with a number, or the other way round."""
    for group in media_groups(tree, "images", lambda _: True):
        names = [path.rsplit("/", 1)[-1] for path in group.files]
        for pattern, where in ((_NAMED, "beginnings"), (_NAMED_BEHIND, "ends")):
            found = [re.search(pattern, name) for name in names]
            counts = Counter(item[1] for item in found if item)
            is_named = all(found) and all(any(map(str.isalpha, name)) for name in counts)
            if not is_named or len(counts) < 2 or min(counts.values()) < 2:
                continue
            if pattern is _NAMED_BEHIND and not _are_of_one_each(found):
                continue
            proposal = _proposal(tree, group, sorted(counts), f"{where} of the names")
            proposal.dataset["labels"]["match"] = pattern
            yield replace(proposal, what="images whose names hold their class")


def _are_of_one_each(found: Sequence[re.Match[str] | None]) -> bool:
    """Whether each number has one name (`1_left` and `1_right` are views), and none is a mask's."""
    named = [(item.string[: item.start(1)], item[1]) for item in found if item]
    words = {word for _, name in named for word in re.split(r"[_. -]", name)}
    is_class = not any(NO_CLASS.fullmatch(word) for word in words)
    return is_class and len({front for front, _ in named}) == len(named)


def _fits(path: str, parts: list[str]) -> bool:
    folders = path.split("/")[:-1]
    return all(part in ("*", folder) for part, folder in zip(parts[:-1], folders, strict=True))


def _proposal(tree: Tree, group: MediaGroup, classes: list[str], where: str = "folders") -> Guess:
    assumed = [f"the {len(classes)} {where} are the classes"]
    questions = ["the order of your model's outputs: here classes are sorted by name"]
    names = names_file(tree)
    if names is not None and sorted(names.names) == classes:
        classes, questions = names.names, []
        assumed.append(f"in the order of {names.where}")
    if group.others:
        assumed.append(f"only the part for training: {', '.join(group.others)} are there too")
    if group.left_out:
        assumed.append(f"files of other extensions are left out, such as {group.left_out[0]}")
    dataset = {"kind": group.kind, "uri": group.uri(tree), "labels": {"folder": True}}
    return Guess(
        "a folder for each class", {**dataset, "classes": classes}, tuple(assumed), tuple(questions)
    )
