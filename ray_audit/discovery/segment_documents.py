"""JSON documents with the segments of each video, as ActivityNet, COIN and their relatives have."""

import json
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
_LABELS = ("label", "action", "class", "category", "phase", "step", "name")


class _Segments(NamedTuple):
    """Where the segments of a document lie.

    Attributes:
        rows: `labels.rows`.
        span: the field of a segment that is its start and end.
        label: the field that is its label.
        of_video: video -> its segments.
    """

    rows: str
    span: str
    label: str
    of_video: dict[str, list[dict[str, Any]]]


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
    """The segments of a document, one or two levels deep: `{video: {annotations: [...]}}`."""
    if not isinstance(document, dict):
        return None
    inner = ((f"{key}.", value) for key, value in document.items() if isinstance(value, dict))
    for above, videos in (("", document), *inner):
        entries = {str(k): v for k, v in list(videos.items())[:_NUM_VIDEOS] if isinstance(v, dict)}
        if not entries:
            continue
        for key, value in next(iter(entries.values())).items():
            fields = _fields(value)
            if fields is not None:
                lists = ((video, entry.get(key)) for video, entry in entries.items())
                of_video = {v: found for v, found in lists if isinstance(found, list)}
                return _Segments(f"{above}{{video}}.{key}.*", *fields, of_video)
    return None


def _fields(value: Any) -> tuple[str, str] | None:
    """Names of the span and of the label of a list of segments; None where it is none."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return None
    spans = [name for name, inner in value[0].items() if _is_span(inner)]
    labels = [name for name in _LABELS if isinstance(value[0].get(name), str | int)]
    return (spans[0], labels[0]) if len(spans) == 1 and labels else None


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
    rows = [row for of_one in segments.of_video.values() for row in of_one]
    values = tuple(dict.fromkeys(str(row[segments.label]) for row in rows if segments.label in row))
    guess = classes_of(values, names_file(tree))
    columns = {"start_s": f"{segments.span}.0", "end_s": f"{segments.span}.1"}
    columns |= {} if segments.label == "label" else {"label": segments.label}
    labels = {"segments": tree.at(path), "rows": segments.rows, "columns": columns, **guess.labels}
    labels |= {"match": match} if match else {}
    assumed = [f"{path} has the segments of each video, in seconds", *guess.assumed]
    if any(_overlap(of_one, segments.span) for of_one in segments.of_video.values()):
        labels["overlap"] = "first"
        assumed.append("where segments overlap, the first in the document holds")
    dataset = {"kind": "video", "uri": group.uri(tree), "labels": labels, "classes": guess.classes}
    return Guess("videos with segments in a document", dataset, tuple(assumed), guess.questions)


def _overlap(rows: list[dict[str, Any]], span: str) -> bool:
    spans = sorted(row[span] for row in rows if _is_span(row.get(span)))
    return any(after[0] < before[1] for before, after in pairwise(spans))
