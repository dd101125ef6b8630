"""Videos and feature arrays with a file of labels each."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from ray_audit import storage
from ray_audit.discovery.class_names import names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import is_table
from ray_audit.discovery.label_classes import classes_of
from ray_audit.discovery.label_columns import Reading, counted, reading_of
from ray_audit.discovery.name_pairs import PairRule, pair_rules
from ray_audit.discovery.table_heads import read_heads
from ray_audit.discovery.tree import Tree
from ray_audit.discovery.video_facts import clock_of, with_seconds
from ray_audit.errors import RayAuditError
from ray_audit.formats.registry import format_of

_NUM_READ = 24
_HEADER_BYTES = 2**16


def frame_proposals(tree: Tree) -> Iterator[Guess]:
    """Datasets with a file of labels for each file, the likeliest first."""
    flat = {path for path in tree.few if path.lower().endswith(".npy") and _is_flat(tree, path)}
    tables = [path for path in tree.few if is_table(path) or path in flat]
    for kind in ("video", "sequences"):
        media = [path for path in tree.few if _is_media(tree, path, kind) and path not in flat]
        for rule in pair_rules(media, tables)[:4] if media and tables else ():
            if len(rule.pairs) < min(2, len(media)):
                continue
            proposal = _proposal(tree, kind, rule)
            if proposal is not None:
                yield proposal


def _is_media(tree: Tree, path: str, kind: str) -> bool:
    """Whether a file is a video, or features of frames: other arrays are images or volumes."""
    if not _is_single(path, kind):
        return False
    shape = _shape(tree, path) if kind == "sequences" else None
    return shape is None or len(shape) == 2


def _is_flat(tree: Tree, path: str) -> bool:
    """Whether an array has one axis, as labels have, or is a column."""
    shape = _shape(tree, path)
    return shape is not None and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1))


def _is_single(path: str, kind: str) -> bool:
    form = format_of(path)
    return form is not None and form.kind == kind and not form.holds_several


def _proposal(tree: Tree, kind: str, rule: PairRule) -> Guess | None:
    step = max(1, len(rule.pairs) // _NUM_READ)
    readings = []
    for _, path in rule.pairs[::step]:
        heads = read_heads(tree, path)
        found = (reading_of(head, None, kind) for head in heads)
        reading = next((item for item in found if item is not None), None)
        if reading is not None:
            readings.append(reading)
    if not readings:
        return None
    values = tuple(dict.fromkeys(v for reading in readings for v in reading.label_values))
    first = readings[0]
    guess = classes_of(values, names_file(tree))
    labels: dict[str, Any] = {first.form: tree.at(rule.template)}
    count = counted(readings)
    labels |= {"match": rule.match} if rule.match else {}
    labels |= first.labels | count.labels | guess.labels
    assumed = [f"labels are the files {rule.difference}", *first.assumed, *count.assumed]
    assumed += guess.assumed
    dataset: dict[str, Any] = {"kind": kind, "uri": tree.at(rule.uri), "labels": labels}
    dataset["classes"] = guess.classes
    if kind == "video" and first.form in ("frames", "segments"):
        extra, why = clock_of(tree, rule.pairs[0][0], first.numbers)
        is_timed = bool(extra) and first.form == "segments"
        labels = with_seconds(labels) if is_timed else labels | extra
        dataset["labels"] = labels
        assumed += why
    questions = [*first.questions, *count.questions, *guess.questions]
    if kind == "sequences":
        more, why = _axes(tree, rule, readings)
        dataset |= more
        assumed += why
        if first.form == "segments" and "start_frame" not in str(labels):
            questions.append("fps: features have no clock; give their frames a second")
    if rule.others:
        assumed.append(f"only the part for training: {', '.join(rule.others)} are there too")
    what = f"{kind} with a file of {first.form} each"
    return Guess(what, dataset, tuple(assumed), tuple(questions))


def _axes(tree: Tree, rule: PairRule, readings: list[Reading]) -> tuple[dict[str, Any], list[str]]:
    """`axes` of feature arrays, by their shape and the number of labels."""
    shape = _shape(tree, rule.pairs[0][0])
    values: dict[str, Any] = {"clip": {"frames": None}}
    numbers = readings[0].numbers
    if shape is None or len(shape) != 2 or not numbers:
        return values, []
    num = max(numbers)
    if abs(shape[1] - num) < abs(shape[0] - num):
        assumed = f"arrays are (D, T) = {shape}, since there are {num:g} labels"
        return {"axes": "DT", **values}, [assumed]
    return values, [f"arrays are (T, D) = {shape}, since there are {num:g} labels"]


def _shape(tree: Tree, path: str) -> tuple[int, ...] | None:
    with (
        suppress(RayAuditError, OSError, ValueError, LookupError),
        storage.open_read(tree.at(path), min(_HEADER_BYTES, tree.sizes[path])) as stream,
    ):
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(stream)]
        return tuple(read(stream)[0])
    return None
