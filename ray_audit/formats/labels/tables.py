"""Label tables as a stream of text columns: CSV, JSON and Parquet, never held whole."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ray_audit import parquet, storage
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.labels.json_rows import json_rows

_CHUNK_ROWS = 50_000
_HEADER_BYTES = 2**16
_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class TextChunk:
    """Some rows of a table: string columns under the names that were asked for.

    Attributes:
        first_row: number of the first row, from 1, the header not counted.
        columns: one string array a column.
    """

    first_row: int
    columns: dict[str, pa.Array]


def read_table(
    uri: str, required: dict[str, str], optional: dict[str, str] | None = None
) -> Iterator[TextChunk]:
    """Stream the named columns of a table.

    Args:
        uri: a .csv, .tsv, .json, .jsonl, .ndjson or .parquet file.
        required: name to give out -> name in the file.
        optional: the same, for columns that may be absent.

    Raises:
        LabelError: a column is missing, or the table cannot be parsed.
        StorageError: the file cannot be read.
    """
    names = dict(required)
    with storage.explained("read", uri), storage.open_read(uri) as stream:
        try:
            found, chunks = _open(uri, stream)
            missing = [column for column in required.values() if column not in found]
            if missing:
                raise LabelError(
                    f"{uri}: no column {', '.join(map(repr, missing))}; the table has "
                    f"{', '.join(map(repr, found)) or 'none'}. Name it in labels.columns"
                )
            names |= {k: c for k, c in (optional or {}).items() if c in found}
            yield from _numbered(chunks(list(names.values())), names)
        except (pa.ArrowInvalid, ValueError, csv.Error, SampleError) as error:
            raise LabelError(f"{uri}: the table cannot be read: {error}") from error


def column_names(uri: str) -> list[str]:
    """Names of a table's columns."""
    with storage.explained("read", uri), storage.open_read(uri) as stream:
        try:
            return _open(uri, stream)[0]
        except (pa.ArrowInvalid, ValueError, csv.Error, SampleError) as error:
            raise LabelError(f"{uri}: the table cannot be read: {error}") from error


def _open(uri: str, stream: IO[bytes]) -> tuple[list[str], Any]:
    """Names of the columns, and a function from wanted names to record batches."""
    name = uri.lower()
    if name.endswith((".parquet", ".pq")):
        file = parquet.open_bounded(stream)
        return list(file.schema_arrow.names), lambda columns: file.iter_batches(
            batch_size=_CHUNK_ROWS, columns=columns
        )
    if name.endswith(_JSON_SUFFIXES):
        return _open_json(uri, stream)
    if name.endswith((".csv", ".tsv", ".txt")):
        return _open_csv(stream, "\t" if name.endswith(".tsv") else ",")
    raise LabelError(f"{uri}: not a label table; expected .csv, .tsv, .json, .jsonl or .parquet")


def _open_csv(stream: IO[bytes], delimiter: str) -> tuple[list[str], Any]:
    head = stream.read(_HEADER_BYTES).decode("utf-8-sig", "replace")
    header = next(csv.reader(io.StringIO(head), delimiter=delimiter), [])
    stream.seek(0)

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        # Types are never guessed: a column of indices may hold a name further down.
        yield from pyarrow.csv.open_csv(
            stream,
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
            ),
        )

    return header, batches


def _open_json(uri: str, stream: IO[bytes]) -> tuple[list[str], Any]:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig")
    rows = (row.values for row in json_rows(uri, text) if row.values is not None)
    first = next(rows, {})

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        held = [first]
        for row in rows:
            held.append(row)
            if len(held) == _CHUNK_ROWS:
                yield _json_batch(held, columns)
                held = []
        if held:
            yield _json_batch(held, columns)

    return list(first), batches


def _json_batch(rows: list[dict[str, Any]], columns: list[str]) -> pa.RecordBatch:
    texts = [[_text_of(row.get(column)) for row in rows] for column in columns]
    arrays = [pa.array(column, pa.string()) for column in texts]
    return pa.RecordBatch.from_arrays(arrays, names=columns)


def _text_of(value: object) -> str | None:
    return None if value is None else str(value)


def _numbered(batches: Iterator[pa.RecordBatch], names: dict[str, str]) -> Iterator[TextChunk]:
    row = 1
    for batch in batches:
        columns = {key: _as_text(batch.column(column)) for key, column in names.items()}
        yield TextChunk(row, columns)
        row += batch.num_rows


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    text = column.cast(pa.string()) if column.type != pa.string() else column
    return pc.fill_null(pc.utf8_trim_whitespace(text), "")
