"""Which columns of a table are names, times and labels, and what the labels are."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ray_audit.discovery.table_heads import Head
from ray_audit.discovery.time_columns import (
    are_numbers,
    is_whole,
    number_of,
    time_columns,
    untitled_spans,
)
from ray_audit.formats.labels.clocks import times_of

_LABEL = re.compile(
    r"label|class|category|phase|action|step|task|verb|activity|target|species|diagnosis|y|gt|"
    r"step_?name|subtask\w*|template|finding|state|tag|annotation|sentiment|condition|dx|"
    r"benign_malignant|grade|severity|breed|verdict|decision|outcome|judge?ment",
    re.IGNORECASE,
)
_LABEL_PART = re.compile(r"label|class|categor|phase|action|diagnos|subtask", re.IGNORECASE)
_NEVER = re.compile(
    r"split|subset|fold|partition|usage|(.*[_ ])?(width|height|id|uid|age|sex|gender)|fps|"
    r"(frame|image)(width|height)|number_?of_?frames|num_?frames|url|path|source|date|time|year|"
    r"(annotator|inspector|reviewer|rater|label+er|author|operator|worker|user)([_ ]?name)?|"
    r"encoded_?pixels|(.*[_ ])?rle([_ ].*)?",
    re.IGNORECASE,
)
_FEWEST_CAPTIONS, _WORDS_APART = 5, 3
_LIST = re.compile(r";|^\d+( \d+)+$")
_BOX = re.compile(r"x_?min|y_?min|x1|y1|bbox.*|box_?[xywh0-9].*|left|top", re.IGNORECASE)
_MOST_CLASSES = 2_000
_MANY_DIGITS = 6
_INCLUSIVE_FRACTION = 0.8
_NEAR = 1e-6
_FEWEST_OF_SEGMENT = 3  # a file, a start and an end are no segment without a label


@dataclass(frozen=True)
class Reading:
    """How a table of labels may be read.

    Attributes:
        form: frames, segments, videos or images.
        labels: further keys of `dataset.labels`.
        label_values: those that were seen, in order.
        assumed: what was assumed.
        numbers: frame numbers, or ends of segments, of the rows; as they are.
        has_blanks: whether some rows have no label.
        questions: what could not be known.
        first: the least frame number, where there are any.
        gaps: from the end of each segment to the beginning of the next of its video, in frames.
        steps: from each frame that has a row to the next of its video that has one.
    """

    form: str
    labels: dict[str, Any]
    label_values: tuple[str, ...]
    assumed: tuple[str, ...]
    numbers: tuple[float, ...] = field(default=(), repr=False)
    has_blanks: bool = False
    questions: tuple[str, ...] = ()
    first: float | None = None
    gaps: tuple[float, ...] = field(default=(), repr=False)
    steps: tuple[float, ...] = field(default=(), repr=False)


class FrameCounts(NamedTuple):
    """How frames are counted.

    Attributes:
        labels: further keys of `dataset.labels`.
        assumed: what was assumed.
        questions: what could not be known.
    """

    labels: dict[str, Any]
    assumed: list[str]
    questions: list[str]


def counted(readings: Sequence[Reading]) -> FrameCounts:
    """How the frames of some tables of one form are counted: all of them together tell."""
    found = FrameCounts({}, [], [])
    gaps = [gap for reading in readings for gap in reading.gaps]
    if gaps and sum(gap == 1 for gap in gaps) >= _INCLUSIVE_FRACTION * len(gaps):
        found.labels["ends"] = "inclusive"
        found.assumed.append(
            "segments end with their last frame, since the next begins one behind it"
        )
    firsts = [reading.first for reading in readings if reading.first is not None]
    if firsts and min(firsts) == 1:
        found.labels["first_frame"] = 1
        found.assumed.append("frames count from 1, since that is the first number")
    elif firsts and min(firsts) > 1:
        found.questions.append(
            f"whether frames count from 0 or from 1 (labels.first_frame): the first number is "
            f"{min(firsts):g}"
        )
    steps = {step for reading in readings for step in reading.steps}
    if len(steps) > 1 and min(steps) > 1:
        found.questions.append(
            "whether a row is of its frame alone, or of all up to the next row, as where phases "
            "begin: rows lie unevenly apart. Then write segments (start_frame, end_frame, label)"
        )
    if any(gap < 0 for gap in gaps):
        found.labels["overlap"] = "first"
        found.assumed.append("where segments overlap, the first in the table holds")
    return found


def reading_of(head: Head, name_index: int | None, kind: str) -> Reading | None:
    """How a table may be read; None where no column can be a label.

    Args:
        head: its first rows.
        name_index: of the column that names files; None where the table is of one file.
        kind: of the dataset.
    """
    names = list(head.names) if head.names else _invented(head, name_index, kind)
    times = {} if kind == "images" else time_columns(head, names, name_index)
    taken = {name_index, *(index for index in times.values())}
    name_key = "image" if kind == "images" else "video"
    columns: dict[str, Any] = {} if name_index is None else {name_key: names[name_index]}
    marked = _binary_columns(head, names, taken) if head.names else []
    if _are_one_hot(head, names, marked):
        is_read = kind == "images" and name_index is not None
        return _one_hot(head, columns, [names[index] for index in marked]) if is_read else None
    label = _label_column(head, names, taken)
    if label is None or (name_index is None and not times and len(names) > 1):
        return None
    values = tuple(dict.fromkeys(v for v in head.column(label) if v != ""))
    columns |= {key: names[index] for key, index in times.items()} | {"label": names[label]}
    labels: dict[str, Any] = dict(head.keys)
    if head.names is None:
        renamed = {columns[key]: key for key in columns}
        labels["header"] = [renamed.get(name, name) for name in names]
    else:
        usual = {k: v for k, v in columns.items() if k != v or k.startswith("duration")}
        labels |= {"columns": usual} if usual else {}
    assumed: list[str] = [f"labels are the column {names[label]!r}"] if len(names) > 1 else []
    questions = _which(head, names, label, taken)
    others = [names[index] for index in marked if index != label]
    if label in marked and others:
        few = ", ".join(others[:4]) + (", ..." if len(others) > 4 else "")
        assumed.append(f"an audit is of one column: {few} would be audits of their own")
    if kind == "images":
        has_blanks = "" in head.column(label)
        return Reading(
            "images", labels, values, tuple(assumed), has_blanks=has_blanks, questions=questions
        )
    if "frame" in times:
        return _frames(head, times["frame"], name_index, labels, values, assumed)
    if times:
        return _segments(head, times, name_index, labels, values, assumed)
    if name_index is None:
        assumed.append("each line is the label of one frame, from the first on")
        return Reading("frames", labels, values, tuple(assumed), (float(len(head.rows)),))
    if _differ(head.column(name_index), head.column(label)):
        return None  # of times that the table does not tell as such
    return Reading("videos", labels, values, tuple(assumed), questions=questions)


def _differ(names: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether most of the videos have rows of different labels."""
    found: dict[str, set[str]] = {}
    for name, label in zip(names, labels, strict=True):
        found.setdefault(name, set()).add(label)
    return sum(len(of_one) > 1 for of_one in found.values()) > len(found) / 2


