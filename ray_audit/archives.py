"""Members of zip archives as objects of a store: listed by the directory, read one by one.

A member's URI is that of the archive, then `!/` and its name: `zip://s3://bucket/a.zip!/x/1.png`.
"""

import contextlib
import errno
import io
import lzma
import os
import re
import struct
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import IO, Any

from fsspec.utils import glob_translate

from ray_audit.errors import SampleError, StorageError
from ray_audit.stored_objects import StoredObject
from ray_audit.wrapped_stream import WrappedStream

SCHEME = "zip://"
ENDING = ".zip"
INSIDE = "!/"

_ENCRYPTED = 1
_NUM_OPEN = 8
_NUM_NAMED = 3
_HIDDEN = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$)")
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OverflowError),
    *(EOFError, RuntimeError, ValueError, LookupError),
)

Opener = Callable[[str], IO[bytes]]
"""Opens an archive for reading, by its URI; the stream can seek."""


def is_member(uri: str) -> bool:
    """Whether a URI is that of a member, or a pattern of members."""
    return uri.startswith(SCHEME)


def parted(uri: str) -> tuple[str, str]:
    """URI of the archive, and name of the member, of a member's URI.

    >>> parted("zip://s3://b/a.zip!/x/1.png"), parted("zip:///d/a.zip!")
    (('s3://b/a.zip', 'x/1.png'), ('/d/a.zip', ''))
    """
    outer, _, inner = uri.removeprefix(SCHEME).partition(INSIDE)
    return outer.removesuffix("!"), inner.strip("/")


class Archive:
    """The directory of one archive, read once; members are read from a stream that stays open.

    Args:
        uri: of the archive.
        stream: of it.

    Raises:
        zipfile.BadZipFile: it is damaged.
    """

    def __init__(self, uri: str, stream: IO[bytes]) -> None:
        self.uri = uri
        self._zip = zipfile.ZipFile(stream)
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._twice: set[str] = set()
        for info in self._zip.infolist():
            if info.is_dir() or _HIDDEN.search(info.filename):
                continue
            if info.filename in self._members:
                self._twice.add(info.filename)
            self._members[info.filename] = info

    def close(self) -> None:
        """Close the stream."""
        self._zip.close()

    def find(self, matches: Callable[[str], object]) -> list[StoredObject]:
        """The members whose names match, but for what file managers leave behind.

        Raises:
            StorageError: one cannot be read at all: it is encrypted, there are two of its name, or
                the name leads out of the archive.
        """
        names = [name for name in self._members if matches(name)]
        for problem, remedy, bad in (
            ("encrypted", "unpack the archive, or pack it without a password", self._is_encrypted),
            ("there twice", "pack the archive anew", self._twice.__contains__),
            ("named so that they lead out of it", "pack it with relative names", _leads_out),
        ):
            found = [name for name in names if bad(name)]
            if found:
                few = ", ".join(found[:_NUM_NAMED]) + (", ..." if len(found) > _NUM_NAMED else "")
                raise StorageError(
                    f"{self.uri}: {len(found)} members are {problem} ({few}): {remedy}"
                )
        return [self._object(name) for name in names]

    def info(self, name: str) -> StoredObject | None:
        """One member, or None where it is not there."""
        return self._object(name) if name in self._members else None

    def open(self, name: str) -> IO[bytes]:
        """A member as a stream that can seek.

        Raises:
            FileNotFoundError: it is not there.
            SampleError: it is damaged.
        """
        if name not in self._members:
            raise FileNotFoundError(f"{self.uri} has no member {name}")
        info = self._members[name]
        with _damage_explained(f"member {name} cannot be read"):
            return _Member(self._zip.open(info), info)  # type: ignore[return-value]

    def _is_encrypted(self, name: str) -> bool:
        return bool(self._members[name].flag_bits & _ENCRYPTED)

    def _object(self, name: str) -> StoredObject:
        info = self._members[name]
        # The directory's checksum: unpacking and packing again leaves an unchanged file its own.
        etag = f"crc {info.CRC:08x}"
        return StoredObject(f"{SCHEME}{self.uri}{INSIDE}{name}", info.file_size, etag)


def _leads_out(name: str) -> bool:
    r"""Whether a name leads out of the folder into which it would be unpacked.

    >>> _leads_out("a/../b"), _leads_out("/a"), _leads_out("a\\b"), _leads_out("a..b/c")
    (True, True, True, False)
    """
    return "\\" in name or any(part in ("", ".", "..") for part in name.split("/"))


