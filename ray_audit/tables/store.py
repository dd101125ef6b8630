"""Tables of a run: written whole by pyarrow, read through the manifest only."""

import hashlib
import io
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit import storage


@dataclass(frozen=True)
class TableFile:
    """One file of a table, as the manifest lists it.

    Attributes:
        path: below the run's folder.
        num_rows: rows in it.
        size_bytes: its size.
        sha256: of its content.
    """

    path: str
    num_rows: int
    size_bytes: int
    sha256: str


def write_table(run_uri: str, name: str, part: int, table: pa.Table) -> TableFile:
    """Write one part of a table under a deterministic name."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue()
    path = f"{name}/part-{part:05d}.parquet"
    storage.write_bytes(storage.join(run_uri, path), content)
    return TableFile(path, table.num_rows, len(content), hashlib.sha256(content).hexdigest())


def read_table(run_uri: str, files: list[TableFile], columns: list[str] | None = None) -> pa.Table:
    """Read the parts that a manifest lists, with the metadata of columns and file.

    Raises:
        StorageError: a listed file is not there.
        ValueError: there is no file to read.
    """
    if not files:
        raise ValueError(f"{run_uri}: the manifest lists no file of this table")
    parts = [
        pq.read_table(
            io.BytesIO(storage.read_bytes(storage.join(run_uri, file.path))), columns=columns
        )
        for file in files
    ]
    return pa.concat_tables(parts)
