"""Single images, from files, Parquet tables or WebDataset tars, read as a stream."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO, Any

import pyarrow.parquet as pq

from ray_audit import storage
from ray_audit.errors import SampleError
from ray_audit.formats.job import UnitContext
from ray_audit.formats.labels.cells import label_of, text_of
from ray_audit.formats.labels.index import index_rows
from ray_audit.sample_ids import Owner
from ray_audit.samples import IGNORE, Shard

_WHOLE_BYTES = 16 * 2**20
_NUM_AHEAD = 8
_PARQUET_ROWS = 64
_PARQUET_BUFFER_BYTES = 2**20
_NOT_LABELLED = ("", None)

Stored = bytes | IO[bytes]


@dataclass(frozen=True)
class Item:
    """One image that has not been decoded.

    Attributes:
        sample_id: its name.
        shard: value of the shard column.
        image: as stored.
        label: its label value as stored; None where unlabelled.
        class_index: its label where that is parsed already, `IGNORE` where void.
        mask: its mask as stored; None where unlabelled.
        mask_uri: where a mask that is a file lies.
        error: why it cannot be decoded, found while reading.
    """

    sample_id: str
    shard: str
    image: Stored = b""
    label: object = None
    class_index: int | None = None
    mask: Stored | None = None
    mask_uri: str | None = None
    error: Exception | None = None


class BrokenOffError(Exception):
    """The rest of a container cannot be read.

    Args:
        num_left: items in the rest.
        cause: why.
    """

    def __init__(self, num_left: int, cause: Exception) -> None:
        super().__init__(num_left, cause)
        self.num_left = num_left
        self.cause = cause


def file_items(shards: tuple[Shard, ...], job: UnitContext) -> Iterator[Item]:
    """Images that are files; remote ones are fetched a few ahead, in order."""
    if not any("://" in shard.uri for shard in shards):
        # A thread that hands over one local file after another costs more than the file does.
        for shard in shards:
            with job.tally.timed():
                item = _read_file(shard)
            yield _counted(item, shard, job)
        return
    with ThreadPoolExecutor(max_workers=_NUM_AHEAD) as pool:
        upcoming = iter(shards)
        waiting: deque[tuple[Shard, Future[Item]]] = deque()
        while True:
            for shard in islice(upcoming, _NUM_AHEAD - len(waiting)):
                waiting.append((shard, pool.submit(_read_file, shard)))
            if not waiting:
                return
            shard, future = waiting.popleft()
            with job.tally.timed():
                item = future.result()
            yield _counted(item, shard, job)


def _counted(item: Item, shard: Shard, job: UnitContext) -> Item:
    job.tally.bytes_read += _num_bytes(item.image, shard) + _num_bytes(item.mask, shard)
    return item


def _read_file(shard: Shard) -> Item:
    item = Item(shard.key, shard.key, class_index=shard.class_index, mask_uri=shard.label_uri)
    try:
        mask = storage.read_bytes(shard.label_uri) if shard.label_uri is not None else None
        if item.class_index in (None, IGNORE) and mask is None:
            return item  # it will be filtered: there is no need to read it
        if shard.size_bytes <= _WHOLE_BYTES:
            return replace(item, image=storage.read_bytes(shard.uri), mask=mask)
        # A large image is decoded from the stream, so that it is not in memory twice.
        return replace(item, image=storage.open_read(shard.uri, shard.size_bytes), mask=mask)
    except Exception as error:
        return replace(item, error=error)


def _num_bytes(stored: Stored | None, shard: Shard) -> int:
    if stored is None:
        return 0
    return len(stored) if isinstance(stored, bytes) else shard.size_bytes


def parquet_items(shard: Shard, job: UnitContext) -> Iterator[Item]:
    """Images that are rows of a Parquet file, a few rows at a time."""
    labels = job.dataset.labels
    table = table_labels(shard, job)
    columns = [labels.image_column, labels.column, labels.masks, labels.key_column]
    names = list(dict.fromkeys(column for column in columns if column))
    row_in_file = 0
    with job.tally.open_read(shard.uri, shard.size_bytes) as stream:
        file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_PARQUET_BUFFER_BYTES)
        batches = file.iter_batches(_PARQUET_ROWS, columns=names)
        while True:
            try:
                batch = next(batches, None)
            except Exception as error:
                raise BrokenOffError(file.metadata.num_rows - row_in_file, error) from error
            if batch is None:
                return
            for row in batch.to_pylist():
                yield _parquet_item(shard, row, row_in_file, table, job)
                row_in_file += 1


def _parquet_item(
    shard: Shard, row: dict[str, Any], row_in_file: int, table: dict[str, int], job: UnitContext
) -> Item:
    labels = job.dataset.labels
    key = row_in_file if labels.key_column is None else text_of(row[labels.key_column])
    item = Item(Owner(shard.key, str(key)).key, shard.key, class_index=table.get(str(key)))
    if key in _NOT_LABELLED:
        error = SampleError("key", f"row {row_in_file} has no {labels.key_column}")
        return replace(item, sample_id=f"{shard.key}#row {row_in_file}", error=error)
    label = label_of(row[labels.column]) if labels.column else None
    mask = row[labels.masks] if labels.masks else None
    if label is None and mask is None and item.class_index is None:
        return item  # it will be filtered, whatever its image is
    try:
        return replace(
            item,
            image=_cell_bytes(row[labels.image_column]),
            label=label,
            mask=None if mask is None else _cell_bytes(mask),
        )
    except SampleError as error:
        return replace(item, error=error)


def _cell_bytes(cell: object) -> bytes:
    """Bytes of an image cell: plain, or the `bytes` of a struct {bytes, path}."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(content, bytes) and content:
        return content
    raise SampleError(
        "image_format",
        f"the image cell holds {type(content).__name__}, expected the bytes of an image file",
    )


def table_labels(shard: Shard, job: UnitContext) -> dict[str, int]:
    """Labels of the images in a container, from the index of a label table."""
    if job.dataset.labels.form != "images":
        return {}
    rows = index_rows(shard, job.index_uri)
    if rows is None:
        return {}
    return dict(zip(rows["part"].to_pylist(), rows["label"].to_pylist(), strict=True))
