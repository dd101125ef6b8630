"""Objects in local folders and object stores: list, read, write whole, never in place."""

import contextlib
import glob as local_glob
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import fsspec
from fsspec.asyn import AsyncFileSystem, sync

from ray_audit.errors import AlreadyThereError, StorageError, redacted
from ray_audit.store_errors import explained as explained
from ray_audit.store_errors import explained_stream

Value = TypeVar("Value")
_WILDCARD = re.compile(r"[*?\[]")
_READ_BLOCK_BYTES = 8 * 2**20
_INFLATED_BYTES = 256 * 2**20
_INFLATED_TIMES = 100
_PUT_LIMIT_S = 60.0
_PUT_BYTES_PER_S = 2**20  # slower than this is taken for a connection that went silent
_PAUSES_S = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing shows it; `etag` changes when its content does.

    `modified_s` is the Unix time when it was stored, where the store says so.
    """

    uri: str
    size_bytes: int
    etag: str
    modified_s: float | None = None


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


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which `epoch_2` comes before `epoch_10`."""
    pieces = re.split(r"(\d+)", text)
    return tuple((1, int(p), p) if p.isdecimal() else (0, 0, p) for p in pieces)


def has_wildcard(uri: str) -> bool:
    """Whether the URI is a pattern for `list_objects`."""
    return bool(_WILDCARD.search(uri))


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
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme in ("", "file"):
        path = os.path.abspath(uri.removeprefix("file://"))
        return fsspec.filesystem("file"), path
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

    A glob's files come sorted by URI, a list's in the order of the list.

    Raises:
        StorageError: nothing matches, one file is named twice, or the store cannot be listed.
    """
    if isinstance(uri, list):
        found = [item for one in uri for item in list_objects(one)]
        twice = [name for name, count in Counter(o.uri for o in found).items() if count > 1]
        if twice:
            raise StorageError(f"named twice in the list: {', '.join(sorted(twice)[:5])}")
        return found
    fs, path = filesystem(uri)
    with explained("list", uri):
        if has_wildcard(uri):
            infos = list(fs.glob(path, detail=True).values())
        else:
            infos = [fs.info(path)] if fs.exists(path) else []
    found = [_stored(fs, info) for info in infos if info["type"] == "file"]
    if not found:
        raise StorageError(f"{uri} matches no file: check the path and the wildcards")
    for item in found:
        if item.uri != item.uri.encode("utf-8", "ignore").decode():
            raise StorageError(
                f"{uri}: the name of {item.uri!a} is not UTF-8; rename it, or narrow the pattern"
            )
    return sorted(found, key=lambda item: item.uri)


def _stored(fs: Any, info: dict[str, Any]) -> StoredObject:
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
    return sorted((_stored(fs, i) for i in infos.values()), key=lambda item: item.uri)


def shard_keys(uri: str | list[str], uris: list[str]) -> list[str]:
    """Keys of listed shards: the path below the last `/` before the first wildcard.

    For a list, below the directory that all share. Scheme and bucket never count, so that a
    local copy and S3 give the same keys.

    >>> shard_keys("s3://b/v/*/*.mp4", ["s3://b/v/or1/x.mp4", "s3://b/v/or2/x.mp4"])
    ['or1/x.mp4', 'or2/x.mp4']
    """
    paths = [_path_of(u) for u in uris]
    if isinstance(uri, str) and has_wildcard(uri):
        pattern = _path_of(uri)
        root = pattern[: _WILDCARD.search(pattern).start()]  # type: ignore[union-attr]
        base = root[: root.rfind("/") + 1]
    else:
        folders = [p[: p.rfind("/") + 1] for p in paths]
        base = os.path.commonpath(folders).rstrip("/") + "/" if folders else ""
    return [p[len(base) :] for p in paths]


def _path_of(uri: str) -> str:
    if "://" in uri and not uri.startswith("file://"):
        return "/" + uri.split("://", 1)[1]
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


def read_bytes(uri: str, in_parts: bool = False) -> bytes:
    """Read a whole object; `in_parts` fetches one of 50 MiB and more side by side.

    For that, s3fs has to ask for the size first: a second request for every object.
    """
    fs, path = filesystem(uri)
    options = {"max_concurrency": 1} if "s3" in fs.protocol and not in_parts else {}
    return _tried("read", uri, lambda: bytes(fs.cat_file(path, **options)))


def read_range(uri: str, start: int, end: int) -> bytes:
    """Read the bytes from `start` up to `end`."""
    fs, path = filesystem(uri)
    return _tried("read", uri, lambda: bytes(fs.cat_file(path, start=start, end=end)))


def write_bytes(uri: str, content: bytes) -> None:
    """Write a whole object so that readers see all of it or nothing."""
    fs, path = filesystem(uri)
    if "file" in fs.protocol:
        _tried("write", uri, lambda: _put_file(Path(path), content, os.replace))
    else:
        _tried("write", uri, lambda: _put(fs, path, content))


def _put(fs: Any, path: str, content: bytes, mode: str = "overwrite") -> None:
    """Send a whole object, within a time limit.

    The clients have none of their own while they wait for a server's leave to send (`Expect:
    100-continue`): a connection that went silent there would hold a run for ever.
    """
    if not isinstance(fs, AsyncFileSystem):
        fs.pipe_file(path, content, mode=mode)
        return
    limit_s = _PUT_LIMIT_S + len(content) / _PUT_BYTES_PER_S
    sync(fs.loop, fs._pipe_file, path, content, mode=mode, timeout=limit_s)


def create_bytes(uri: str, content: bytes) -> None:
    """Write a whole object where there is none; of two writers at once, one succeeds.

    On S3 it is a conditional PUT (`If-None-Match: *`), on a local disk a hard link. Another store
    may look first and write then. What is there with this very content was created by this call,
    whose answer got lost, or is as good: where only one of several may go on, each writes a name of
    its own into it.

    Raises:
        AlreadyThereError: it is there, with other content.
    """
    fs, path = filesystem(uri)

    def create() -> None:
        try:
            if "file" in fs.protocol:
                _put_file(Path(path), content, _link)
            else:
                _put(fs, path, content, mode="create")
        except Exception as error:
            if _says_there(error):
                raise AlreadyThereError(f"cannot create {uri}: it is there already") from error
            raise

    try:
        _tried("create", uri, create)
    except AlreadyThereError:
        if read_bytes(uri) != content:
            raise


def _says_there(error: BaseException | None) -> bool:
    """Whether a store refused to create an object because there is one."""
    if error is None or isinstance(error, FileExistsError):
        return error is not None
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code == "PreconditionFailed" or _says_there(error.__cause__)


def _link(temporary: Path, path: Path) -> None:
    """Give a file its name, unless there is one."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with open(path, "xb") as stream:
            stream.write(temporary.read_bytes())


def _put_file(path: Path, content: bytes, move: Callable[[Path, Path], object]) -> None:
    with _moved_into(path, move) as stream:
        stream.write(content)


@contextlib.contextmanager
def _moved_into(path: Path, move: Callable[[Path, Path], object]) -> Iterator[IO[bytes]]:
    """Write beside the final name, then move it there; nothing where the block raises."""
    with explained("write", str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
        opened = open(temporary, "w+b")  # noqa: SIM115  # closed below, where its errors are
    stream = explained_stream(opened, "write", str(path))
    try:
        with stream:
            yield stream
            with explained("write", str(path)):
                stream.flush()
                os.fsync(stream.fileno())
        with explained("write", str(path)):
            move(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def open_write(uri: str) -> Iterator[IO[bytes]]:
    """Write an object as a stream; readers see all of it, or nothing where the block raises.

    A remote object is spooled to a local temporary file first.
    """
    fs, path = filesystem(uri)
    if "file" in fs.protocol:
        with _moved_into(Path(path), os.replace) as stream:
            yield stream
        return
    with explained("spool", uri):
        spool = tempfile.NamedTemporaryFile()  # noqa: SIM115  # closed below
    where = f"{uri} (to a temporary file in {tempfile.gettempdir()})"
    with spool, explained_stream(spool, "write", where) as stream:
        yield stream
        stream.flush()
        with explained("write", uri):
            fs.put_file(spool.name, path)


def copy(uri: str, to_uri: str) -> None:
    """Copy an object byte for byte; within one store, without its bytes passing through here."""
    fs, path = filesystem(uri)
    to_fs, to_path = filesystem(to_uri)
    if fs is to_fs and "file" not in fs.protocol:
        with explained("copy", uri):
            fs.cp_file(path, to_path)
        return
    with open_read(uri) as source, open_write(to_uri) as sink:
        shutil.copyfileobj(source, sink, _READ_BLOCK_BYTES)


def inflates_too_far(stored_bytes: int, inflated_bytes: int) -> bool:
    """Whether something compressed is refused before it is inflated.

    Up to 256 MiB always pass, and so does what grows at most 100 times: features and images grow
    a few times, a bomb a thousand times or more.
    """
    return inflated_bytes > max(_INFLATED_BYTES, _INFLATED_TIMES * stored_bytes)


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

    def rm() -> None:
        with contextlib.suppress(FileNotFoundError):
            fs.rm(path, recursive=True)

    _tried("remove", uri, rm)


def exists(uri: str) -> bool:
    """Whether the object exists."""
    fs, path = filesystem(uri)
    return _tried("look up", uri, lambda: bool(fs.exists(path)))


def escape_glob(path: str) -> str:
    """Make a literal path safe to stand inside a pattern."""
    return local_glob.escape(path)
