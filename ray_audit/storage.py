"""Objects in local folders and object stores: list, read, write whole, never in place."""

import contextlib
import hashlib
import math
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import fsspec

from ray_audit import archives
from ray_audit.archives import inflates_too_far as inflates_too_far
from ray_audit.errors import AlreadyThereError, SampleError, StorageError, redacted
from ray_audit.store_errors import explained as explained
from ray_audit.store_errors import explained_stream
from ray_audit.store_writes import (
    clear_unfinished,
    create,
    moved_into,
    put,
    put_file,
    remove_all,
    says_there,
    says_unknown,
)
from ray_audit.stored_objects import WILDCARD, asks_for_sizes, disk, numbered, stored_object
from ray_audit.stored_objects import StoredObject as StoredObject
from ray_audit.stored_objects import escape_glob as escape_glob
from ray_audit.stored_objects import natural_key as natural_key

Value = TypeVar("Value")
_READ_BLOCK_BYTES = 8 * 2**20
_ARCHIVE_BLOCK_BYTES = 2**20  # members are read in any order
_PAUSES_S = (0.5, 2.0)
_SETTLE_S = 1.0


def digest(*parts: object) -> str:
    """Hex digest (32 characters) of the parts, in order; the same on every machine and night.

    >>> digest("a", 1) == digest("a", 1), digest("ab") == digest("a", "b")
    (True, False)
    """
    joined = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def content_digest(content: bytes) -> str:
    """Hex digest (32 characters) of an object's content."""
    return hashlib.sha256(content).hexdigest()[:32]


def has_wildcard(uri: str) -> bool:
    """Whether the URI is a pattern for `list_objects`."""
    return bool(WILDCARD.search(uri))


def join(base: str, *names: str) -> str:
    """Join names below a base URI with `/`."""
    return "/".join([base.rstrip("/"), *names])