class _Member(WrappedStream):
    """A member's stream, in which damage is a `SampleError`."""

    def __init__(self, stream: IO[bytes], info: zipfile.ZipInfo) -> None:
        super().__init__(stream, info.filename)
        self._info = info

    def read(self, size: int | None = -1, /) -> bytes:
        info = self._info
        if inflates_too_far(info.compress_size, info.file_size):
            raise SampleError(
                "too_large",
                f"member {self.name} would inflate from {info.compress_size} to {info.file_size} "
                "bytes",
            )
        with _damage_explained(f"member {self.name} cannot be read"):
            return self._stream.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        with _damage_explained(f"member {self.name} cannot be read"):
            return self._stream.seek(offset, whence)


@contextlib.contextmanager
def _damage_explained(what: str) -> Iterator[None]:
    """Tell damage as a `SampleError`; a store's or disk's errors have a number, and pass."""
    try:
        yield
    except _BROKEN as error:
        raise SampleError("decode", f"{what}: {error}") from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL) or isinstance(error, ConnectionError):
            raise
        raise SampleError("decode", f"{what}: {error}") from error


class ZipMembers:
    """What `storage` needs of a filesystem, for members of archives; nothing can be written.

    The archives that were used last stay open. Listing opens them anew, so that an archive that
    was replaced is seen.

    Args:
        open_archive: opens one by its URI.
    """

    protocol = "zip"

    def __init__(self, open_archive: Opener) -> None:
        self._open_archive = open_archive
        self._opened: OrderedDict[tuple[int, str], Archive] = OrderedDict()
        self._lock = threading.Lock()

    def archive(self, uri: str, anew: bool = False) -> Archive:
        """The archive at a URI.

        Raises:
            SampleError: it is damaged.
        """
        key = (os.getpid(), uri)  # a stream is not shared with a process that was forked
        with self._lock:
            if anew or key not in self._opened:
                # An old one is not closed here: a member of it may be read still.
                with _damage_explained(f"{uri} is no zip archive"):
                    self._opened[key] = Archive(uri, self._open_archive(uri))
            self._opened.move_to_end(key)
            while len(self._opened) > _NUM_OPEN:
                self._opened.popitem(last=False)
            return self._opened[key]

    def glob(self, uri: str, outer: list[StoredObject]) -> Iterator[StoredObject]:
        """Members of archives by the pattern behind `!/`; all of them where there is none."""
        pattern = parted(uri)[1]
        # A pattern without a wildcard is a name.
        matches = re.compile(glob_translate(pattern)).match if pattern else bool
        for archive in outer:
            yield from self.archive(archive.uri, anew=True).find(matches)

    def find(self, path: str, detail: bool = True) -> dict[str, Any]:
        """Every member below a folder."""
        uri, folder = parted(SCHEME + path)
        try:
            archive = self.archive(uri, anew=True)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return {}
            raise
        start = f"{folder}/" if folder else ""
        found = archive.find(lambda name: name.startswith(start))
        return {item.uri: self._info(item) for item in found}

    def info(self, path: str) -> dict[str, Any]:
        """Name, size and checksum of a member."""
        uri, name = parted(SCHEME + path)
        found = self.archive(uri).info(name)
        if found is None:
            raise FileNotFoundError(path)
        return self._info(found)

    def exists(self, path: str) -> bool:
        """Whether a member is there."""
        uri, name = parted(SCHEME + path)
        return self.archive(uri).info(name) is not None

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """A member, or the bytes from `start` up to `end`."""
        uri, name = parted(SCHEME + path)
        with self.archive(uri).open(name) as stream:
            stream.seek(start or 0)
            return stream.read(-1 if end is None else max(0, end - (start or 0)))

    def open(self, path: str, mode: str = "rb", **_: Any) -> IO[bytes]:
        """A member as a stream."""
        uri, name = parted(SCHEME + path)
        if mode != "rb":
            raise StorageError(f"{path}: members of archives are read only")
        return self.archive(uri).open(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise StorageError("zip archives are read only: choose a folder to write to")

    @staticmethod
    def _info(archive: StoredObject) -> dict[str, Any]:
        name = archive.uri.removeprefix(SCHEME)
        return {"name": name, "size": archive.size_bytes, "etag": archive.etag, "type": "file"}


_INFLATED_BYTES = 256 * 2**20
_INFLATED_TIMES = 100


def inflates_too_far(stored_bytes: int, inflated_bytes: int) -> bool:
    """Whether something compressed is refused before it is inflated.

    Up to 256 MiB always pass, and so does what grows at most 100 times: features and images grow
    a few times, a bomb a thousand times or more.
    """
    return inflated_bytes > max(_INFLATED_BYTES, _INFLATED_TIMES * stored_bytes)
