"""Writing one object, whole or not at all, on a disk or through fsspec; and what a refusal says."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from fsspec.asyn import AsyncFileSystem, sync

from ray_audit.processes import has_died, own_name
from ray_audit.store_errors import explained, explained_stream

_PUT_LIMIT_S = 60.0
_PUT_BYTES_PER_S = 2**20  # slower than this is taken for a connection that went silent
_MAX_REMOVALS = 5


_UNFINISHED = re.compile(r"\..*\.(?P<process>[0-9a-f]{8}-\d+)\.[0-9a-f]{8}\.tmp")
"""The name that a file has until it is whole."""


def create(fs: Any, path: str, content: bytes) -> None:
    """Write a whole object under one condition: that there is none."""
    if "file" in fs.protocol:
        put_file(Path(path), content, _link)
    else:
        put(fs, path, content, mode="create")


def says_there(error: BaseException) -> bool:
    """Whether a store refused to create an object because there is one."""
    return isinstance(error, FileExistsError) or _says(error, "PreconditionFailed", errno.EEXIST)


def says_unknown(error: BaseException) -> bool:
    """Whether a store knows no conditional writes."""
    return _says(error, "NotImplemented", errno.ENOSYS)


def _says(error: BaseException | None, code: str, number: int) -> bool:
    """Whether an error, or what it came from, has a code of S3 or an errno."""
    while error is not None:
        response = getattr(error, "response", None)
        given = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        if given == code or getattr(error, "errno", None) == number:
            return True
        error = error.__cause__
    return False


def put(fs: Any, path: str, content: bytes, mode: str = "overwrite") -> None:
    """Send a whole object, within a time limit.

    The clients have none of their own while they wait for a server's leave to send (`Expect:
    100-continue`): a connection that went silent there would hold a run for ever.
    """
    if not isinstance(fs, AsyncFileSystem):
        fs.pipe_file(path, content, mode=mode)
        return
    limit_s = _PUT_LIMIT_S + len(content) / _PUT_BYTES_PER_S
    sync(fs.loop, fs._pipe_file, path, content, mode=mode, timeout=limit_s)


def remove_all(fs: Any, path: str) -> None:
    """Remove a folder, where it is there, and all in it; others may write and remove there too."""
    if "file" not in fs.protocol:
        with contextlib.suppress(FileNotFoundError):
            fs.rm(path, recursive=True)
        return
    for num_left in reversed(range(_MAX_REMOVALS)):
        # Not by fsspec, whose `FileNotFoundError` may be of the working directory:
        # findings/fsspec_rm_asks_for_the_working_directory.sh shows it.
        try:
            shutil.rmtree(path)
        except FileNotFoundError:  # it, or something in it that another has removed
            if os.path.lexists(path):
                if num_left:
                    continue
                raise
        except OSError as error:
            if error.errno == errno.ENOTEMPTY and num_left:
                continue
            raise
        return


def clear_unfinished(folder: Path) -> int:
    """Remove what killed processes of this machine had not written whole; how many files."""
    left = [path for path in folder.rglob(".*.tmp") if _is_left(path.name)]
    for path in left:
        with contextlib.suppress(OSError):  # it is in nobody's way
            path.unlink(missing_ok=True)
    return len(left)


def _is_left(name: str) -> bool:
    found = _UNFINISHED.fullmatch(name)
    return found is not None and has_died(found["process"])


def _link(temporary: Path, path: Path) -> None:
    """Give a file its name, unless there is one."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with open(path, "xb") as stream:
            stream.write(temporary.read_bytes())


def put_file(path: Path, content: bytes, move: Callable[[Path, Path], object]) -> None:
    """Write a whole local file beside its final name, then move it there."""
    with moved_into(path, move) as stream:
        stream.write(content)


@contextlib.contextmanager
def moved_into(path: Path, move: Callable[[Path, Path], object]) -> Iterator[IO[bytes]]:
    """Write beside the final name, then move it there; nothing where the block raises."""
    with explained("write", str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{own_name()}.{os.urandom(4).hex()}.tmp")
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