def _which(head: Head, names: Sequence[str], label: int, taken: set[int | None]) -> tuple[str, ...]:
    """Whether another column could be the label as well, and whether the label is of a box."""
    others = _possible_labels(head, names, {*taken, label})
    questions = [] if head.names is None else list(_of_boxes(names))
    if others and (head.names is None or not _is_called_label(names[label])):
        untitled = "" if head.names else "the table has no titles, "
        called = [repr(name) if head.names else f"column {i + 1}" for i, name in enumerate(names)]
        few = ", ".join([called[i] for i in others][:4])
        here = f"here it is {called[label]}, and {few} would do as well"
        questions.append(f"which column is the label: {untitled}{here}")
    return tuple(questions)


def _of_boxes(names: Sequence[str]) -> Iterator[str]:
    boxes = [name for name in names if _BOX.fullmatch(name)]
    if len(boxes) > 1:
        yield (
            f"whether a label is of its whole image: columns {', '.join(boxes[:4])} look like "
            "those of boxes, which are not read"
        )


def _invented(head: Head, name_index: int | None, kind: str) -> list[str]:
    names = [f"field_{i + 1}" for i in range(len(head.rows[0]))]
    if len(names) == 1:
        return ["label"]
    if name_index is None and kind != "images":  # numbers, then a label
        numbers = [i for i in range(len(names)) if are_numbers(head.column(i)[:50])]
        if len(numbers) >= 2 and len(names) > 2:
            is_whole = all(is_whole(v) for i in numbers[:2] for v in head.column(i)[:50])
            unit = "frame" if is_whole else "s"
            names[numbers[0]], names[numbers[1]] = f"start_{unit}", f"end_{unit}"
        elif numbers and len(names) == 2:
            names[numbers[0]] = "frame"
    elif name_index is not None and kind != "images" and len(names) > _FEWEST_OF_SEGMENT:
        for at, name in untitled_spans(head, name_index).items():
            names[at] = name
    return names


def _binary_columns(head: Head, names: Sequence[str], taken: set[int | None]) -> list[int]:
    """Columns that say yes or no of something each: 0 and 1, or -1 where that is not known."""
    found = []
    for index, name in enumerate(names):
        if index in taken or _NEVER.fullmatch(name):
            continue
        values = {number_of(value) for value in head.column(index) if value != ""}
        if values and values <= {0.0, 1.0, -1.0} and len(values) > 1:
            found.append(index)
    return found


def _are_one_hot(head: Head, names: Sequence[str], columns: Sequence[int]) -> bool:
    """Whether one of several columns is 1 in each row, and no other column is called a label."""
    others = (name for index, name in enumerate(names) if index not in columns)
    if len(columns) <= 2 or any(_LABEL.fullmatch(name) for name in others):
        return False
    rows = zip(*(map(number_of, head.column(index)) for index in columns), strict=True)
    return all(row.count(1.0) == 1 and row.count(0.0) == len(row) - 1 for row in rows)


