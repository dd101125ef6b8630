"""Label tables as a stream of text columns: CSV, JSON and Parquet, never held whole."""

import csv
import io
import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from gzip import BadGzipFile
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ray_audit import parquet_io, storage
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.labels.array_tables import array_batch, is_array_table
from ray_audit.formats.labels.json_rows import json_rows
from ray_audit.formats.labels.nested_json import (
    CocoImages,
    Place,
    cells_of,
    has_column,
    load_document,
    looks_like_coco,
    names_in,
    own_columns,
    places,
)
from ray_audit.formats.labels.text_tables import (
    SUFFIXES,
    TextForm,
    line_batches,
    text_layout,
    unpacked,
    unpacked_name,
)

_CHUNK_ROWS = 50_000
_COMMENTS = ("#", "%", "//")
_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
_BROKEN = (pa.ArrowInvalid, ValueError, csv.Error, SampleError, EOFError, zlib.error, BadGzipFile)


@dataclass(frozen=True)
class TextChunk:
    """Some rows of a table: string columns under the names that were asked for.

    Attributes:
        first_row: number of the first row, from 1, the header not counted.
        columns: one string array a column; labels that are stored as truth values stay some, with
            null where there is none.
    """

    first_row: int
    columns: dict[str, pa.Array]


def tables_at(uri: str) -> list[str]:
    """The tables that a URI or a pattern stands for, in the order of their names.

    Raises:
        StorageError: nothing matches the pattern.
    """
    return [item.uri for item in storage.list_objects(uri)] if storage.has_wildcard(uri) else [uri]


def read_table(
    uri: str,
    required: dict[str, str],
    form: TextForm = TextForm(),  # noqa: B008, it is frozen
) -> Iterator[TextChunk]:
    """Stream the named columns of a table.

    Args:
        uri: a .csv, .tsv, .txt, .lst, .json, .jsonl or .ndjson file, or one of these with .gz; or
            a .parquet file.
        required: name to give out -> name in the file. Where these are `name` and `label`, a JSON
            object of names and labels will do.
        form: how a text table is written.

    Raises:
        LabelError: a column is missing, or the table cannot be parsed.
        StorageError: the file cannot be read.
    """
    with storage.explained("read", uri), storage.open_read(uri) as stream:
        try:
            found, chunks = _open(uri, stream, form, required)
            missing = [column for column in required.values() if column not in found]
            if missing:
                raise LabelError(
                    f"{uri}: no column {', '.join(map(repr, missing))}; the table has "
                    f"{', '.join(map(repr, found)) or 'none'}. Name it in labels.columns"
                    f"{_else_hint(uri, form, found) if missing == [*required.values()] else ''}"
                )
            yield from _numbered(chunks(list(dict.fromkeys(required.values()))), required)
        except _BROKEN as error:
            raise LabelError(f"{uri}: the table cannot be read: {error}") from error


def _else_hint(uri: str, form: TextForm, found: list[str]) -> str:
    """Why a table may have none of the columns that are looked for."""
    if found and found[0].startswith(_COMMENTS) and form.comment is None:
        return f"; where that line is a comment, give labels.comment: {found[0][0]!r}"
    if unpacked_name(uri).endswith(SUFFIXES) and form.header is None:
        return "; where the first line holds no names, give them in labels.header"
    if unpacked_name(uri).endswith(_JSON_SUFFIXES):
        return "; where its rows lie deeper, say where in labels.rows"
    return ""


def column_names(
    uri: str,
    form: TextForm = TextForm(),  # noqa: B008, it is frozen
) -> list[str]:
    """Names of a table's columns."""
    with storage.explained("read", uri), storage.open_read(uri) as stream:
        try:
            return _open(uri, stream, form, {})[0]
        except _BROKEN as error:
            raise LabelError(f"{uri}: the table cannot be read: {error}") from error


def _open(
    uri: str, stream: IO[bytes], form: TextForm, required: dict[str, str]
) -> tuple[list[str], Any]:
    """Names of the columns, and a function from wanted names to record batches."""
    name = unpacked_name(uri)
    if uri.lower().endswith((".parquet", ".pq")):
        file = parquet_io.open_bounded(stream)
        _check_once(uri, list(file.schema_arrow.names), required)
        return list(file.schema_arrow.names), lambda columns: file.iter_batches(
            batch_size=_CHUNK_ROWS, columns=columns
        )
    if name.endswith(_JSON_SUFFIXES):
        return _open_json(uri, unpacked(uri, stream), required, form)
    if name.endswith(SUFFIXES):
        return _open_text(uri, unpacked(uri, stream), form, required)
    if is_array_table(uri):
        size_bytes = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        batch = array_batch(uri, stream, size_bytes, form.variable, required)
        return list(required.values()), lambda requested: iter([batch])
    raise LabelError(
        f"{uri}: not a label table; expected .csv, .tsv, .txt, .lst, .labels, .json or .jsonl, "
        "also with .gz, .parquet, or labels alone in .npy, .npz, .h5, .mat or IDX"
    )


