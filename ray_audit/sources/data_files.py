"""The files of a dataset, each with its key; of zip archives, their members."""

from collections import Counter
from collections.abc import Iterable

from ray_audit import archives, storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import SpecificationError
from ray_audit.formats.registry import check_formats, goes_with
from ray_audit.samples import Shard
from ray_audit.sources.etags import by_content
from ray_audit.stored_objects import StoredObject

_NUM_NAMED = 3


def list_files(dataset: DatasetConfig) -> list[Shard]:
    """Files without their labels, sorted by key.

    Raises:
        SpecificationError: a format that is not read, or two files with one key.
        StorageError: the store cannot be listed.
    """
    stored = by_content(_data_files(dataset))
    keys = storage.shard_keys(dataset.uri, [item.uri for item in stored])
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise SpecificationError(
            f"dataset.uri: {len(twice)} key(s) stand for several files: {_few(twice)}. "
            "Keys are paths below the first wildcard; list the files from a common folder"
        )
    check_formats(keys, dataset.kind)
    shards = [
        Shard(key, item.uri, item.size_bytes, item.etag)
        for key, item in zip(keys, stored, strict=True)
    ]
    return sorted(shards, key=lambda shard: shard.key)


def _data_files(dataset: DatasetConfig) -> list[StoredObject]:
    """The files of a dataset; of archives, the members that it can hold."""
    listed = storage.list_data(dataset.uri)
    patterns = [dataset.uri] if isinstance(dataset.uri, str) else dataset.uri
    if any(archives.is_member(one) for one in patterns):
        return listed
    found = [
        item
        for item in listed
        if not archives.is_member(item.uri) or goes_with(item.uri, dataset.kind)
    ]
    if not found:
        raise SpecificationError(
            f"dataset.uri: none of the {len(listed)} members of the archives "
            f"({_few(item.uri for item in listed)}) is of kind {dataset.kind}"
        )
    return found


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_NUM_NAMED]) + (", ..." if len(listed) > _NUM_NAMED else "")
