"""Names inside container files, read without their content, to match label tables against."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pyarrow.parquet as pq

from ray_audit import parquet, storage
from ray_audit.config import LabelsConfig
from ray_audit.errors import SpecificationError, StorageError
from ray_audit.formats.arrays import array_names
from ray_audit.formats.damage import is_damage
from ray_audit.formats.labels.cells import text_of
from ray_audit.formats.labels.names import OwnerNames
from ray_audit.formats.registry import container_of
from ray_audit.formats.tar_members import sample_keys
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

_IMAGES_PER_CHUNK = 4096
_PAUSES_S = (0.5, 2.0, None)


class Contents(NamedTuple):
    """What a label table can name in a shard.

    Attributes:
        owners: the shard itself, or its arrays or images.
        is_whole: False where the names behind a damage are not known.
    """

    owners: list[Owner]
    is_whole: bool = True


def contents_of(shard: Shard, labels: LabelsConfig) -> Contents:
    """Names in a shard, as far as they can be read; reading a damaged one will say why it is.

    Raises:
        StorageError: the store did not give it, and did not at further tries either.
    """
    read = _NAMES_IN.get(str(container_of(shard.key)))
    if read is None:
        return Contents([Owner(shard.key)])
    for pause_s in _PAUSES_S:
        try:
            with storage.explained("list the names in", shard.uri):
                return _contents(shard, read(shard, labels))
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError | PermissionError):
                return Contents([], is_whole=False)  # a failure of stage `read`, once it is read
            if pause_s is None:
                raise
        time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")


def _contents(shard: Shard, names: Iterator[str]) -> Contents:
    found, is_whole = dict[str, None](), True
    try:
        for name in names:
            found[name] = None
    except Exception as error:
        if not is_damage(error):
            raise
        is_whole = False
    return Contents([Owner(shard.key, name) for name in found], is_whole)


def owner_names(shards: Sequence[Shard], labels: LabelsConfig, column: str) -> OwnerNames:
    """Everything that the rows of a label table can name; container files are opened."""
    partial: list[str] = []

    def owners() -> Iterator[Owner]:
        for shard in shards:
            contents = contents_of(shard, labels)
            if not contents.is_whole:
                partial.append(shard.key)
            yield from contents.owners

    return OwnerNames(owners(), column, partial)


ReadNames = Callable[[Shard, LabelsConfig], Iterator[str]]


def _array_names(shard: Shard, labels: LabelsConfig) -> Iterator[str]:
    with storage.open_read(shard.uri, shard.size_bytes) as stream:
        yield from array_names(stream, labels)


def _tar_keys(shard: Shard, labels: LabelsConfig) -> Iterator[str]:
    with storage.open_read(shard.uri, shard.size_bytes) as stream:
        yield from sample_keys(stream, shard, labels)


def _parquet_keys(shard: Shard, labels: LabelsConfig) -> Iterator[str]:
    with storage.open_read(shard.uri, shard.size_bytes) as stream:
        file = parquet.open_file(stream)
        if labels.key_column is None:
            yield from map(str, range(file.metadata.num_rows))
            return
        for batch in file.iter_batches(_IMAGES_PER_CHUNK, columns=[labels.key_column]):
            yield from (str(text_of(key)) for key in batch.column(0).to_pylist())


_NAMES_IN: dict[str, ReadNames] = {
    "npz": _array_names,
    "tar": _tar_keys,
    "parquet": _parquet_keys,
}


def check_parquet(shard: Shard, columns: list[str]) -> None:
    """Refuse a Parquet dataset whose first file lacks a column.

    Raises:
        SpecificationError: names the columns that are there.
    """
    try:
        with storage.open_read(shard.uri, shard.size_bytes) as stream:
            found = pq.read_schema(stream).names
    except (OSError, ValueError):
        return  # not a Parquet file: reading it will fail that shard, and say why
    missing = [column for column in columns if column not in found]
    if missing:
        raise SpecificationError(
            f"dataset: {shard.key} has no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, found))}. See dataset.labels.column, image_column, key_column"
        )
