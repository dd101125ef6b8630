"""Tables in text: what separates their fields, which line names them, and packed ones."""

import csv
import gzip
import io
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Self

import pyarrow as pa

from ray_audit.config import LabelsConfig
from ray_audit.errors import LabelError

SUFFIXES = (".csv", ".tsv", ".txt", ".lst", ".labels")
BLANKS = " "
UNNAMED = "file"
"""Name of the first column where the line of names leaves it out."""
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "blanks": BLANKS}
_OWN = {".csv": ",", ".tsv": "\t"}
_HEAD_BYTES = 2**16
_CHUNK_ROWS = 50_000
_MAX_LINE_CHARS = 2**20


@dataclass(frozen=True)
class TextForm:
    """How a specification says that a table is written; what it does not say, its first line does.

    Attributes:
        delimiter: between fields, `BLANKS` for any number of blanks and tabs; None to look.
        header: names of the fields, where no line of the table names them.
        comment: what begins a line to leave out.
        rows: path of the rows in a JSON document.
        range_at: which field of a line is two names of `header`, as `1-30` is; None where none is.
        variable: which array holds the labels, where the file is one of arrays.
    """

    delimiter: str | None = None
    header: tuple[str, ...] | None = None
    comment: str | None = None
    rows: str | None = None
    range_at: int | None = None
    variable: str | None = None

    @classmethod
    def of(cls, labels: LabelsConfig) -> Self:
        """The form that a specification describes."""
        delimiter = None if labels.delimiter is None else _DELIMITERS[labels.delimiter]
        if labels.header is None:
            return cls(delimiter, None, labels.comment, labels.rows, variable=labels.variable)
        both = f"{labels.columns.start_frame}-{labels.columns.end_frame}"
        if both not in labels.header:
            return cls(delimiter, tuple(labels.header), labels.comment, labels.rows)
        at = labels.header.index(both)
        edges = (labels.columns.start_frame, labels.columns.end_frame)
        header = (*labels.header[:at], *edges, *labels.header[at + 1 :])
        return cls(delimiter, header, labels.comment, labels.rows, at)

    def is_comment(self, line: str) -> bool:
        """Whether a line is to be left out."""
        return self.comment is not None and line.lstrip().startswith(self.comment)


@dataclass(frozen=True)
class TextLayout:
    """How one table is written.

    Attributes:
        delimiter: between fields; None where a line is one field.
        names: of the fields.
        form: as it was specified.
        is_counted: whether its first line is the number of its rows alone, as CelebA's lists have
            it, and the line of names follows.
    """

    delimiter: str | None
    names: list[str]
    form: TextForm
    is_counted: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the table begins with its header, and a delimiter of one character parts it."""
        form = self.form
        return form.header is None and form.comment is None and self.delimiter not in (None, BLANKS)

    def fields(self, line: str) -> list[str]:
        """The fields of a line without quotes that span lines."""
        return self.apart(_fields(line, self.delimiter))

    def apart(self, fields: list[str]) -> list[str]:
        """Fields with the two numbers of a range, such as `1-30`, apart."""
        at = self.form.range_at
        if at is None or at >= len(fields) or "-" not in fields[at]:
            return fields
        return [*fields[:at], *fields[at].split("-", 1), *fields[at + 1 :]]

    def spans_apart(self, line: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The same of where the fields stand in a line."""
        at = self.form.range_at
        if at is None or at >= len(spans) or "-" not in line[slice(*spans[at])]:
            return spans
        (start, end), mark = spans[at], line.index("-", spans[at][0])
        return [*spans[:at], (start, mark), (mark + 1, end), *spans[at + 1 :]]


def unpacked_name(uri: str) -> str:
    """The name of a table without `.gz`, in lower case.

    >>> unpacked_name("s3://b/Labels.CSV.gz")
    's3://b/labels.csv'
    """
    return uri.lower().removesuffix(".gz")


def unpacked(uri: str, stream: IO[bytes]) -> IO[bytes]:
    """The stream, or what is packed in it where the name ends with `.gz`; nothing is held whole."""
    if not uri.lower().endswith(".gz"):
        return stream
    return gzip.GzipFile(fileobj=stream, mode="rb")  # type: ignore[return-value]


@contextmanager
def packed(uri: str, sink: IO[bytes]) -> Iterator[IO[bytes]]:
    """A stream to write into; packs where the name ends with `.gz`, the same bytes each time."""
    if not uri.lower().endswith(".gz"):
        yield sink
        return
    with gzip.GzipFile(filename="", fileobj=sink, mode="wb", mtime=0) as file:
        yield file  # type: ignore[misc]


