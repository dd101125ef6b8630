"""Files of DICOM series put together: a folder of slices is one volume."""

from collections import defaultdict
from collections.abc import Sequence

from ray_audit import storage
from ray_audit.errors import SampleError, StorageError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.volumes.dicom_volume import is_dicom, read_tags
from ray_audit.stored_objects import StoredObject

_PATTERN = "*.[dD][cC][mM]"


def with_series(
    stored: Sequence[StoredObject], keys: Sequence[str]
) -> tuple[list[StoredObject], list[str]]:
    """Files and their keys, with one entry for each series.

    The DICOM files of one folder are the slices of a series, unless its first file has several
    frames: then each is a volume. The key of a series is its folder's, with `.dcm` behind it; its
    address is a pattern.

    Args:
        stored: files as listed.
        keys: of them.
    """
    folders: dict[str, list[tuple[StoredObject, str]]] = defaultdict(list)
    found, names = list[StoredObject](), list[str]()
    for item, key in zip(stored, keys, strict=True):
        if is_dicom(item.uri):
            folders[item.uri.rpartition("/")[0]].append((item, key))
        else:
            found.append(item)
            names.append(key)
    for folder, members in folders.items():
        items = [item for item, _ in members]
        if len(members) == 1 or _has_frames(items[0]):
            found += items
            names += [key for _, key in members]
            continue
        digest = storage.digest(*((i.uri[len(folder) :], i.size_bytes, i.etag) for i in items))
        prefix = "content " if all(i.etag.startswith("content ") for i in items) else ""
        size_bytes = sum(item.size_bytes for item in items)
        uri = storage.join(storage.escape_glob(folder), _PATTERN)
        found.append(StoredObject(uri, size_bytes, prefix + digest))
        names.append((members[0][1].rpartition("/")[0] or folder.rpartition("/")[2]) + ".dcm")
    return found, names


def _has_frames(item: StoredObject) -> bool:
    try:
        return read_tags(item.uri, UnitAccounting("listing")).shape[0] > 1
    except (SampleError, StorageError):
        return False  # reading the series will say what is wrong with it
