"""Parquet files whose rows are images, with a label or mask column, or a label table."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit import parquet_io, storage
from ray_audit.config import DatasetConfig, LabelsConfig
from ray_audit.errors import SampleError, SpecificationError
from ray_audit.formats.base import BrokenOffError, Format, Item, table_labels
from ray_audit.formats.job import UnitContext
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.formats.labels.cells import label_of, text_of
from ray_audit.formats.labels.classes import ClassNames, named_otherwise
from ray_audit.formats.labels.copied_columns import Cells, Edit, copy_parquet
from ray_audit.formats.labels.relabel import is_label, relabelled
from ray_audit.formats.mask_files import mask_like
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

_ROWS = 64
_NAMES = 4096
_BUFFER_BYTES = 2**20
_NO_KEY = ("", None)


class ParquetImages(Format):
    """One row per image; its key is a column, or its place in the file."""

    name = "Parquet"
    kind = "images"
    extensions = ("parquet", "pq")
    forms = frozenset({"column", "masks"})
    holds_several = True

    def check(self, shard: Shard, labels: LabelsConfig) -> None:
        """Refuse a first file that lacks a column; a damaged one is found when it is read."""
        columns = [labels.image_column, labels.column, labels.key_column, labels.masks]
        try:
            found = self._schema(shard).names
        except (OSError, ValueError, SampleError):
            return
        missing = [column for column in columns if column and column not in found]
        if missing:
            raise SpecificationError(
                f"dataset: {shard.key} has no column {', '.join(map(repr, missing))}; it has "
                f"{', '.join(map(repr, found))}. See dataset.labels.column, image_column, "
                "key_column"
            )

    def class_names(self, shard: Shard, labels: LabelsConfig) -> list[str]:
        """What Hugging Face's `ClassLabel` says of the label column, in the schema's metadata."""
        return hugging_face_names(self._schema(shard), labels.column)

    def _schema(self, shard: Shard) -> pa.Schema:
        with storage.open_read(shard.uri, shard.size_bytes) as stream:
            return self.opened(stream).schema_arrow

    def opened(self, stream: IO[bytes], buffer_bytes: int = 0) -> Any:
        """The rows of an open file: `schema_arrow`, `num_rows` and `iter_batches`."""
        return _ParquetRows(parquet_io.open_bounded(stream, buffer_bytes))

    def copy_rows(
        self, source: IO[bytes], sink: IO[bytes], columns: dict[str, str], edit: Edit
    ) -> None:
        """Copy a file with some rows changed."""
        copy_parquet(source, sink, columns, edit)

    def names(self, shard: Shard, labels: LabelsConfig) -> Iterator[str]:
        """Values of the key column, or numbers of rows."""
        with storage.open_read(shard.uri, shard.size_bytes) as stream:
            file = self.opened(stream)
            if labels.key_column is None:
                yield from map(str, range(file.num_rows))
                return
            for batch in file.iter_batches(_NAMES, columns=[labels.key_column]):
                yield from (str(text_of(key)) for key in batch.column(0).to_pylist())

    def read(self, shards: tuple[Shard, ...], job: UnitContext) -> Iterator[Item]:
        """Rows, a few at a time."""
        (shard,), labels = shards, job.dataset.labels
        table = table_labels(shard, job)
        columns = [labels.image_column, labels.column, labels.masks, labels.key_column]
        names = list(dict.fromkeys(column for column in columns if column))
        row_in_file = 0
        with job.tally.open_read(shard.uri, shard.size_bytes) as stream:
            file = self.opened(stream, _BUFFER_BYTES)
            wrong = _named_otherwise(file.schema_arrow, shard, job)
            batches = file.iter_batches(_ROWS, columns=names)
            while True:
                try:
                    batch = next(batches, None)
                except Exception as error:
                    raise BrokenOffError(file.num_rows - row_in_file, error) from error
                if batch is None:
                    return
                for row in batch.to_pylist():
                    item = _item(shard, row, row_in_file, table, labels)
                    yield (
                        item if wrong is None or item.label is None else replace(item, error=wrong)
                    )
                    row_in_file += 1

    def labels_in(self, shard: Shard, job: UnitContext) -> Iterator[tuple[Owner, object]]:
        """The label column alone."""
        labels = job.dataset.labels
        columns = [column for column in (labels.column, labels.key_column) if column]
        row_in_file = 0
        with storage.open_read(shard.uri, shard.size_bytes) as stream:
            for batch in self.opened(stream).iter_batches(columns=columns):
                for row in batch.to_pylist():
                    label = label_of(row[labels.column])
                    yield Owner(shard.key, str(_key(row, row_in_file, labels))), label
                    row_in_file += 1

    def write(
        self,
        shard: Shard,
        dataset: DatasetConfig,
        changes: LabelChanges,
        to_uri: str,
        left_out: dict[str, str],
    ) -> int:
        """Rewrite the label (or mask) column, a row group at a time."""
        labels, classes = dataset.labels, ClassNames.of(dataset)
        rows, num_written = count(), 0
        columns = {"label": labels.column or str(labels.masks)}
        if labels.key_column:
            columns["key"] = labels.key_column

        def edit(cells: Cells) -> list[Cells] | None:
            nonlocal num_written
            owner = Owner(shard.key, str(text_of(cells.get("key", next(rows)))))
            new = _new_cell(cells["label"], owner, labels, classes, changes)
            num_written += new is not None
            return None if new is None else [{"label": new}]

        with (
            storage.open_read(shard.uri, shard.size_bytes) as source,
            storage.open_write(to_uri) as sink,
        ):
            self.copy_rows(source, sink, columns, edit)
        return num_written


class _ParquetRows:
    """What readers ask of the rows of a file."""

    def __init__(self, file: pq.ParquetFile) -> None:
        self.schema_arrow: pa.Schema = file.schema_arrow
        self.num_rows: int = file.metadata.num_rows
        self.iter_batches = file.iter_batches


def hugging_face_names(schema: pa.Schema, column: str | None) -> list[str]:
    """Class names of a column by the metadata that `datasets` writes; empty where it has none."""
    metadata = (schema.metadata or {}).get(b"huggingface")
    if metadata is None or column is None:
        return []
    feature = json.loads(metadata)["info"]["features"].get(column)
    names = feature.get("names") if isinstance(feature, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else []


def _named_otherwise(schema: pa.Schema, shard: Shard, job: UnitContext) -> SampleError | None:
    """Whether this file's classes are others than those of the dataset: each has its own."""
    column = job.dataset.labels.column
    names = hugging_face_names(schema, column)
    return named_otherwise(names, job.dataset, f"{column!r} of {shard.key}")


def _key(row: dict[str, Any], row_in_file: int, labels: LabelsConfig) -> object:
    return row_in_file if labels.key_column is None else text_of(row[labels.key_column])


def _item(
    shard: Shard,
    row: dict[str, Any],
    row_in_file: int,
    table: dict[str, int],
    labels: LabelsConfig,
) -> Item:
    key = _key(row, row_in_file, labels)
    item = Item(Owner(shard.key, str(key)).key, shard.key, class_index=table.get(str(key)))
    if key in _NO_KEY:
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


def _new_cell(
    old: Any, owner: Owner, labels: LabelsConfig, classes: ClassNames, changes: LabelChanges
) -> Any:
    if labels.masks:
        mask = None if old is None else changes.mask(owner)
        if mask is None:
            return None
        if isinstance(old, dict):
            return {**old, "bytes": mask_like(old["bytes"], mask, labels)}
        return mask_like(old, mask, labels)
    new = changes.classes.get(owner)
    return relabelled(old, new, classes) if new is not None and is_label(old, classes) else None
