"""What tells a stored file from another one of its name: the store's etag, or its content.

A local file has no etag, and its time of change says little: archives and container layers are
unpacked with a fixed one, `touch -r` and `rsync` keep it. Small local files are read; the others
are told apart by size and time of change, which the plan says.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from ray_audit import storage
from ray_audit.errors import SampleError, SpecificationError, StorageError
from ray_audit.formats.volumes import metaimage, nrrd_volume
from ray_audit.storage import StoredObject

SMALL_BYTES = 2**20
_MAX_READ_BYTES = 4 * 2**30
_NUM_READERS, _AT_ONCE = 8, 64
_CONTENT = "content "
_VALUES = {".mhd": metaimage.values_uri, ".nhdr": nrrd_volume.values_uri}


def by_content(found: Sequence[StoredObject]) -> list[StoredObject]:
    """The files, small local ones with a digest of their content in place of the etag.

    Files of up to 1 MiB are read, by URI until 4 GiB are; so a file that comes or goes changes the
    identity of others at that border only.

    Args:
        found: as listed.
    """
    left_bytes, small = _MAX_READ_BYTES, []
    for item in sorted(found, key=lambda item: item.uri):
        if "://" not in item.uri and item.size_bytes <= min(SMALL_BYTES, left_bytes):
            left_bytes -= item.size_bytes
            small.append(item)
    # Some files at a time: handing one over costs about what reading it does.
    some = [small[start : start + _AT_ONCE] for start in range(0, len(small), _AT_ONCE)]
    with ThreadPoolExecutor(_NUM_READERS) as pool:
        read = {item.uri: item for items in pool.map(_with_digests, some) for item in items}
    return [read.get(item.uri, item) for item in found]


def with_values(found: Sequence[StoredObject]) -> list[StoredObject]:
    """The files, a header whose values lie in a file beside it (`.mhd`) with the etag of both."""
    return [_with_values(o) if o.uri.lower().endswith(tuple(_VALUES)) else o for o in found]


def _with_values(item: StoredObject) -> StoredObject:
    # A header that cannot be read, or has no values, is a failure of the audit.
    with suppress(StorageError, SampleError, SpecificationError):
        with storage.open_read(item.uri, item.size_bytes) as stream:
            find = next(f for ending, f in _VALUES.items() if item.uri.lower().endswith(ending))
            uri = find(item.uri, stream)
        if uri is not None:
            (values,) = by_content(storage.list_objects(storage.escape_glob(uri)))
            is_content = item.etag.startswith(_CONTENT) and values.etag.startswith(_CONTENT)
            prefix = _CONTENT if is_content else ""
            return replace(item, etag=prefix + storage.digest(item.etag, values.etag))
    return item


def is_by_time(uri: str, etag: str) -> bool:
    """Whether a file that `by_content` gave is told apart by size and time of change alone."""
    return "://" not in uri and not etag.startswith(_CONTENT)


def _with_digests(items: Sequence[StoredObject]) -> list[StoredObject]:
    return [_with_digest(item) for item in items]


def _with_digest(item: StoredObject) -> StoredObject:
    # One that cannot be read is a failure of the audit, where it is read again.
    with suppress(StorageError):
        etag = _CONTENT + storage.content_digest(storage.read_bytes(item.uri))
        return StoredObject(item.uri, item.size_bytes, etag, item.modified_s)
    return item
