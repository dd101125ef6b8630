"""Copies of Parquet files and Arrow tables with some labels changed, and what an edit is."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import IO, Any

import numpy as np
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
    """A table with some rows changed; types stay, and so does what a column keeps beside them."""
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
        rows_taken = [_rows_of(column, taken) for column in table.columns]
        table = pa.Table.from_arrays(rows_taken, schema=table.schema)
    for key, changed in new.items():
        if changed:
            at = table.column_names.index(columns[key])
            field = table.schema.field(at)
            table = table.set_column(at, field, _changed(table[at], changed, field))
    return table


def _changed(column: pa.ChunkedArray, changed: dict[int, Any], field: pa.Field) -> pa.Array:
    """A column with other values at some rows; the rest are taken as they are.

    Raises:
        LabelError: its type cannot hold one.
    """
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    try:
        new = _array([_typed(value, kind) for value in changed.values()], field.type)
        # The values of a dictionary stay, also those that no row has, and new ones lie behind them.
        both = pa.chunked_array([*column.chunks, new], field.type).unify_dictionaries()
    except (ValueError, TypeError, ArithmeticError, pa.ArrowException) as error:
        raise LabelError(
            f"column {field.name!r} of type {field.type} cannot hold a new label: {error}"
        ) from error
    rows = np.arange(len(column))
    rows[[*changed]] = len(column) + np.arange(len(changed))
    return _rows_of(both, rows)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_dictionary(kind):
        return pa.array(values, kind)
    # Made of its parts: pyarrow before 25 forgets that the values of a dictionary are in order
    # (findings/an_ordered_dictionary_forgets_its_order.sh).
    encoded = pa.array(values, kind.value_type).dictionary_encode()
    indices = encoded.indices.cast(kind.index_type)
    return pa.DictionaryArray.from_arrays(indices, encoded.dictionary, ordered=kind.ordered)


def _rows_of(column: pa.ChunkedArray, rows: Sequence[int] | np.ndarray) -> pa.Array:
    """Some rows of a column; those of the types of views have to be made anew."""
    if pa.types.is_string_view(column.type) or pa.types.is_binary_view(column.type):
        values = column.to_pylist()
        return pa.array([values[row] for row in rows], column.type)
    return column.take(pa.array(rows, pa.int64())).combine_chunks()


def _typed(value: Any, kind: pa.DataType) -> Any:
    """A label in the Python type of a column's type."""
    if pa.types.is_integer(kind):
        if float(value) != int(float(value)):
            raise ValueError(f"{value} is between two whole numbers")
        return int(value)
    if pa.types.is_floating(kind):
        return np.float16(value) if pa.types.is_float16(kind) else float(value)
    if pa.types.is_decimal(kind):
        return Decimal(str(value))
    if pa.types.is_boolean(kind):
        return _truth(value)
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    if is_bytes or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
        return value if isinstance(value, bytes) else str(value).encode()
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return str(value) if is_text or pa.types.is_string_view(kind) else value


def _truth(value: Any) -> bool:
    """A label of two classes as such a column stores it."""
    text = str(value).lower()
    if text not in ("0", "1", "false", "true"):
        raise ValueError(f"{value} is neither true nor false")
    return text in ("1", "true")