def _check_once(uri: str, found: list[str], required: dict[str, str]) -> None:
    twice = [column for column in dict.fromkeys(required.values()) if found.count(column) > 1]
    if twice:
        raise LabelError(
            f"{uri}: {found.count(twice[0])} columns are called {twice[0]!r}; which one is meant "
            "cannot be told. Rename the others"
        )


def _open_text(
    uri: str, stream: IO[bytes], form: TextForm, required: dict[str, str]
) -> tuple[list[str], Any]:
    layout = text_layout(uri, stream, form)
    _check_once(uri, layout.names, required)
    if not layout.is_plain:
        return layout.names, lambda columns: line_batches(uri, stream, layout, columns)

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        # Types are never guessed: a column of indices may hold a name further down.
        yield from pyarrow.csv.open_csv(
            stream,
            parse_options=pyarrow.csv.ParseOptions(delimiter=layout.delimiter),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
            ),
        )

    return layout.names, batches


class _PathNames(list[str]):
    """Names of the columns of nested rows: a path is one where any row has it."""

    def __init__(self, found: list[Place]) -> None:
        super().__init__(names_in(found))
        self._found = found

    def __contains__(self, name: object) -> bool:
        return has_column(self._found, str(name))


def _open_nested(uri: str, stream: IO[bytes], path: str) -> tuple[list[str], Any]:
    found = places(uri, load_document(uri, stream), path)

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        deep = next((column for column in columns if column.count("*") > 1), None)
        if deep is not None:
            raise LabelError(
                f"{uri}: {deep!r} goes through two lists; let labels.rows go through the first: a "
                "row has the columns of the objects around it too"
            )
        column_of = {column: column for column in columns}
        own = own_columns(found, column_of)
        rows = (row for place in found for row in cells_of(uri, place, column_of, own))
        while chunk := list(itertools.islice(rows, _CHUNK_ROWS)):
            yield _json_batch(chunk, columns)

    return _PathNames(found), batches


def _open_json(
    uri: str, stream: IO[bytes], required: dict[str, str], form: TextForm
) -> tuple[list[str], Any]:
    if form.rows is not None:
        return _open_nested(uri, stream, form.rows)
    if set(required) == {"name", "label"} and looks_like_coco(stream):
        names = CocoImages.of(uri, load_document(uri, stream)).names
        return list(required.values()), lambda columns: iter([_named_batch(names, required)])
    text = io.TextIOWrapper(stream, encoding="utf-8-sig")
    rows = (row.values for row in json_rows(uri, text) if row.values is not None)
    first = next(rows, {})
    second = next(rows, None)
    if second is None and is_name_mapping(first, required):
        return list(required.values()), lambda columns: iter([_named_batch(first, required)])

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        chunk = [first]
        for row in itertools.chain([] if second is None else [second], rows):
            chunk.append(row)
            if len(chunk) == _CHUNK_ROWS:
                yield _json_batch(chunk, columns)
                chunk = []
        if chunk:
            yield _json_batch(chunk, columns)

    return list(first), batches


def is_name_mapping(values: dict[str, Any], required: dict[str, str]) -> bool:
    """Whether the only object of a file maps names to labels, and is not a row of a table."""
    return (
        set(required) == {"name", "label"}
        and not set(required.values()) & set(values)
        and bool(values)
        and all(isinstance(value, str | int | float) for value in values.values())
    )


def _named_batch(values: dict[str, Any], required: dict[str, str]) -> pa.RecordBatch:
    columns = {"name": [*values], "label": [*values.values()]}
    arrays = [_json_column(columns[key]) for key in required]
    return pa.RecordBatch.from_arrays(arrays, names=list(required.values()))


def _json_batch(rows: list[dict[str, Any]], columns: list[str]) -> pa.RecordBatch:
    arrays = [_json_column([row.get(column) for row in rows]) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, names=columns)


def _json_column(values: list[Any]) -> pa.Array:
    """Text; or truth values, where there is nothing else."""
    if {type(value) for value in values} in ({bool}, {bool, type(None)}):
        return pa.array(values, pa.bool_())
    return pa.array([_text_of(value) for value in values], pa.string())


def _text_of(value: object) -> str | None:
    # NaN is what pandas makes of an empty cell among numbers.
    return None if value is None or value != value else str(value)


def _numbered(batches: Iterator[pa.RecordBatch], names: dict[str, str]) -> Iterator[TextChunk]:
    row = 1
    for batch in batches:
        columns = {key: batch.column(column) for key, column in names.items()}
        yield TextChunk(row, {key: _as_text(values, key) for key, values in columns.items()})
        row += batch.num_rows


def _as_text(column: pa.Array, key: str) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_boolean(column.type) and key == "label":
        return column
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    text = column.cast(pa.string()) if column.type != pa.string() else column
    return pc.fill_null(pc.utf8_trim_whitespace(text), "")
