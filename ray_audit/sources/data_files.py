"""The files of a dataset, each with its key; of zip archives, their members."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from ray_audit import archives, storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import SpecificationError
from ray_audit.formats.registry import check_formats, goes_with
from ray_audit.formats.video.stills import is_folder, is_still
from ray_audit.printable import few, plural
from ray_audit.sample_ids import shard_keys
from ray_audit.samples import Shard
from ray_audit.sources.dicom_series import with_series
from ray_audit.sources.etags import by_content, with_values
from ray_audit.stored_objects import StoredObject, is_companion

ToldApart = Callable[[Sequence[StoredObject]], list[StoredObject]]


def list_files(
    dataset: DatasetConfig, told_apart: ToldApart = by_content, notes: list[str] | None = None
) -> list[Shard]:
    """Files without their labels, sorted by key.

    Args:
        dataset: what to list.
        told_apart: gives files an etag that changes with their content; `list` where nobody asks
            for it, and nothing is read.
        notes: takes what the user should know of files that are left out.

    Raises:
        SpecificationError: a format that is not read, or two files with one key.
        StorageError: the store cannot be listed.
    """
    if dataset.kind == "video" and any(is_folder(uri) for uri in _patterns(dataset)):
        stored = _folders(dataset, told_apart)
        keys = shard_keys(dataset.uri, [item.uri.rstrip("/") for item in stored])
    else:
        stored = told_apart(_without_companions(_data_files(dataset), notes))
        stored = with_values(stored) if told_apart is by_content else stored
        keys = shard_keys(dataset.uri, [item.uri for item in stored])
        if dataset.kind == "images":
            are_slices = dataset.labels.masks is not None
            stored, keys = with_series(stored, keys, _patterns(dataset), are_slices)
        check_formats(keys, dataset.kind)
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise SpecificationError(
            f"dataset.uri: {len(twice)} key(s) stand for several files: {few(twice)}. "
            "Keys are paths below the first wildcard; list the files from a common folder"
        )
    shards = [
        Shard(key, item.uri, item.size_bytes, item.etag)
        for key, item in zip(keys, stored, strict=True)
    ]
    return sorted(shards, key=lambda shard: shard.key)


def _patterns(dataset: DatasetConfig) -> list[str]:
    return [dataset.uri] if isinstance(dataset.uri, str) else dataset.uri


def _folders(dataset: DatasetConfig, told_apart: ToldApart) -> list[StoredObject]:
    """Folders of images, each as one object; it changes when any of its images does."""
    patterns = _patterns(dataset)
    other = [uri for uri in patterns if not is_folder(uri)]
    if other:
        raise SpecificationError(
            f"dataset.uri: {few(other)} are no folders, and others are; give each its own "
            "specification"
        )
    by_folder: dict[str, list[StoredObject]] = defaultdict(list)
    for item in told_apart(storage.list_objects([f"{uri}*" for uri in patterns])):
        if is_still(item.uri) and not is_companion(item.uri):
            by_folder[item.uri.rpartition("/")[0] + "/"].append(item)
    if not by_folder:
        raise SpecificationError(f"dataset.uri: {few(patterns)} hold no images")
    return [
        StoredObject(
            folder,
            sum(item.size_bytes for item in items),
            "content "
            + storage.digest(*((i.uri[len(folder) :], i.size_bytes, i.etag) for i in items)),
        )
        for folder, items in sorted(by_folder.items())
    ]


def _without_companions(listed: list[StoredObject], notes: list[str] | None) -> list[StoredObject]:
    """Without what macOS writes beside files on other disks and in archives, unless that is all."""
    kept = [item for item in listed if not is_companion(item.uri)]
    gone = [item.uri for item in listed if is_companion(item.uri)]
    if not kept or not gone:
        return listed
    if notes is not None:
        notes.append(
            f"{plural(len(gone), 'file')} left out, in which macOS keeps attributes of others: "
            f"{few(gone)}"
        )
    return kept


def _data_files(dataset: DatasetConfig) -> list[StoredObject]:
    """The files of a dataset; of archives, the members that it can hold."""
    listed = storage.list_data(dataset.uri)
    if any(archives.is_member(pattern) for pattern in _patterns(dataset)):
        return listed
    found = [
        item
        for item in listed
        if not archives.is_member(item.uri) or goes_with(item.uri, dataset.kind)
    ]
    if not found:
        raise SpecificationError(
            f"dataset.uri: none of the {len(listed)} members of the archives "
            f"({few(item.uri for item in listed)}) is of kind {dataset.kind}"
        )
    return found
