"""Copies of Parquet files and Arrow tables with some labels changed, and what an edit is."""

from collections.abc import Callable
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit import parquet_io
from ray_audit.errors import LabelError

Cells = dict[str, Any]
Edit = Callable[[Cells], list[Cells] | None]
"""Takes the wanted cells of a row as stored (text, or a JSON or Parquet value). Gives None where
the row stays, else the rows that replace it: the cells that differ, the others are copied."""


def copy_parquet(source: IO[bytes], sink: IO[bytes], columns: dict[str, str], edit: Edit) -> None:
    """Rewrite a Parquet file; one row group is in memory at a time.

    Types, row groups, codecs, other columns and the schema's metadata stay.
    """
    file = parquet_io.open_bounded(source)
    with pq.ParquetWriter(sink, file.schema_arrow, compression=_codecs(file)) as writer:
        for group in range(file.num_row_groups):
            table = edited_table(file.read_row_group(group), columns, edit)
            writer.write_table(table, row_group_size=max(1, table.num_rows))


def _codecs(file: pq.ParquetFile) -> dict[str, str] | str:
    if file.num_row_groups == 0:
        return "snappy"
    group = file.metadata.row_group(0)
    described = (group.column(index) for index in range(group.num_columns))
    renamed = {"UNCOMPRESSED": "NONE", "LZ4_RAW": "LZ4"}
    return {c.path_in_schema: renamed.get(c.compression, c.compression) for c in described}


def edited_table(table: pa.Table, columns: dict[str, str], edit: Edit) -> pa.Table:
    """A table with some rows changed; types stay."""
    cells = {key: table[column].to_pylist() for key, column in columns.items()}
    taken: list[int] = []
    new: dict[str, dict[int, Any]] = {key: {} for key in columns}
    for row in range(table.num_rows):
        rows = edit({key: values[row] for key, values in cells.items()})
        for source_row in [{}] if rows is None else rows:
            for key, value in source_row.items():
                new[key][len(taken)] = value
            taken.append(row)
    if taken != list(range(table.num_rows)):
        table = table.take(pa.array(taken, pa.int64()))
    for key, changed in new.items():
        if changed:
            values = [changed.get(at, cells[key][row]) for at, row in enumerate(taken)]
            at = table.column_names.index(columns[key])
            field = table.schema.field(at)
            typed = _typed(values, changed, field)
            table = table.set_column(at, field, typed)
    return table


def _truth(value: Any) -> bool:
    """A label of two classes as such a column stores it."""
    text = str(value).lower()
    if text not in ("0", "1", "false", "true"):
        raise ValueError(f"{value} is neither true nor false")
    return text in ("1", "true")


def _typed(values: list[Any], changed: dict[int, Any], field: pa.Field) -> pa.Array:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    try:
        for at, value in changed.items():
            if pa.types.is_integer(kind):
                if float(value) != int(float(value)):
                    raise ValueError(f"{value} is between two whole numbers")
                values[at] = int(value)
            elif pa.types.is_floating(kind):
                values[at] = float(value)
            elif pa.types.is_boolean(kind):
                values[at] = _truth(value)
            elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
                values[at] = str(value)
        return pa.array(values, type=field.type)
    except (ValueError, TypeError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise LabelError(
            f"column {field.name!r} of type {field.type} cannot hold a new label: {error}"
        ) from error
