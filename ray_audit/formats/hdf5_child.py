"""The child of `hdf5_texts`: reads text of variable length with libhdf5, and nothing else.

It is run by its path and imports nothing of this package. Bytes of the file come from the parent.
"""

import io
import json
import resource
import struct
import sys
from typing import Any

import h5py

_FRAME = struct.Struct("<cQQ")
_BLOCK = 256  # many elements may share one long text


class _Served(io.RawIOBase):
    """A file whose bytes the parent gives."""

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes, self._at = num_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._num_bytes)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        _send(b"R", self._at, len(buffer))
        num: int = struct.unpack("<Q", sys.stdin.buffer.read(8))[0]
        buffer[:num] = sys.stdin.buffer.read(num)
        self._at += num
        return num


def _send(kind: bytes, first: int, second: int, content: bytes = b"") -> None:
    sys.stdout.buffer.write(_FRAME.pack(kind, first, second) + content)
    sys.stdout.buffer.flush()


def _answer(file: h5py.File, request: dict[str, Any]) -> None:
    holder = file[request["name"]]
    if request["attribute"] is not None:
        values = holder.attrs[request["attribute"]]
        flat = [values] if isinstance(values, str | bytes) else values.reshape(-1).tolist()
        _send_texts(flat)
        return
    for first in range(request["start"], request["stop"], _BLOCK):
        _send_texts(holder[first : min(first + _BLOCK, request["stop"])].tolist())


def _send_texts(values: list[Any]) -> None:
    texts = [
        b.decode("utf-8", "backslashreplace") if isinstance(b, bytes) else str(b) for b in values
    ]
    content = json.dumps(texts).encode()
    _send(b"T", len(content), 0, content)


def _allow(seconds: int) -> None:
    """End this process once it has used so much more of a processor: libhdf5 takes no signal."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit_s = int(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def main() -> None:
    """Answer a request a line, of the file that was opened last, until there are no more."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    file: h5py.File | None = None
    opened: dict[str, Any] = {}
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        if "num_bytes" in request:
            file, opened = None, request
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (opened["max_bytes"], hard))
            continue
        _allow(opened["limit_s"])
        try:
            file = file or h5py.File(_Served(opened["num_bytes"]), "r")
            _answer(file, request)
        except Exception as error:  # whatever a damaged file makes of it
            content = f"{type(error).__name__}: {error}".encode()
            _send(b"E", len(content), 0, content)
        else:
            _send(b"D", 0, 0)


if __name__ == "__main__":
    main()