def text_layout(uri: str, stream: IO[bytes], form: TextForm) -> TextLayout:
    """How a table is written, by its first line; the stream is at its beginning afterwards.

    Raises:
        LabelError: several delimiters part the first line, and none is specified.
    """
    stored = stream.read(_HEAD_BYTES)
    if stored.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise LabelError(
            f"{uri} is text in UTF-16, as Excel saves `Unicode text`; save it as CSV in UTF-8"
        )
    head = stored.decode("utf-8-sig", "replace")
    stream.seek(0)
    lines = (line for line in io.StringIO(head) if line.strip() and not form.is_comment(line))
    first = next(lines, "")
    if form.header is None and form.delimiter in (None, BLANKS) and is_count(first):
        counted = _counted_layout(next(lines, ""), next(lines, ""), form)
        if counted is not None:
            return counted
    suffix = next((ending for ending in SUFFIXES if unpacked_name(uri).endswith(ending)), "")
    delimiter = form.delimiter or _delimiter(uri, first, suffix, form)
    if form.header is not None:
        one_field = len(form.header) == 1 and form.delimiter is None
        return TextLayout(None if one_field else delimiter, list(form.header), form)
    return TextLayout(delimiter, _fields(first, delimiter) if first else [], form)


def is_count(line: str) -> bool:
    """Whether a line is one whole number."""
    return line.strip().isdecimal()


def names_below_count(names: list[str], row: list[str]) -> list[str] | None:
    """Names of the fields of a table below its count; the first has none in most such lists.

    >>> names_below_count(["Male", "Young"], ["1.jpg", "-1", "1"])
    ['file', 'Male', 'Young']
    """
    if len(names) < 2 or all(is_count(name) for name in names):
        return None
    if len(row) == len(names) + 1:
        return [UNNAMED, *names]
    return names if len(row) == len(names) else None


def _counted_layout(second: str, third: str, form: TextForm) -> TextLayout | None:
    names = names_below_count(second.split(), third.split())
    return None if names is None else TextLayout(BLANKS, names, form, is_counted=True)


def _delimiter(uri: str, first: str, suffix: str, form: TextForm) -> str:
    num = None if form.header is None else len(form.header) - (form.range_at is not None)
    own = _OWN.get(suffix)
    order = [own] if own else []
    order += [mark for mark in (",", "\t", ";") if mark != own]
    parted = {mark: len(_fields(first, mark)) for mark in order}
    fitting = [
        mark for mark, count in parted.items() if (count > 1 if num is None else count == num)
    ]
    if own in fitting:
        return own or ","
    if len(fitting) > 1 and num != 1:
        raise LabelError(
            f"{uri}: its first line could be parted by commas, tabs or semicolons; say which in "
            "labels.delimiter"
        )
    if fitting:
        return fitting[0]
    return BLANKS if own is None and len(first.split()) > 1 else own or ","


def _fields(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return [line.strip()]
    if delimiter == BLANKS:
        return line.split()
    # A header may hold quotes, and a line that ends within quotes is one field.
    return next(csv.reader(io.StringIO(line), delimiter=delimiter), [])


def line_batches(
    uri: str, stream: IO[bytes], layout: TextLayout, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """Rows of a table that has no header line, comments, or blanks between its fields.

    Raises:
        LabelError: a row of more or fewer fields than there are names, or an empty one between
            others: where rows are counted it would move all that follow.
    """
    positions = [layout.names.index(column) for column in columns]
    batch: list[list[str]] = []
    empty_row: int | None = None
    num_rows = 0
    for row in _rows(stream, layout):
        num_rows += 1
        if not any(row):
            empty_row = empty_row or num_rows
            continue
        if empty_row is not None:
            raise LabelError(f"{uri}, row {empty_row}: the row is empty, and others follow")
        if len(row) != len(layout.names):
            raise LabelError(
                f"{uri}, row {num_rows}: {len(row)} fields, expected {len(layout.names)} "
                f"({', '.join(layout.names)}); see labels.header and labels.delimiter"
            )
        batch.append(row)
        if len(batch) == _CHUNK_ROWS:
            yield _batch(batch, positions, columns)
            batch = []
    if batch:
        yield _batch(batch, positions, columns)


def _rows(stream: IO[bytes], layout: TextLayout) -> Iterator[list[str]]:
    form = layout.form
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    lines = (line for line in _bounded_lines(text) if not form.is_comment(line))
    if layout.delimiter in (None, BLANKS):
        rows: Iterator[list[str]] = (layout.fields(line) for line in lines)
    else:
        parted = csv.reader(lines, delimiter=layout.delimiter or ",", strict=True)
        rows = map(layout.apart, parted)
    if form.header is None:
        rows = (row for row in rows if any(row))
        for _ in range(1 + layout.is_counted):
            next(rows, None)
    yield from rows


def _bounded_lines(text: IO[str]) -> Iterator[str]:
    while line := text.readline(_MAX_LINE_CHARS):
        if len(line) == _MAX_LINE_CHARS:
            raise ValueError(f"a line of more than {_MAX_LINE_CHARS >> 20} MiB: no table has one")
        yield line


def _batch(rows: list[list[str]], positions: list[int], columns: list[str]) -> pa.RecordBatch:
    arrays = [pa.array([row[at] for row in rows], pa.string()) for at in positions]
    return pa.RecordBatch.from_arrays(arrays, names=columns)
