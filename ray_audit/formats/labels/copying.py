"""Copies a table row by row; a row that does not change keeps its bytes (CSV, JSON) or values."""

import io
import itertools
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import IO, Any

from ray_audit import storage
from ray_audit.errors import LabelError
from ray_audit.formats.labels.array_tables import copy_array, is_array_table
from ray_audit.formats.labels.copied_columns import Cells, Edit, copy_parquet
from ray_audit.formats.labels.json_rows import JsonRow, json_rows
from ray_audit.formats.labels.nested_json import (
    CocoImages,
    dumped,
    edit_rows,
    load_document,
    looks_like_coco,
    places,
)
from ray_audit.formats.labels.tables import is_name_mapping
from ray_audit.formats.labels.text_tables import (
    BLANKS,
    SUFFIXES,
    TextForm,
    TextLayout,
    packed,
    text_layout,
    unpacked,
    unpacked_name,
)

_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def copy_table(
    uri: str,
    to_uri: str,
    columns: dict[str, str],
    edit: Edit,
    form: TextForm = TextForm(),  # noqa: B008, it is frozen
) -> None:
    """Copy a label table with some rows changed, in its own format.

    Args:
        uri: a .csv, .tsv, .txt, .json, .jsonl, .ndjson or .parquet file.
        to_uri: where the copy goes.
        columns: name for `edit` -> column of the table.
        edit: decides about each row, in the order of the table.
        form: how a text table is written.
    """
    with storage.open_read(uri) as stored, storage.open_write(to_uri) as target:
        if is_array_table(uri):
            size_bytes = stored.seek(0, io.SEEK_END)
            stored.seek(0)
            copy_array(uri, stored, size_bytes, target, edit)
            return
        if uri.lower().endswith((".parquet", ".pq")):
            copy_parquet(stored, target, columns, edit)
            return
        source = unpacked(uri, stored)
        with packed(uri, target) as sink:
            if not unpacked_name(uri).endswith(SUFFIXES):
                if form.rows is not None or (
                    set(columns) == {"name", "label"} and looks_like_coco(source)
                ):
                    _copy_nested(uri, source, sink, columns, edit, form.rows)
                    return
                _copy_json(uri, source, sink, columns, edit)
                return
            layout = text_layout(uri, source, form)
            if layout.is_plain:
                _copy_csv(source, sink, layout.delimiter or ",", columns, edit)
            else:
                _copy_lines(source, sink, layout, columns, edit)


def _copy_csv(
    source: IO[bytes], sink: IO[bytes], delimiter: str, columns: dict[str, str], edit: Edit
) -> None:
    positions: dict[str, int] = {}
    if source.read(len(BOM_UTF8)) == BOM_UTF8:
        sink.write(BOM_UTF8)
    else:
        source.seek(0)
    for record, fields in _csv_records(source, delimiter):
        if fields == [""]:  # an empty line is no row
            rows = None
        elif not positions:
            header = [_unquoted(field) for field in fields]
            positions = {key: header.index(column) for key, column in columns.items()}
            rows = None
        else:
            rows = edit({key: _unquoted(fields[at]) for key, at in positions.items()})
        if rows is None:
            _write_text(sink, record)
            continue
        ending = record[len(record.rstrip("\r\n")) :] or "\n"
        for row in rows:
            new = list(fields)
            for key, value in row.items():
                new[positions[key]] = _quoted(str(value), fields[positions[key]], delimiter)
            _write_text(sink, delimiter.join(new) + ending)


