"""Findings as one table: CSV for spreadsheets, Parquet for programs."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit.exports.content import Content, Documents, Row
from ray_audit.schemas import FINDINGS, Column, arrow_schema

_FORMULA = tuple("=+-@\t\r\n＝＋－＠'")  # noqa: RUF001  # spreadsheets take full-width ones too
_BOX = ("box_x0", "box_y0", "box_x1", "box_y1")
_SIZE = ("mask_height_px", "mask_width_px")
_MEDIA = Column("media", pa.string(), "where the image or the video lies; null where unknown")


def csv_documents(content: Content) -> Documents:
    """`findings.csv`: the columns of the `findings` table, boxes and sizes one column per number.

    A text that a spreadsheet would run as a formula gets a leading `'`, and so does one that begins
    with it: `text.removeprefix("'")` gives back what it was.
    """
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, list(_cells(_empty_row(), content)))
    writer.writeheader()
    writer.writerows(_cells(row, content) for row in content.rows)
    return {"findings.csv": sink.getvalue().encode("utf-8", "replace")}


def _empty_row() -> Row:
    return {column.name: None for column in FINDINGS}


def _cells(row: Row, content: Content) -> dict[str, Any]:
    return {name: _harmless(value) for name, value in _flat(row, content)}


def _flat(row: Row, content: Content) -> Iterator[tuple[str, Any]]:
    yield "run_id", content.run_id
    for name, value in row.items():
        if name == "box":
            yield from zip(_BOX, value or [None] * 4, strict=True)
        elif name == "mask_size_px":
            yield from zip(_SIZE, value or [None] * 2, strict=True)
        elif name == "evidence":
            yield name, json.dumps(value or [], ensure_ascii=False)
        else:
            yield name, value
    yield _MEDIA.name, _address(row, content)


def _harmless(value: Any) -> Any:
    """The value, or a text that no spreadsheet takes for a formula.

    >>> _harmless("=1+1"), _harmless("a=b"), _harmless(-1.5), _harmless(" @SUM(A1)")
    ("'=1+1", 'a=b', -1.5, "' @SUM(A1)")
    """
    if isinstance(value, str) and (value.startswith(_FORMULA) or value.lstrip()[:1] in _FORMULA):
        return f"'{value}"
    return value


def _address(row: Row, content: Content) -> str | None:
    media = content.media.get(row["shard"])
    return None if media is None else media.address


def parquet_documents(content: Content) -> Documents:
    """`findings.parquet`: rows of the `findings` table, with `media`; the run in the metadata."""
    schema = arrow_schema([*FINDINGS, _MEDIA], {"run_id": content.run_id, "name": content.name})
    rows = [row | {_MEDIA.name: _address(row, content)} for row in content.rows]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    return {"findings.parquet": sink.getvalue()}
