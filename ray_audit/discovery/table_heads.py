"""The first rows of tables whose form nobody has described."""

import csv
import io
import json
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ray_audit import storage
from ray_audit.discovery.tree import Tree, extension
from ray_audit.errors import RayAuditError
from ray_audit.formats.labels.array_tables import label_array
from ray_audit.formats.labels.text_tables import is_count, names_below_count
from ray_audit.formats.parquet import ParquetImages
from ray_audit.formats.registry import format_of

_HEAD_BYTES = 2**20
_NUM_ROWS = 5_000
_NUM_COMPARED = 500
_TITLES = ("label", "labels", "class", "phase", "action", "category")
_DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";"}
_BROKEN = (RayAuditError, OSError, ValueError, EOFError, zlib.error, csv.Error, pa.ArrowException)


@dataclass(frozen=True)
class Head:
    """Some rows of a table, or of several of one form.

    Attributes:
        rows: their fields as text, all of one length.
        names: of the fields, where the table names them.
        keys: for `dataset.labels`, that say how the table is written.
    """

    rows: tuple[tuple[str, ...], ...]
    names: tuple[str, ...] | None
    keys: dict[str, Any]

    def column(self, index: int) -> list[str]:
        """The values of one field."""
        return [row[index] for row in self.rows]


def read_heads(tree: Tree, path: str) -> list[Head]:
    """How a table may be read: with a line of names or without one; empty where it is none."""
    with suppress(*_BROKEN):
        end = extension(path).removesuffix(".gz")
        form = format_of(path)
        if isinstance(form, ParquetImages):
            return _columnar(tree.at(path), form)
        if end == ".npy":
            return _array(tree, path)
        text = _text(tree, path)
        if end in (".json", ".jsonl", ".ndjson"):
            return _json(text)
        return _lines(text, end)
    return []


def _array(tree: Tree, path: str) -> list[Head]:
    """Labels alone, in order."""
    size_bytes = tree.sizes[path]
    with storage.open_read(tree.at(path), size_bytes) as stream:
        labels = label_array(path, stream, size_bytes, None)
    return [Head(tuple((str(value),) for value in labels[:_NUM_ROWS].tolist()), None, {})]


def _text(tree: Tree, path: str) -> str:
    uri = tree.at(path)
    size = min(_HEAD_BYTES, tree.sizes[path])
    if path.lower().endswith((".json", ".json.gz")):
        size = min(32 * _HEAD_BYTES, tree.sizes[path])
    stored = storage.read_range(uri, 0, size)
    if path.lower().endswith(".gz"):
        stored = zlib.decompressobj(wbits=31).decompress(stored, _HEAD_BYTES)
    elif size < tree.sizes[path] and b"\n" in stored:
        stored = stored[: stored.rindex(b"\n")]  # the last line is not whole
    return stored.decode("utf-8-sig")


def _lines(text: str, end: str) -> list[Head]:
    lines = [line for line in text.splitlines() if line.strip()][: _NUM_ROWS + 1]
    keys: dict[str, Any] = {}
    if lines and lines[0].startswith("#"):
        keys["comment"] = "#"
        lines = [line for line in lines if not line.startswith("#")]
    if not lines or any("\0" in line for line in lines[:3]):
        return []
    counted = names_below_count(lines[1].split(), lines[2].split()) if len(lines) > 2 else None
    if counted is not None and is_count(lines[0]):
        rows = [line.split() for line in lines[2:]]
        fitting = tuple(tuple(row) for row in rows if len(row) == len(counted))
        return [Head(fitting, tuple(counted), {"delimiter": "blanks"})]
    rows, delimiter = _parted(lines, end)
    rows = [row for row in rows if len(row) == len(rows[0])]
    rows[1:] = [[field.strip() for field in row] for row in rows[1:]]  # as readers take them
    if delimiter == "blanks" and end != ".csv":
        keys |= {"delimiter": "blanks"} if len(rows[0]) > 1 else {}
    names = tuple(rows[0])
    with_names = Head(tuple(map(tuple, rows[1:])), names, keys) if len(rows) > 1 else None
    without = Head(tuple(map(tuple, rows)), None, keys)
    # The first name is empty where pandas wrote its index.
    given = names[1:] if len(names) > 2 and not names[0] else names
    is_named = len(set(names)) == len(names) and all(n and not is_number(n) for n in given)
    later = rows[1:_NUM_COMPARED]
    is_named &= not any(name == row[i] for row in later for i, name in enumerate(names))
    is_named &= len(names) > 1 or names[0].lower() in _TITLES
    # A word above nothing but numbers is their title.
    is_titled = is_named and any(
        len(later) > 1 and all(is_number(row[i]) for row in later) for i in range(len(names))
    )
    heads = (with_names,) if is_titled else (with_names, without) if is_named else (without,)
    return [head for head in heads if head is not None]


def _parted(lines: Sequence[str], end: str) -> tuple[list[list[str]], str | None]:
    own = "tab" if end == ".tsv" else "comma"
    for name in dict.fromkeys((own, *_DELIMITERS)):
        rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=_DELIMITERS[name]))
        counts = {len(row) for row in rows}
        if counts and min(counts) > 1 and len(counts) == 1:
            return rows, name
    blanks = [line.split() for line in lines]
    if len({len(row) for row in blanks}) == 1 and len(blanks[0]) > 1:
        return blanks, "blanks"
    return [[line.strip()] for line in lines], None


def _json(text: str) -> list[Head]:
    try:
        loaded = json.loads(text)
    except ValueError:
        loaded = [json.loads(line) for line in text.splitlines()[:_NUM_ROWS] if line.strip()]
    if isinstance(loaded, dict):
        plain = all(isinstance(value, str | int | float) for value in loaded.values())
        if plain and len(loaded) > 1:
            pairs = list(loaded.items())[:_NUM_ROWS]
            return [Head(tuple((str(k), str(v)) for k, v in pairs), ("image", "label"), {})]
        loaded = [loaded]
    if not isinstance(loaded, list) or not all(isinstance(row, dict) for row in loaded[:_NUM_ROWS]):
        return []
    loaded = loaded[:_NUM_ROWS]
    names = tuple(dict.fromkeys(name for row in loaded[:50] for name in row))
    rows = tuple(tuple(_shown(row.get(name)) for name in names) for row in loaded)
    return [Head(rows, names, {})] if names else []


def _columnar(uri: str, form: ParquetImages) -> list[Head]:
    """The plain columns of a Parquet or Arrow file."""
    with storage.open_read(uri) as stream:
        file = form.opened(stream)
        names = [
            field.name
            for field in file.schema_arrow
            if not pa.types.is_nested(field.type) and not pa.types.is_binary(field.type)
        ]
        batch = next(file.iter_batches(batch_size=_NUM_ROWS, columns=names), None)
    if batch is None or not names:
        return []
    columns = [[_shown(value) for value in column.to_pylist()] for column in batch.columns]
    return [Head(tuple(zip(*columns, strict=True)), tuple(names), {})]


def _shown(value: object) -> str:
    return "" if value is None else str(value)


def is_number(text: str) -> bool:
    """Whether a field of a table is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