def _copy_lines(
    source: IO[bytes], sink: IO[bytes], layout: TextLayout, columns: dict[str, str], edit: Edit
) -> None:
    """A table without a header line, with comments, or with blanks between its fields."""
    positions = {key: layout.names.index(column) for key, column in columns.items()}
    num_above = 0 if layout.form.header is not None else 1 + layout.is_counted
    for line in _lines(source):
        spans = layout.spans_apart(line, _spans(line, layout.delimiter))
        is_row = not layout.form.is_comment(line) and bool(line.strip("\ufeff \t\r\n"))
        if not is_row or num_above:
            num_above -= is_row
            _write_text(sink, line)
            continue
        fields = [line[start:end] for start, end in spans]
        if len(fields) != len(layout.names):
            raise LabelError(
                f"a row of {len(fields)} fields among rows of {len(layout.names)}: one that spans "
                "lines cannot be copied beside comments; leave the comments out of the table"
            )
        rows = edit({key: _unquoted(fields[at]) for key, at in positions.items()})
        for row in [{}] if rows is None else rows:
            new = line
            for key, value in sorted(row.items(), key=lambda item: -positions[item[0]]):
                start, end = spans[positions[key]]
                new = new[:start] + _fitting(str(value), line[start:end], layout) + new[end:]
            _write_text(sink, new if new.endswith("\n") or len(rows or []) < 2 else new + "\n")


def _spans(line: str, delimiter: str | None) -> list[tuple[int, int]]:
    r"""Where the fields of a line stand.

    >>> _spans("a  b c\n", " "), _spans("a,b\n", ","), _spans("a b\n", None)
    ([(0, 1), (3, 4), (5, 6)], [(0, 1), (2, 3)], [(0, 3)])
    """
    text = line.rstrip("\r\n")
    if delimiter == BLANKS:
        return [found.span() for found in re.finditer(r"[^\s\ufeff]+", text)]
    start = len(text) - len(text.lstrip("\ufeff"))
    if delimiter is None:
        start = len(text) - len(text.lstrip("\ufeff \t"))
        return [(start, len(text.rstrip()))]
    spans = []
    for field in _split(text[start:], delimiter) or [text[start:]]:
        spans.append((start, start + len(field)))
        start += len(field) + len(delimiter)
    return spans


def _fitting(value: str, old: str, layout: TextLayout) -> str:
    """A value as a field.

    Raises:
        LabelError: it would be parted.
    """
    if layout.delimiter == BLANKS and len(value.split()) != 1:
        raise LabelError(f"label {value!r} holds blanks, which part the fields of this table")
    if layout.delimiter in (None, BLANKS):
        return value
    return _quoted(value, old, layout.delimiter)


