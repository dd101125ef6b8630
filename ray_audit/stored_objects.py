"""Stored objects, as the listings of fsspec's filesystems show them."""

import contextlib
import functools
import glob
import inspect
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import fsspec

from ray_audit.errors import StorageError

WILDCARD = re.compile(r"[*?\[]")
NUMBERED = re.compile(r"\{(\d+)\.\.(\d+)\}")
"""Numbers of files in a URI, as WebDataset writes them."""
_MAX_NUMBERED = 1_000_000


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing shows it; `etag` changes when its content does.

    `modified_s` is the Unix time when it was stored, where the store says so.
    """

    uri: str
    size_bytes: int
    etag: str
    modified_s: float | None = None


def stored_object(fs: Any, info: dict[str, Any]) -> StoredObject:
    """What a listing of an fsspec filesystem says of one file."""
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    uri = info["name"] if protocol == "file" else f"{protocol}://{info['name']}"
    tag = info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("mtime")
    if tag is None:
        tag = info.get("LastModified") or info.get("updated") or ""
    size_bytes, etag = int(info["size"] or 0), str(tag).strip('"')
    return StoredObject(uri, size_bytes, etag, _modified_s(info))


def _modified_s(info: dict[str, Any]) -> float | None:
    """Unix time of the last change, from what a library's listing has of it."""
    for name in ("LastModified", "mtime", "updated", "last_modified", "created"):
        value = info.get(name)
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return None


def numbered(uri: str) -> str | list[str]:
    """The URIs that a pattern of numbers stands for; others as they are.

    >>> numbered("s3://b/x-{08..10}.tar")
    ['s3://b/x-08.tar', 's3://b/x-09.tar', 's3://b/x-10.tar']
    """
    found = NUMBERED.search(uri)
    if found is None:
        return uri
    first, last = int(found[1]), int(found[2])
    if not first <= last < first + _MAX_NUMBERED:
        raise StorageError(f"{uri}: {found[0]} are no numbers that rise, or too many")
    head, tail, digits = uri[: found.start()], uri[found.end() :], len(found[1])
    uris: list[str] = []
    for number in range(first, last + 1):
        rest = numbered(f"{head}{number:0{digits}d}{tail}")
        uris += [rest] if isinstance(rest, str) else rest
    return uris


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which `epoch_2` comes before `epoch_10`."""
    pieces = re.split(r"(\d+)", text)
    return tuple((1, int(p), p) if p.isdecimal() else (0, 0, p) for p in pieces)


def is_companion(uri: str) -> bool:
    """Whether macOS has written a file beside another one: attributes, and nothing of the data.

    >>> is_companion("a/._x.jpg"), is_companion("__MACOSX/a/._x.jpg"), is_companion("a/_x.jpg")
    (True, True, False)
    """
    return uri.rpartition("/")[2].startswith("._")


def escape_glob(path: str) -> str:
    """Make a literal path safe to stand inside a pattern."""
    return glob.escape(path)


@functools.cache  # for each file of a dataset: fsspec takes its time to find what it knows
def disk() -> Any:
    """The file system of this machine."""
    return fsspec.filesystem("file")


@functools.cache  # for every read: looking at a signature takes its time
def asks_for_sizes(kind: type) -> bool:
    """Whether a file system of S3 asks for an object's size before it reads it, unless told not to.

    s3fs does from 2026.3 on, to read in parts; before, it has no such argument.
    """
    read = getattr(kind, "_cat_file", None)
    return read is not None and "max_concurrency" in inspect.signature(read).parameters
