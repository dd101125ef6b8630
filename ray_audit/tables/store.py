"""Tables of a run: written whole by pyarrow, read through the manifest only."""

import hashlib
import io
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit import parquet_io, storage
from ray_audit.errors import StorageError


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
    """Write one part of a table; its name tells its content.

    So of two runs at once, each lists its own files, and none is replaced under a reader.
    """
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    path = f"{name}/part-{part:05d}-{sha256[:12]}.parquet"
    storage.write_bytes(storage.join(run_uri, path), content)
    return TableFile(path, table.num_rows, len(content), sha256)


def read_table(run_uri: str, files: list[TableFile], columns: list[str] | None = None) -> pa.Table:
    """Read the parts that a manifest lists, with the metadata of columns and file.

    Raises:
        StorageError: a listed file is not there, or is not what was listed.
        ValueError: there is no file to read.
    """
    if not files:
        raise ValueError(f"{run_uri}: the manifest lists no file of this table")
    parts = [
        parquet_io.parse(_verified(storage.join(run_uri, file.path), file), columns)
        for file in files
    ]
    return pa.concat_tables(parts)


def _verified(uri: str, file: TableFile) -> bytes:
    content = storage.read_bytes(uri)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise StorageError(
            f"{uri} is not the file that the manifest lists: it has {len(content)} bytes, listed "
            f"are {file.size_bytes}, or its sha256 differs. It was changed or damaged after the "
            "run: bring it back, or delete the run's manifest.json and run again on the same "
            "--date, which makes the tables anew from the committed records"
        )
    return content