def _csv_records(source: IO[bytes], delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """Each record with its line ending, and its fields with quotes and blanks as they are."""
    record = ""
    for line in _lines(source):
        record += line
        fields = _split(record.rstrip("\r\n"), delimiter)
        if fields is not None:
            yield record, fields
            record = ""
    if record:
        yield record, record.split(delimiter)


def _lines(source: IO[bytes]) -> Iterator[str]:
    """Lines with their endings; bytes that are no UTF-8 come through as surrogates."""
    for line in source:
        yield line.decode("utf-8", "surrogateescape")


def _write_text(sink: IO[bytes], text: str) -> None:
    sink.write(text.encode("utf-8", "surrogateescape"))


def _split(record: str, delimiter: str) -> list[str] | None:
    """Fields as they stand; None where a quote is still open.

    >>> _split('a,"b, c",d', ",")
    ['a', '"b, c"', 'd']
    """
    if '"' not in record:
        return record.split(delimiter)
    fields: list[str] = []
    start = 0
    while True:
        at = _after_quotes(record, start)
        if at is None:
            return None
        end = record.find(delimiter, at)
        if end < 0:
            return [*fields, record[start:]]
        fields.append(record[start:end])
        start = end + len(delimiter)


def _after_quotes(text: str, start: int) -> int | None:
    """Position after a quoted part that begins at `start`, `start` where there is none."""
    if not text.startswith('"', start):
        return start
    at = start + 1
    while (at := text.find('"', at)) >= 0:
        if not text.startswith('""', at):
            return at + 1
        at += 2
    return None


def _unquoted(field: str) -> str:
    end = _after_quotes(field, 0)
    return field[1 : end - 1].replace('""', '"') + field[end:] if end else field


def _quoted(value: str, old_field: str, delimiter: str) -> str:
    if old_field.startswith('"') or any(mark in value for mark in (delimiter, '"', "\n", "\r")):
        return '"' + value.replace('"', '""') + '"'
    text = old_field.strip(" \t")
    return old_field.replace(text, value, 1) if text else value


def _copy_json(
    uri: str, source: IO[bytes], sink: IO[bytes], columns: dict[str, str], edit: Edit
) -> None:
    """A JSON array or JSON lines: only the values that change are written anew."""
    stream = io.TextIOWrapper(source, encoding="utf-8", errors="surrogateescape", newline="")
    joint, num_written = "", 0
    rows_of = json_rows(uri, stream)
    first, second = next(rows_of), None
    if first.values is not None:
        second = next(rows_of)
        if second.values is None and is_name_mapping(first.values, columns):
            _write_text(sink, first.between + _edited_mapping(first, edit) + second.between)
            return
    for between, text, values in itertools.chain([first], [second] if second else [], rows_of):
        if values is None:
            _write_text(sink, between)
            return
        if not joint:
            _write_text(sink, between)
            joint = ", " if "[" in between else "\n"
        rows = edit({key: values.get(column) for key, column in columns.items()})
        written = [text] if rows is None else [_json_row(text, columns, row) for row in rows]
        for index, row in enumerate(written):
            if num_written:
                _write_text(sink, between if index == 0 else joint)
            _write_text(sink, row)
            num_written += 1


def _copy_nested(
    uri: str,
    source: IO[bytes],
    sink: IO[bytes],
    columns: dict[str, str],
    edit: Edit,
    path: str | None,
) -> None:
    """A document whose rows lie deeper: written anew with the same values and indentation."""
    document = load_document(uri, source)
    source.seek(0)
    before = source.read()
    if path is None:
        CocoImages.of(uri, document).edit(edit)
    else:
        edit_rows(uri, places(uri, document, path), columns, edit)
    sink.write(dumped(document, before))


def _edited_mapping(row: JsonRow, edit: Edit) -> str:
    """A JSON object of names and labels with some labels replaced."""
    text = row.text
    for name, (start, end) in reversed(_value_spans(text).items()):
        rows = edit({"name": name, "label": (row.values or {})[name]})
        if rows is not None:
            text = text[:start] + _json_value(rows[0]["label"], text[start:end]) + text[end:]
    return text


def _json_row(text: str, columns: dict[str, str], row: Cells) -> str:
    """The object's text with the values of some keys replaced."""
    spans = _value_spans(text)
    by_place = sorted(((spans[columns[key]], value) for key, value in row.items()), reverse=True)
    for (start, end), value in by_place:
        text = text[:start] + _json_value(value, text[start:end]) + text[end:]
    return text


def _json_value(value: Any, old_text: str) -> str:
    """A value as JSON, text where text stood, and else whatever its text is.

    >>> _json_value("2.0", "1.0"), _json_value("-1", "1"), _json_value("2", '"1"')
    ('2.0', '-1', '"2"')
    """
    if isinstance(value, bool) and not old_text.startswith('"'):
        return json.dumps(value)
    if old_text.startswith('"') or not _NUMBER.fullmatch(str(value)):
        return json.dumps(str(value), ensure_ascii=False)
    return str(value)


def _value_spans(text: str) -> dict[str, tuple[int, int]]:
    """Where the value of each key of a JSON object stands.

    >>> _value_spans('{"a": [1, 2], "b":3}')
    {'a': (6, 12), 'b': (18, 19)}
    """
    decoder = json.JSONDecoder()
    spans: dict[str, tuple[int, int]] = {}
    at = _after_blanks(text, 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        start = _after_blanks(text, _after_blanks(text, at) + 1)
        _, at = decoder.raw_decode(text, start)
        spans[key] = (start, at)
        at = _after_blanks(text, at)
        at = _after_blanks(text, at + 1) if text[at] == "," else at
    return spans


def _after_blanks(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
