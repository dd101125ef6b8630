"""JSON documents with the segments of each video, as ActivityNet, COIN and their relatives have."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple

from ray_audit import storage
from ray_audit.discovery.class_names import names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import not_for_training
from ray_audit.discovery.label_classes import classes_of
from ray_audit.discovery.media_groups import MediaGroup, media_groups
from ray_audit.discovery.table_labels import FileNames, name_pattern
from ray_audit.discovery.tree import Tree
from ray_audit.errors import RayAuditError

_NUM_DOCUMENTS = 8
_MAX_BYTES = 2**28
_NUM_VIDEOS = 2_000
_VIDEO = re.compile(r"video|file|media|name|path", re.IGNORECASE)
_LABELS = ("label", "action", "class", "category", "phase", "step", "name")


_START = re.compile(r"(t_?)?(start|begin|onset|from)(_?(s|sec|secs|seconds|time))?", re.IGNORECASE)
_END = re.compile(r"(t_?)?(end|stop|offset|to)(_?(s|sec|secs|seconds|time))?", re.IGNORECASE)


class _Fields(NamedTuple):
    """What a segment's start, end and label are called; paths within it."""

    start: str
    end: str
    label: str


class _Segments(NamedTuple):
    """Where the segments of a document lie.

    Attributes:
        rows: `labels.rows`.
        fields: of a segment.
        of_video: video -> its segments.
        video: the field around them that names the video; None where a key does.
    """

    rows: str
    fields: _Fields
    of_video: dict[str, list[dict[str, Any]]]
    video: str | None = None


def document_proposals(tree: Tree) -> Iterator[Guess]:
    """Videos whose segments a document names; those for training first."""
    paths = [p for p in tree.files if p.lower().endswith(".json") and tree.sizes[p] < _MAX_BYTES]
    paths.sort(key=lambda path: (not_for_training(path), path.count("/"), path))
    groups = media_groups(tree, "video", lambda _: True)
    for path in paths[:_NUM_DOCUMENTS] if groups else ():
        with suppress(RayAuditError, ValueError, RecursionError):
            segments = _segments(json.loads(storage.read_bytes(tree.at(path)).decode("utf-8-sig")))
            for group in groups if segments is not None else ():
                assert segments is not None
                proposal = _proposal(tree, group, path, segments)
                if proposal is not None:
                    yield proposal


def _segments(document: Any) -> _Segments | None:
    """The segments of a document, one or two levels deep.

    `{video: {annotations: [...]}}`, or `[{video: ..., annotations: [...]}]`.
    """
    if isinstance(document, list):
        return _of_list("", document)
    if not isinstance(document, dict):
        return None
    inner = [(f"{key}.", value) for key, value in document.items()]
    for above, videos in (("", document), *inner):
        if isinstance(videos, list):
            found = _of_list(above, videos)
        else:
            found = _of_mapping(above, videos) if isinstance(videos, dict) else None
        if found is not None:
            return found
    return None


def _of_mapping(above: str, videos: dict[str, Any]) -> _Segments | None:
    entries = {str(k): v for k, v in list(videos.items())[:_NUM_VIDEOS] if isinstance(v, dict)}
    for key, value in next(iter(entries.values()), {}).items():
        fields = _fields(value)
        if fields is not None:
            lists = ((video, entry.get(key)) for video, entry in entries.items())
            of_video = {v: found for v, found in lists if isinstance(found, list)}
            return _Segments(f"{above}{{video}}.{key}.*", fields, of_video)
    return None


def _of_list(above: str, videos: list[Any]) -> _Segments | None:
    entries = [entry for entry in videos[:_NUM_VIDEOS] if isinstance(entry, dict)]
    first = entries[0] if entries else {}
    named = [
        key for key in first if len({str(entry.get(key)) for entry in entries}) == len(entries)
    ]
    texts = [key for key in named if isinstance(first[key], str)]
    for key, value in first.items():
        fields = _fields(value)
        if fields is not None and texts:
            video = next((text for text in texts if _VIDEO.search(text)), texts[0])
            of_video = {str(e.get(video)): e[key] for e in entries if isinstance(e.get(key), list)}
            return _Segments(f"{above}*.{key}.*", fields, of_video, video)
    return None


def _fields(value: Any) -> _Fields | None:
    """The fields of a list of segments; None where it is none."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return None
    spans = [name for name, inner in value[0].items() if _is_span(inner)]
    labels = [name for name in _LABELS if isinstance(value[0].get(name), str | int)]
    if not labels:
        return None
    if len(spans) == 1:
        return _Fields(f"{spans[0]}.0", f"{spans[0]}.1", labels[0])
    numbers = [name for name, inner in value[0].items() if isinstance(inner, int | float)]
    starts, ends = (list(filter(edge.fullmatch, numbers)) for edge in (_START, _END))
    is_one = len(starts) == len(ends) == 1
    return _Fields(starts[0], ends[0], labels[0]) if is_one else None


def _is_span(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(number, int | float) for number in value)
    )


def _proposal(tree: Tree, group: MediaGroup, path: str, segments: _Segments) -> Guess | None:
    names, videos = FileNames(group), list(segments.of_video)
    match = None
    if not names.found(videos):
        match = name_pattern(names.found_by_part(videos))
        if match is None:
            return None
    fields = segments.fields
    rows = [row for of_one in segments.of_video.values() for row in of_one]
    values = tuple(dict.fromkeys(str(row[fields.label]) for row in rows if fields.label in row))
    guess = classes_of(values, names_file(tree))
    named = {"video": segments.video, "start_s": fields.start, "end_s": fields.end}
    columns = {key: name for key, name in named.items() if name not in (None, key)}
    columns |= {} if fields.label == "label" else {"label": fields.label}
    labels = {"segments": tree.at(path), "rows": segments.rows, "columns": columns, **guess.labels}
    labels |= {"match": match} if match else {}
    assumed = [f"{path} has the segments of each video, in seconds", *guess.assumed]
    if any(_overlap(of_one, fields) for of_one in segments.of_video.values()):
        labels["overlap"] = "first"
        assumed.append("where segments overlap, the first in the document holds")
    questions = list(guess.questions)
    ends = [span[1] for span in (_span(row, fields) for row in rows) if span is not None]
    if ends and all(end.is_integer() for end in ends):
        questions.append(
            "whether segments are in seconds, as assumed, or in frames: all end at whole numbers; "
            "columns of frames are start_frame and end_frame"
        )
    dataset = {"kind": "video", "uri": group.uri(tree), "labels": labels, "classes": guess.classes}
    return Guess("videos with segments in a document", dataset, tuple(assumed), tuple(questions))


def _overlap(rows: list[dict[str, Any]], fields: _Fields) -> bool:
    spans = sorted(span for span in (_span(row, fields) for row in rows) if span is not None)
    return any(after[0] < before[1] for before, after in pairwise(spans))


def _span(row: dict[str, Any], fields: _Fields) -> tuple[float, float] | None:
    """Start and end of a segment; None where it lacks one."""
    name, _, is_list = fields.start.partition(".")
    found: Any = row.get(name) if is_list else [row.get(fields.start), row.get(fields.end)]
    return (float(found[0]), float(found[1])) if _is_span(found) else None