def _one_hot(head: Head, columns: dict[str, Any], classes: list[str]) -> Reading:
    """A column for each class, of which one is 1 in each row."""
    usual = {key: name for key, name in columns.items() if key != name} | {"label": classes}
    assumed = (f"each of the {len(classes)} columns from {classes[0]!r} on is a class",)
    return Reading("images", {**head.keys, "columns": usual}, tuple(classes), assumed)


def _label_column(head: Head, names: Sequence[str], taken: set[int | None]) -> int | None:
    found = _possible_labels(head, names, taken)
    if head.names is None:  # nothing tells them apart: a path is followed by its class
        return next(iter(found), None)
    return max(found, key=lambda index: (found[index], -index), default=None)


def _possible_labels(head: Head, names: Sequence[str], taken: set[int | None]) -> dict[int, float]:
    """Columns that may be the label, and how much speaks for each."""
    found: dict[int, float] = {}
    for index, name in enumerate(names):
        if index in taken:
            continue
        values = head.column(index)
        if _NEVER.fullmatch(name):
            continue
        distinct = set(values) - {""}
        if not distinct or len(distinct) > _MOST_CLASSES or any(_is_fraction(v) for v in distinct):
            continue
        if any(value.startswith(("[", "{")) or _LIST.search(value) for value in distinct):
            continue  # a list, run lengths, or an object of its own
        if len(values) >= _FEWEST_CAPTIONS and len(distinct) == len(values) and _are_texts(values):
            continue  # a caption each
        said = 2.0 if _LABEL.fullmatch(name) else 1.0 if _LABEL_PART.search(name) else 0.0
        repeats = 1 - len(distinct) / max(1, len(values))
        if said < 2 and (_counts_rows(values) or (len(distinct) == 1 and len(names) > 2)):
            continue
        if said == 0 and (len(names) - len(taken - {None}) > 1) and repeats < 0.3:
            continue
        found[index] = said + repeats + (0.2 if len(distinct) > 1 else -1)
    return found


def _is_called_label(name: str) -> bool:
    return bool(_LABEL.fullmatch(name) or _LABEL_PART.search(name))


def _are_texts(values: Sequence[str]) -> bool:
    """Whether fields are sentences, half of them at least."""
    return sum(value.count(" ") >= _WORDS_APART for value in values) >= len(values) / 2


def _counts_rows(values: Sequence[str]) -> bool:
    """Whether a column numbers the rows: each has its own, and they follow each other."""
    if len(values) < 3 or not all(is_whole(value) for value in values):
        return False
    numbers = [int(float(value)) for value in values]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _frames(
    head: Head,
    frame: int,
    name_index: int | None,
    labels: dict[str, Any],
    values: tuple[str, ...],
    assumed: list[str],
) -> Reading:
    numbers = [float(v) for v in head.column(frame)]
    owners = [""] * len(numbers) if name_index is None else head.column(name_index)
    steps = tuple(
        after - number
        for (owner, number), (other, after) in pairwise(zip(owners, numbers, strict=True))
        if owner == other
    )
    first = min(numbers, default=None)
    return Reading(
        "frames", labels, values, tuple(assumed), tuple(numbers), first=first, steps=steps
    )


def _segments(
    head: Head,
    times: dict[str, int],
    name_index: int | None,
    labels: dict[str, Any],
    values: tuple[str, ...],
    assumed: list[str],
) -> Reading:
    starts, ends = (times_of(head.column(index)) for index in times.values())
    if any(key.startswith("duration") for key in times):
        ends = starts + ends
        assumed.append("segments have a start and a duration")
    owners = [""] * len(starts) if name_index is None else head.column(name_index)
    gaps = _gaps(owners, starts, ends)
    if "start_frame" not in times:
        unit = "milliseconds" if "start_ms" in times else "seconds"
        assumed.append(f"segments are in {unit}")
        overlaps = tuple(gap for gap in gaps if gap < -_NEAR)
        return Reading("segments", labels, values, tuple(assumed), gaps=overlaps)
    first, numbers = min(starts.tolist(), default=None), tuple(ends.tolist())
    return Reading("segments", labels, values, tuple(assumed), numbers, first=first, gaps=gaps)


def _gaps(owners: Sequence[str], starts: np.ndarray, ends: np.ndarray) -> tuple[float, ...]:
    """From the end of each segment to the start of the next of its video, in order of time."""
    rows = sorted(zip(owners, starts.tolist(), ends.tolist(), strict=True))
    return tuple(
        start - end for (owner, _, end), (other, start, _) in pairwise(rows) if owner == other
    )


def _is_fraction(text: str) -> bool:
    number = number_of(text)
    return number is not None and (
        not number.is_integer() or len(text.split(".")[0]) > _MANY_DIGITS
    )
