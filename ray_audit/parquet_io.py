"""Parquet read in a way that lets a process end right afterwards.

`pyarrow.parquet.read_table` scans a dataset, whose readers are freed in a thread of Arrow some
time after the table is there. Where the interpreter is ending by then, that thread aborts the
process: an exit code of 0 or 1 becomes SIGABRT (pyarrow 26, Python 3.11).
"""

from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit import storage
from ray_audit.errors import SampleError


def open_file(stream: IO[bytes], buffer_bytes: int = 0) -> pq.ParquetFile:
    """A Parquet file behind a binary stream, of which nothing is read ahead.

    Raises:
        pyarrow.ArrowInvalid: it is no Parquet file.
    """
    return pq.ParquetFile(stream, pre_buffer=False, buffer_size=buffer_bytes)


def open_bounded(stream: IO[bytes], buffer_bytes: int = 0) -> pq.ParquetFile:
    """A Parquet file of somebody else's, none of whose row groups would fill the memory.

    Raises:
        SampleError: a row group would inflate too far.
        pyarrow.ArrowInvalid: it is no Parquet file.
    """
    file = open_file(stream, buffer_bytes)
    for index in range(file.num_row_groups):
        group = file.metadata.row_group(index)
        if not storage.inflates_too_far(0, group.total_byte_size):
            continue
        columns = (group.column(place) for place in range(group.num_columns))
        stored_bytes = sum(column.total_compressed_size for column in columns)
        if storage.inflates_too_far(stored_bytes, group.total_byte_size):
            raise SampleError(
                "too_large",
                f"row group {index} would inflate from {stored_bytes} to {group.total_byte_size} "
                "bytes; write smaller row groups",
            )
    return file


def parse(content: bytes, columns: list[str] | None = None) -> pa.Table:
    """The table that the bytes of a Parquet file hold, or some columns of it.

    Raises:
        pyarrow.ArrowInvalid: they are no Parquet file.
    """
    # Arrow's threads may outlive the interpreter where torch is loaded too: SIGABRT at its end.
    return pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(
        columns, use_threads=False
    )