def filesystem(uri: str) -> tuple[Any, str]:
    """Return the fsspec filesystem and the path within it.

    Listings are never cached: a store may change between two calls.

    Raises:
        StorageError: there is a credential in the URI, or no support for its scheme.
    """
    if "://" in uri and redacted(uri) != uri:
        raise StorageError(
            f"{uri}: credentials must not stand in a URI: leave them to the environment "
            "(AWS_ACCESS_KEY_ID, a profile, or a role)"
        )
    if archives.is_member(uri):
        return _MEMBERS, uri.removeprefix(archives.SCHEME)
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme in ("", "file"):
        return disk(), os.path.abspath(uri.removeprefix("file://"))
    try:
        fs = fsspec.filesystem(scheme, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise StorageError(f"{uri}: no support for {scheme}:// ({error})") from error
    return fs, fs._strip_protocol(uri)


def _tried(action: str, uri: str, call: Callable[[], Value]) -> Value:
    """Call; try again, after a pause, where a store did not answer or answered badly.

    The libraries below try again by themselves, for a second or so; this outlasts longer gaps.
    """
    for attempts, pause_s in enumerate((*_PAUSES_S, None), start=1):
        try:
            with explained(action, uri):
                return call()
        except StorageError as error:
            error.attempts = attempts
            if pause_s is None or not error.may_pass:
                raise
        time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")


def list_objects(uri: str | list[str]) -> list[StoredObject]:
    """List the files that a glob, a plain URI or a list of these stands for.

    A glob's files come sorted by URI, a list's in the order of the list. `{000..146}` stands for
    the numbers, of as many digits, each of which must be there.

    Raises:
        StorageError: nothing matches, one file is named twice, or the store cannot be listed.
    """
    uri = uri if isinstance(uri, list) else numbered(uri)
    if isinstance(uri, list):
        found = [item for pattern in uri for item in list_objects(pattern)]
        twice = [name for name, count in Counter(o.uri for o in found).items() if count > 1]
        if twice:
            raise StorageError(f"named twice in the list: {', '.join(sorted(twice)[:5])}")
        return found
    fs, path = filesystem(uri)
    if archives.is_member(uri):
        return _tried("list", uri, lambda: _list_members(uri))

    def infos_of() -> list[dict[str, Any]]:
        if has_wildcard(uri):
            return list(fs.glob(path, detail=True).values())
        return [fs.info(path)] if fs.exists(path) else []

    infos = _tried("list", uri, infos_of)
    found = [stored_object(fs, info) for info in infos if info["type"] == "file"]
    if not found:
        raise StorageError(f"{uri} matches no file: check the path and the wildcards")
    for item in found:
        if item.uri != item.uri.encode("utf-8", "ignore").decode():
            raise StorageError(
                f"{uri}: the name of {item.uri!a} is not UTF-8; rename it, or narrow the pattern"
            )
    return sorted(found, key=lambda item: item.uri)


def _list_members(uri: str) -> list[StoredObject]:
    try:
        found = list(_MEMBERS.glob(uri, list_objects(archives.parted(uri)[0])))
    except SampleError as error:
        raise StorageError(str(error)) from error
    if not found:
        raise StorageError(f"{uri} matches no member: check the path and the wildcards")
    return sorted(found, key=lambda item: item.uri)


def list_data(uri: str | list[str]) -> list[StoredObject]:
    """As `list_objects`, with the members of zip archives in place of them.

    One that is damaged stays: reading it will say so.

    Raises:
        StorageError: nothing matches, or a member cannot be read at all: it is encrypted, say.
    """
    found: list[StoredObject] = []
    for item in list_objects(uri):
        if item.uri.lower().endswith(archives.ENDING) and not archives.is_member(item.uri):
            with contextlib.suppress(SampleError):
                found += _tried("list", item.uri, partial(_members_of, item))
                continue
        found.append(item)
    return found


def _members_of(item: StoredObject) -> list[StoredObject]:
    return list(_MEMBERS.glob(archives.SCHEME + item.uri, [item]))


def list_prefix(uri: str) -> list[StoredObject]:
    """Every file below a folder, in one recursive listing; empty where it does not exist."""
    fs, path = filesystem(uri)

    def find() -> dict[str, Any]:
        try:
            infos: dict[str, Any] = fs.find(path, detail=True)
        except FileNotFoundError:
            return {}
        return infos

    infos = _tried("list", uri, find)
    return sorted((stored_object(fs, i) for i in infos.values()), key=lambda item: item.uri)


def list_folders(uri: str) -> dict[str, float]:
    """Folders in a folder, with the Unix time of the last change in each.

    Infinity where a store does not say when. On a disk empty folders stay behind; they have a time
    of their own.
    """
    fs, path = filesystem(uri)
    latest_s: dict[str, float] = {}
    for item in list_prefix(uri):
        name, slash, _ = item.uri.partition(f"{path}/")[2].partition("/")
        if slash:
            time_s = math.inf if item.modified_s is None else item.modified_s
            latest_s[name] = max(latest_s.get(name, 0.0), time_s)
    if "file" in fs.protocol and os.path.isdir(path):
        with explained("list", uri):
            for entry in filter(os.DirEntry.is_dir, os.scandir(path)):
                latest_s.setdefault(entry.name, entry.stat().st_mtime)
    return latest_s


def remove_unfinished(folder: str) -> None:
    """Remove what killed processes of this machine had not written whole, on a local disk.

    A store has nothing of the kind: there an object is whole, or is not.
    """
    fs, path = filesystem(folder)
    if "file" in fs.protocol:
        clear_unfinished(Path(path))


def path_of(uri: str) -> str:
    """The path of a URI, from the root of its disk, or from its bucket on.

    >>> path_of("zip://s3://b/a.zip!/x/1.png")
    '/b/a.zip/x/1.png'
    """
    if archives.is_member(uri):
        outer, inner = archives.parted(uri)
        return f"{path_of(outer)}/{inner}"
    if "://" in uri and not uri.startswith("file://"):
        return "/" + uri.split("://", 1)[1].lstrip("/")
    return os.path.abspath(uri.removeprefix("file://"))


def open_read(
    uri: str, size_bytes: int | None = None, block_bytes: int = _READ_BLOCK_BYTES
) -> IO[bytes]:
    """Open for reading; remote objects are read ahead in blocks.

    What fails in the middle of the stream is a `StorageError` too, and no damage of the file.
    """
    fs, path = filesystem(uri)
    with explained("read", uri):
        if "file" in fs.protocol:
            opened: IO[bytes] = open(path, "rb")  # noqa: SIM115  # the caller closes it
        else:
            block = min(block_bytes, size_bytes) if size_bytes else block_bytes
            opened = fs.open(path, "rb", block_size=block, cache_type="readahead")
    return explained_stream(opened, "read", uri)


def _open_archive(uri: str) -> IO[bytes]:
    return open_read(uri, block_bytes=_ARCHIVE_BLOCK_BYTES)


_MEMBERS = archives.ZipMembers(_open_archive)


def read_bytes(uri: str, in_parts: bool = False) -> bytes:
    """Read a whole object; `in_parts` fetches one of 50 MiB and more side by side.

    For that, s3fs has to ask for the size first: a second request for every object.
    """
    fs, path = filesystem(uri)
    if "file" in fs.protocol:
        return _tried("read", uri, Path(path).read_bytes)
    is_asked = "s3" in fs.protocol and not in_parts and asks_for_sizes(fs.__class__)
    options = {"max_concurrency": 1} if is_asked else {}
    return _tried("read", uri, lambda: bytes(fs.cat_file(path, **options)))


def read_range(uri: str, start: int, end: int) -> bytes:
    """Read the bytes from `start` up to `end`."""
    fs, path = filesystem(uri)
    return _tried("read", uri, lambda: bytes(fs.cat_file(path, start=start, end=end)))


def write_bytes(uri: str, content: bytes) -> None:
    """Write a whole object so that readers see all of it or nothing."""
    fs, path = filesystem(uri)
    if "file" in fs.protocol:
        _tried("write", uri, lambda: put_file(Path(path), content, os.replace))
    else:
        _tried("write", uri, lambda: put(fs, path, content))


def create_bytes(uri: str, content: bytes) -> None:
    """Write a whole object where there is none; of two writers at once, one succeeds.

    On S3 it is a conditional PUT (`If-None-Match: *`), on a local disk a hard link. Where a store
    knows no conditions, it looks first, writes then, and looks a moment later whose it is. An
    object of this very content counts as created: the store's answer may have got lost.

    Raises:
        AlreadyThereError: it is there, with other content.
    """
    fs, path = filesystem(uri)

    def create_once() -> None:
        try:
            create(fs, path, content)
        except Exception as error:
            is_unknown = says_unknown(error)
            if is_unknown and not fs.exists(path):
                put(fs, path, content)
                time.sleep(_SETTLE_S)
            elif not is_unknown and not says_there(error):
                raise
            if bytes(fs.cat_file(path)) != content:
                raise AlreadyThereError(f"cannot create {uri}: it is there already") from error

    _tried("create", uri, create_once)


def knows_conditions(folder: str) -> bool:
    """Whether of two writers at once the store lets only one create an object: tried, with one.

    Raises:
        StorageError: nothing can be written there.
    """
    uri = join(folder, f"probe-{os.urandom(8).hex()}")
    fs, path = filesystem(uri)

    def creates() -> bool:
        """Whether it is created now; where it is there, it is not."""
        try:
            create(fs, path, b"")
        except Exception as error:
            if not says_there(error) and not says_unknown(error):
                raise
            return False
        return True

    try:
        return _tried("create", uri, creates) and not _tried("create", uri, creates)
    finally:
        with contextlib.suppress(StorageError):  # what went wrong first is reported
            remove(uri)


@contextlib.contextmanager
def open_write(uri: str) -> Iterator[IO[bytes]]:
    """Write an object as a stream; readers see all of it, or nothing where the block raises.

    A remote object is spooled to a local temporary file first.
    """
    fs, path = filesystem(uri)
    if "file" in fs.protocol:
        with moved_into(Path(path), os.replace) as stream:
            yield stream
        return
    with explained("spool", uri):
        spool = tempfile.NamedTemporaryFile()  # noqa: SIM115  # closed below
    where = f"{uri} (to a temporary file in {tempfile.gettempdir()})"
    with spool, explained_stream(spool, "write", where) as stream:
        yield stream
        stream.flush()
        _tried("write", uri, lambda: fs.put_file(spool.name, path))


def copy(uri: str, to_uri: str) -> None:
    """Copy an object byte for byte; within one store, without its bytes passing through here."""
    fs, path = filesystem(uri)
    to_fs, to_path = filesystem(to_uri)
    if fs is to_fs and "file" not in fs.protocol:
        _tried("copy", uri, lambda: fs.cp_file(path, to_path))
        return
    with open_read(uri) as source, open_write(to_uri) as sink:
        shutil.copyfileobj(source, sink, _READ_BLOCK_BYTES)


def remove(uri: str) -> None:
    """Remove an object, where it is there."""
    fs, path = filesystem(uri)

    def rm() -> None:
        with contextlib.suppress(FileNotFoundError):
            fs.rm_file(path)

    _tried("remove", uri, rm)


def remove_prefix(uri: str) -> None:
    """Remove every object below a folder, and the folder."""
    fs, path = filesystem(uri)
    _tried("remove", uri, lambda: remove_all(fs, path))


def exists(uri: str) -> bool:
    """Whether the object exists."""
    fs, path = filesystem(uri)
    return _tried("look up", uri, lambda: bool(fs.exists(path)))
