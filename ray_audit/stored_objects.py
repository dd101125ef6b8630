"""Stored objects, as the listings of fsspec's filesystems show them."""

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any


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
