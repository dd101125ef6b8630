"""Tables that name the files of a dataset, and label them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ray_audit.discovery.class_names import NamesFound, names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import is_table, not_for_training
from ray_audit.discovery.label_classes import classes_of
from ray_audit.discovery.label_columns import Reading, counted, reading_of
from ray_audit.discovery.media_groups import MediaGroup, media_groups
from ray_audit.discovery.numbered_folders import numbered_folders, numbers_in
from ray_audit.discovery.table_heads import Head, read_heads
from ray_audit.discovery.tree import Tree, folder_of
from ray_audit.discovery.video_facts import clock_of, with_seconds
from ray_audit.discovery.words import LABEL_FILE
from ray_audit.formats.registry import format_of

_NUM_TABLES = 40
_FPS = 25
_NUM_VALUES = 500
_LEAST_FRACTION = 0.5
_SPLITS = re.compile(r"split|fold|partition|subset", re.IGNORECASE)
_PART_NUMBERS = {"0", "1", "2", "3"}
_SIDE = re.compile(r"^(?P<front>\D{0,12}?)(?P<core>.+?)(?P<back>_\d{4,}_\d{4,})?$")


def table_proposals(tree: Tree) -> Iterator[Guess]:
    """Datasets that a table labels, the likeliest first."""
    tables = sorted((path for path in tree.files if is_table(path)), key=_order)[:_NUM_TABLES]
    heads = {path: read_heads(tree, path) for path in tables}
    found = []
    for kind in ("images", "video", "sequences"):
        for group in media_groups(tree, kind, lambda path: path not in heads):
            names = FileNames(group)
            for path in tables:
                for head in heads[path]:
                    proposal = _proposal(tree, group, names, path, head)
                    if proposal is not None:
                        found.append(proposal)
                        break
    for group in numbered_folders(tree):
        names = FileNames(group)
        for path in tables:
            of_frames = (_of_frames(tree, group, names, path, head) for head in heads[path])
            found += [item for item in of_frames if item is not None][:1]
    found.sort(key=lambda scored: -scored[0])
    yield from (proposal for _, proposal in found)


def _order(path: str) -> tuple[bool, int, bool, str]:
    name = path.rsplit("/", 1)[-1]
    return not_for_training(path), path.count("/"), not LABEL_FILE.search(name), path


def _plain(value: str) -> str:
    return value.replace("\\", "/").removeprefix("./").lstrip("/")


class FileNames:
    """What a table may call the files of a group."""

    def __init__(self, group: MediaGroup) -> None:
        above = len(group.root) + 1 if group.root else 0
        self._names: dict[str, str] = {}
        self._cores: dict[str, str] = {}
        for path in group.files:
            key = path[above:]
            name = key.rsplit("/", 1)[-1]
            for spelling in (key, key.rsplit(".", 1)[0], name, name.rsplit(".", 1)[0]):
                self._names.setdefault(spelling, path)
            parts = path[:above].split("/")
            for cut in range(len(parts) - 1):  # named from further up than keys begin
                self._names.setdefault("/".join([*parts[cut:-1], key]), path)
            found = _SIDE.match(name.rsplit(".", 1)[0])
            if found:
                self._cores.setdefault(found["core"], path)
            front, _, rest = name.rsplit(".", 1)[0].partition("_")
            if rest and front.isalpha():  # `v_` before the name of a video, say
                self._cores.setdefault(rest, path)

    def path_of(self, value: str) -> str | None:
        """The file that a value names, in whole or by a part of its name."""
        return self._names.get(_plain(value)) or self._cores.get(value)

    def found(self, values: Sequence[str]) -> list[str]:
        """Files that some values name; empty where too few do."""
        named = [self._names[value] for value in map(_plain, values) if value in self._names]
        return named if self._are_enough(named, values) else []

    def found_by_part(self, values: Sequence[str]) -> Mapping[str, str]:
        """Values that are a part of a name, and that name."""
        named = {v: self._cores[v] for v in values if v in self._cores}
        return named if self._are_enough(list(named.values()), values) else {}

    def _are_enough(self, named: Sequence[str], values: Sequence[str]) -> bool:
        num = len(set(named))
        max_named = min(len(set(values)), len(set(self._names.values())))
        return num >= max(1, _LEAST_FRACTION * max_named)


def _proposal(
    tree: Tree, group: MediaGroup, names: FileNames, path: str, head: Head
) -> tuple[float, Guess] | None:
    if head.names is not None and names.found(head.names):
        return None  # its first line is a row
    best: tuple[int, int, str | None] | None = None
    for index in range(len(head.rows[0])):
        values = head.column(index)[:_NUM_VALUES]
        num, match = len(set(names.found(values))), None
        if not num:
            parts = names.found_by_part(values)
            num, match = len(parts), name_pattern(parts)
        if num and (match or names.found(values)) and (best is None or num > best[0]):
            best = (num, index, match)
    if best is None:
        return None
    num, name_index, match = best
    reading = reading_of(head, name_index, group.kind)
    if reading is None or (reading.form == "videos" and group.kind == "sequences"):
        return None
    num_files = sum(format_of(value) is not None for value in reading.label_values)
    if num_files > len(reading.label_values) / 2:
        return None
    crossing = _crossing(group, names, head, name_index)
    if _SPLITS.search(path.rsplit("/", 1)[-1]) and (crossing or _are_parts(head, reading)):
        return None  # numbers of parts, as HMDB51 and CelebA have them, and no classes
    is_one_hot = isinstance(reading.labels.get("columns", {}).get("label"), list)
    listed = NamesFound("the table", list(reading.label_values)) if is_one_hot else names_file(tree)
    guess = classes_of(reading.label_values, listed)
    count = counted([reading])
    labels = {reading.form: tree.at(path), **reading.labels, **count.labels, **guess.labels}
    labels |= {"match": match} if match else {}
    void: dict[str, list[str]] = {}
    if reading.has_blanks and "values" in labels:
        labels["values"] = {**labels["values"], "": "void"}
    elif reading.has_blanks:
        void = {"void": [""]}
    assumed = [f"{path} names {num} of {len(group.files)} files", *reading.assumed]
    assumed += [*count.assumed, *guess.assumed]
    if group.kind == "video":
        labels, why = _on_its_clock(tree, names, head, name_index, reading, labels)
        assumed += why
    dataset = {"kind": group.kind, "uri": group.uri(tree), "labels": labels}
    dataset |= {"classes": guess.classes, **void}
    if reading.has_blanks:
        assumed.append("rows without a label are void")
    what = f"{group.kind} with a table of {reading.form}"
    questions = [*reading.questions, *count.questions, *guess.questions]
    if crossing:
        questions.append(
            f"whether the numbers in {path} are classes: they are none of the folders, which would "
            "be `folder: true`"
        )
    score = num / len(group.files) + 0.1 * bool(LABEL_FILE.search(path)) + num / 1e6
    score -= 0.5 * not_for_training(path)
    return score, Guess(what, dataset, tuple(assumed), tuple(questions))


def _of_frames(
    tree: Tree, group: MediaGroup, names: FileNames, path: str, head: Head
) -> tuple[float, Guess] | None:
    """Folders of images as videos, where rows number frames, or segments, that are there."""
    scored = _proposal(tree, group, names, path, head)
    if scored is None:
        return None
    score, guess = scored
    labels = guess.dataset["labels"]
    if not {"frames", "segments"} & set(labels):
        return None  # one label a folder: images of a class, as far as can be told
    numbers = numbers_in(tree, group.files)
    first, last = min(low for low, _ in numbers.values()), max(high for _, high in numbers.values())
    rows = [cell for row in head.rows[:_NUM_VALUES] for cell in row if cell.isdigit()]
    if not rows or not any(int(cell) <= last + 1 for cell in rows):
        return None
    if first == 0:
        labels.pop("first_frame", None)
    assumed = (*guess.assumed, f"each folder is a video, and its images, from {first} on, frames")
    asked = (*guess.questions, f"fps: images have no clock; their frames a second ({_FPS} here)")
    return score, replace(
        guess, dataset={**guess.dataset, "fps": _FPS}, assumed=assumed, questions=asked
    )


def _on_its_clock(
    tree: Tree,
    names: FileNames,
    head: Head,
    name_index: int,
    reading: Reading,
    labels: dict[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    """Labels that count seconds as such, by the rows and the length of the first video."""
    owners = head.column(name_index)
    first = next((owner for owner in owners if names.path_of(owner)), None)
    if first is None or not reading.numbers:
        return labels, []
    pairs = zip(owners, reading.numbers, strict=True)
    numbers = [number for owner, number in pairs if owner == first]
    extra, why = clock_of(tree, str(names.path_of(first)), numbers)
    if not extra:
        return labels, []
    return (labels | extra if reading.form == "frames" else with_seconds(labels)), why


def _are_parts(head: Head, reading: Reading) -> bool:
    """Whether labels without a title are numbers of a few parts: training, validation and test."""
    return head.names is None and set(reading.label_values) <= _PART_NUMBERS


def _crossing(group: MediaGroup, names: FileNames, head: Head, name_index: int) -> bool:
    """Whether numbers without a title differ among the files of a folder, where folders differ."""
    if head.names is not None or len(head.rows[0]) != 2:
        return False
    numbers = head.column(1 - name_index)
    if not all(number.isdigit() for number in numbers):
        return False
    of_folder: dict[str, set[str]] = {}
    for name, number in zip(head.column(name_index), numbers, strict=True):
        for path in names.found([name]):
            of_folder.setdefault(folder_of(path), set()).add(number)
    folders = {folder_of(path) for path in group.files}
    return len(folders) > 1 and any(len(found) > 1 for found in of_folder.values())


def name_pattern(parts: Mapping[str, str]) -> str | None:
    """A pattern that cuts what a table calls a file out of its name; None where there is none."""
    fronts, backs = set(), set()
    for value, path in parts.items():
        stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        at = stem.index(value)
        fronts.add(stem[:at])
        backs.add(re.sub(r"\d", r"\\d", re.escape(stem[at + len(value) :])))
    if len(fronts) != 1 or len(backs) != 1:
        return None
    (front,), (back,) = fronts, backs
    return rf"(?:^|/){re.escape(front)}([^/]+){back}\.[^.]+$"
