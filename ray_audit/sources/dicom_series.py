"""Files of DICOM series put together: a folder of slices is one volume."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ray_audit import storage
from ray_audit.errors import SampleError, StorageError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.registry import format_of
from ray_audit.formats.volumes.dicom_volume import is_dicom, read_tags
from ray_audit.stored_objects import StoredObject

_SUFFIX = ".dcm"
_ANY = "*"
_MARK_AT, _MARK = 128, b"DICM"
_INDEX = "DICOMDIR"


def with_series(
    stored: Sequence[StoredObject],
    keys: Sequence[str],
    patterns: Sequence[str],
    are_slices: bool = True,
) -> tuple[list[StoredObject], list[str]]:
    """Files and their keys, with one entry for each series.

    The DICOM files of one folder are the slices of a series, unless its first file has several
    frames: then each is a volume. The key of a series is its folder's, with `.dcm` behind it; its
    address is a pattern. Files whose names say nothing of a format (`IM000001`, `1.2.840...`) are
    DICOM where the first one of their folder is; their keys get `.dcm`, too.

    Args:
        stored: files as listed.
        keys: of them.
        patterns: that they were listed by.
        are_slices: whether files are slices of a series; else each is an image.
    """
    folders: dict[str, list[tuple[StoredObject, str]]] = defaultdict(list)
    found, names = list[StoredObject](), list[str]()
    unnamed = _unnamed(stored)
    for item, key in zip(stored, keys, strict=True):
        if is_dicom(item.uri) or item.uri in unnamed:
            folders[item.uri.rpartition("/")[0]].append((item, key))
        else:
            found.append(item)
            names.append(key)
    for folder, members in folders.items():
        # The index of a medium is no image.
        images = [member for member in members if member[0].uri.rpartition("/")[2] != _INDEX]
        members = images or members
        items = [item for item, _ in members]
        if not are_slices or len(members) == 1 or _has_frames(items[0]):
            found += items
            names += [key if is_dicom(key) else key + _SUFFIX for _, key in members]
            continue
        digest = storage.digest(*((i.uri[len(folder) :], i.size_bytes, i.etag) for i in items))
        prefix = "content " if all(i.etag.startswith("content ") for i in items) else ""
        size_bytes = sum(item.size_bytes for item in items)
        uri = storage.join(storage.escape_glob(folder), _last_part(patterns))
        found.append(StoredObject(uri, size_bytes, prefix + digest))
        names.append((members[0][1].rpartition("/")[0] or folder.rpartition("/")[2]) + _SUFFIX)
    return found, names


def _unnamed(stored: Iterable[StoredObject]) -> set[str]:
    """Files that only their content tells to be DICOM: the first of each folder is looked at."""
    folders: dict[str, list[StoredObject]] = defaultdict(list)
    for item in stored:
        if format_of(item.uri) is None:
            folders[item.uri.rpartition("/")[0]].append(item)
    return {item.uri for items in folders.values() if _has_mark(items[0]) for item in items}


def _has_mark(item: StoredObject) -> bool:
    end = _MARK_AT + len(_MARK)
    return item.size_bytes >= end and storage.read_range(item.uri, _MARK_AT, end) == _MARK


def _last_part(patterns: Sequence[str]) -> str:
    """What stands for the files of a folder: the series is what was listed, and nothing more."""
    (last, *more) = {pattern.rstrip("/").rpartition("/")[2] for pattern in patterns}
    return last if not more and storage.has_wildcard(last) and "**" not in last else _ANY


def _has_frames(item: StoredObject) -> bool:
    try:
        return read_tags(item.uri, UnitAccounting("listing")).shape[0] > 1
    except (SampleError, StorageError):
        return False  # reading the series will say what is wrong with it
