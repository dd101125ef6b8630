"""Arrow files of Hugging Face's `save_to_disk`, and others: rows are images, as in Parquet."""

import os
import struct
from collections.abc import Iterator
from typing import IO

import pyarrow as pa

from ray_audit.errors import SampleError
from ray_audit.formats.labels.copied_columns import Edit, edited_table
from ray_audit.formats.parquet import ParquetImages

_FILE_MARK = b"ARROW1\0\0"
_CONTINUES = 0xFFFFFFFF
_MAX_METADATA_BYTES = 64 * 2**20
_RECORD_BATCH = 3


class ArrowImages(ParquetImages):
    """One row per image, in a stream or a file of Arrow's IPC format."""

    name = "Arrow"
    extensions = ("arrow", "feather")

    def opened(self, stream: IO[bytes], buffer_bytes: int = 0) -> "ArrowRows":
        """See `ParquetImages.opened`."""
        return ArrowRows(stream)

    def copy_rows(
        self, source: IO[bytes], sink: IO[bytes], columns: dict[str, str], edit: Edit
    ) -> None:
        """A record batch at a time."""
        rows, known = ArrowRows(source), dict[str, pa.Array]()
        make = pa.ipc.new_file if rows.is_file else pa.ipc.new_stream
        # A file takes values that follow those of a dictionary, and no other dictionary.
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        with make(sink, rows.schema_arrow, options=options) as writer:
            for batch in rows.record_batches():
                table = edited_table(pa.Table.from_batches([batch]), columns, edit)
                for name in columns.values():
                    table = _with_known(table, name, known)
                writer.write_table(table, max_chunksize=max(1, table.num_rows))


def _with_known(table: pa.Table, name: str, known: dict[str, pa.Array]) -> pa.Table:
    """A table whose dictionary of a column begins with what the one before it held."""
    at = table.column_names.index(name)
    field = table.schema.field(at)
    if not pa.types.is_dictionary(field.type):
        return table
    chunks = table[at].chunks
    if name in known:
        before = pa.DictionaryArray.from_arrays(
            pa.array([], field.type.index_type), known[name], ordered=field.type.ordered
        )
        chunks = pa.chunked_array([before, *chunks]).unify_dictionaries().chunks[1:]
    known[name] = chunks[-1].dictionary if chunks else known.get(name, pa.array([]))
    return table.set_column(at, field, pa.chunked_array(chunks, field.type))


class ArrowRows:
    """The rows of an Arrow stream, or of the stream that an Arrow file holds.

    Args:
        stream: of the file; read anew for each pass over the rows.

    Raises:
        SampleError: a part claims more than there is, or buffers are compressed.
        pa.ArrowInvalid: it is damaged.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        size_bytes = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        self.is_file = stream.read(len(_FILE_MARK)) == _FILE_MARK
        self._stream = stream
        self._begin = len(_FILE_MARK) if self.is_file else 0
        _check_messages(stream, size_bytes, self._begin)
        self.schema_arrow: pa.Schema = self._reader().schema

    def _reader(self) -> pa.ipc.RecordBatchStreamReader:
        # Never by the footer of a file: it may place messages anywhere.
        self._stream.seek(self._begin)
        return pa.ipc.open_stream(self._stream)

    @property
    def num_rows(self) -> int:
        """Rows of all batches."""
        return sum(batch.num_rows for batch in self.record_batches())

    def record_batches(self) -> Iterator[pa.RecordBatch]:
        """As they are stored."""
        for batch in self._reader():
            batch.validate(full=True)
            yield batch

    def iter_batches(
        self, batch_size: int = 65_536, columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Batches of at most `batch_size` rows, of some columns."""
        for batch in self.record_batches():
            chosen = batch if columns is None else batch.select(columns)
            for start in range(0, chosen.num_rows, batch_size):
                yield chosen.slice(start, batch_size)


def _check_messages(stream: IO[bytes], size_bytes: int, at: int) -> None:
    """Walk over the messages of an Arrow stream, and hold their sizes against the file's.

    Each is a length, a flatbuffer (Message of Arrow's format) and a body.
    """
    while at + 8 <= size_bytes:
        stream.seek(at)
        mark, length = struct.unpack("<II", stream.read(8))
        if mark != _CONTINUES:
            raise SampleError("decode", "no Arrow stream, or one from before version 0.15")
        if not length:
            return
        if length > min(size_bytes - at - 8, _MAX_METADATA_BYTES):
            raise SampleError("decode", "an Arrow message claims more bytes than the file has")
        body_bytes, is_compressed = _message(stream.read(length))
        if is_compressed:
            raise SampleError(
                "too_large",
                "the Arrow file has compressed buffers, which may inflate to anything; expected "
                "those of datasets.save_to_disk, or Parquet",
            )
        at += 8 + length + body_bytes
        if body_bytes < 0 or at > size_bytes:
            raise SampleError("decode", "an Arrow message claims more bytes than the file has")
    if at < size_bytes or not size_bytes:
        raise SampleError("decode", "the Arrow file breaks off")


def _message(buffer: bytes) -> tuple[int, bool]:
    """Length of a message's body, and whether it is a record batch of compressed buffers."""
    try:
        root = struct.unpack_from("<I", buffer)[0]
        kind_at, header_at, body_at = (_field(buffer, root, slot) for slot in (1, 2, 3))
        body = struct.unpack_from("<q", buffer, body_at)[0] if body_at else 0
        if not kind_at or not header_at or buffer[kind_at] != _RECORD_BATCH:
            return body, False
        header = header_at + struct.unpack_from("<I", buffer, header_at)[0]
        return body, bool(_field(buffer, header, 3))
    except (struct.error, IndexError) as error:
        raise SampleError("decode", f"an Arrow message is damaged: {error}") from error


def _field(buffer: bytes, table: int, slot: int) -> int:
    """Where a field of a flatbuffer's table stands; 0 where it is left out."""
    entries = table - struct.unpack_from("<i", buffer, table)[0]
    if entries < 0:
        raise IndexError("a table lies before its buffer")
    (size,) = struct.unpack_from("<H", buffer, entries)
    if 4 + 2 * slot + 2 > size:
        return 0
    (offset,) = struct.unpack_from("<H", buffer, entries + 4 + 2 * slot)
    return table + offset if offset else 0
