"""Text of variable length in HDF5 files, read in a process that can be ended.

What such an element holds lies in heaps of the file. On damaged ones libhdf5 may loop for ever,
where no signal is taken and no other thread runs: a child reads them, within a limit of processor
time, and the system ends it there. A child is kept for the next file.
"""

import atexit
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ray_audit.errors import SampleError

LIMIT_S = 60
"""Of a processor, for one array or attribute."""

_MAX_BYTES = 4 * 2**30
_MAX_READ = 2**26
_FRAME = struct.Struct("<cQQ")
_CHILD = Path(__file__).with_name("hdf5_child.py")
_Child = subprocess.Popen[bytes]
_idle: list[_Child] = []


class HdfTexts:
    """Reads text of one file; a child is asked with the first.

    Args:
        stream: of the file; read from between calls of its other reader, never at once.
        num_bytes: of the file.
        limit_s: see `LIMIT_S`.
    """

    def __init__(self, stream: IO[bytes], num_bytes: int, limit_s: int = LIMIT_S) -> None:
        self._stream, self._num_bytes, self._limit_s = stream, num_bytes, limit_s
        self._child: _Child | None = None

    def close(self) -> None:
        """Leave the child to others."""
        child, self._child = self._child, None
        if child is not None:
            _idle.append(child)

    def of_array(self, name: str, start: int, stop: int) -> Iterator[list[str]]:
        """Elements of an array (T,), some at a time.

        Raises:
            SampleError: they cannot be read, or not within the limit.
        """
        yield from self._texts_of({"name": name, "attribute": None, "start": start, "stop": stop})

    def of_attribute(self, name: str, attribute: str) -> list[str]:
        """All of an attribute; `/` names the file itself.

        Raises:
            SampleError: as `of_array`.
        """
        blocks = self._texts_of({"name": name, "attribute": attribute})
        return [text for some in blocks for text in some]

    def _texts_of(self, request: dict[str, object]) -> Iterator[list[str]]:
        where = str(request["attribute"] or request["name"])
        is_done = False
        try:
            child = self._opened()
            _write_line(child, request)
            while True:
                kind, first, second = self._frame(child)
                if kind == b"R":
                    content = self._bytes(first, second)
                    _write(child, struct.pack("<Q", len(content)) + content)
                elif kind == b"T":
                    yield json.loads(_read(child, first))
                elif kind == b"D":
                    is_done = True
                    return
                else:
                    why = _read(child, first).decode("utf-8", "replace")
                    is_done = True
                    raise SampleError("decode", f"text of {where}: {why}")
        except (BrokenPipeError, EOFError):
            raise SampleError(
                "decode",
                f"text of {where}: libhdf5 did not read text of variable length within "
                f"{self._limit_s} s of a processor, or crashed: the file is damaged. Mend it, or "
                "save text of fixed length (h5py: numpy arrays of type S)",
            ) from None
        finally:
            if not is_done:  # it may have more to say
                self._end()

    def _opened(self) -> _Child:
        if self._child is None:
            self._child = _idle.pop() if _idle else _started()
            opened = {"num_bytes": self._num_bytes, "limit_s": self._limit_s}
            _write_line(self._child, opened | {"max_bytes": _MAX_BYTES})
        return self._child

    def _frame(self, child: _Child) -> tuple[bytes, int, int]:
        kind, first, second = _FRAME.unpack(_read(child, _FRAME.size))
        return kind, first, second

    def _bytes(self, offset: int, num: int) -> bytes:
        """Bytes of the file; fewer where it ends, or where far too many are asked for."""
        if offset >= self._num_bytes:
            return b""
        self._stream.seek(offset)
        return self._stream.read(min(num, _MAX_READ, self._num_bytes - offset))

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()


def _started() -> _Child:
    path = os.pathsep.join(folder for folder in sys.path if folder)
    return subprocess.Popen(
        [sys.executable, "-P", str(_CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": path},
    )


@atexit.register
def _end_idle() -> None:
    while _idle:
        child = _idle.pop()
        child.kill()
        child.communicate()


os.register_at_fork(after_in_child=_idle.clear)  # those belong to the parent


def _write_line(child: _Child, value: object) -> None:
    _write(child, json.dumps(value).encode() + b"\n")


def _write(child: _Child, content: bytes) -> None:
    assert child.stdin is not None
    child.stdin.write(content)
    child.stdin.flush()


def _read(child: _Child, num: int) -> bytes:
    """So many bytes.

    Raises:
        EOFError: the child has ended.
    """
    assert child.stdout is not None
    content = child.stdout.read(num)
    if len(content) < num:
        raise EOFError
    return content
