"""IDX files, as MNIST and its relatives come in: one array each, packed or not.

Format: yann.lecun.com/exdb/mnist. Two zero bytes, the type, the number of axes, their lengths as
big-endian 32-bit numbers, then the values.
"""

import gzip
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

from ray_audit import storage
from ray_audit.errors import SampleError

ENDINGS = ("-ubyte", "-ubyte.gz", ".idx", ".idx.gz")
_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_MAX_AXES = 8
# What gzip's method can at most make of a byte; and how much of a plain file may be cut off for
# what is left to count as damaged samples, not as an invented header.
_MAX_INFLATION = 1032
_MAX_CUT_OFF = 64


class IdxArray:
    """The one array of an IDX file, under the name `image`.

    Args:
        stream: of the file, unpacked.
        size_bytes: of the file as it is stored.
        is_packed: whether it is stored in gzip.

    Raises:
        SampleError: it is none, or claims far more than is there.
    """

    def __init__(self, stream: IO[bytes], size_bytes: int, *, is_packed: bool) -> None:
        self.names = ["image"]
        head = stream.read(4)
        num_axes = head[3] if len(head) == 4 else 0
        if head[:2] != b"\0\0" or len(head) < 4 or head[2] not in _TYPES:
            raise SampleError("decode", "not an IDX file")
        lengths = stream.read(4 * num_axes)
        if not 1 <= num_axes <= _MAX_AXES or len(lengths) < 4 * num_axes:
            raise SampleError("decode", f"an IDX file of {num_axes} axes, or cut off in its header")
        self._shape = struct.unpack(f">{num_axes}I", lengths)
        self._dtype = np.dtype(_TYPES[head[2]])
        self._stream, self._start = stream, 4 + 4 * num_axes
        claimed = math.prod(self._shape) * self._dtype.itemsize
        possible = size_bytes * (_MAX_INFLATION if is_packed else _MAX_CUT_OFF)
        if claimed > possible or storage.inflates_too_far(size_bytes, claimed):
            raise SampleError(
                "too_large", f"its header claims {claimed} bytes, the file has {size_bytes}"
            )

    def shape(self, name: str) -> tuple[int, ...]:
        """See `ArrayFile.shape`."""
        return self._shape

    def array(self, name: str) -> np.ndarray:
        """See `ArrayFile.array`."""
        return self.rows(name, 0, self._shape[0])

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """See `ArrayFile.rows`."""
        each = math.prod(self._shape[1:])
        num_bytes = (stop - start) * each * self._dtype.itemsize
        self._stream.seek(self._start + start * each * self._dtype.itemsize)
        content = self._stream.read(num_bytes)
        if len(content) < num_bytes:
            raise SampleError("decode", f"cut off: {len(content)} of {num_bytes} bytes are there")
        values = np.frombuffer(content, self._dtype).reshape(stop - start, *self._shape[1:])
        return values.astype(self._dtype.newbyteorder("="), copy=False)

    def last_axis(self, name: str, start: int, stop: int) -> np.ndarray:
        """See `ArrayFile.last_axis`."""
        return self.array(name)[..., start:stop]

    def class_names(self, name: str) -> list[str]:
        """An IDX file says nothing of classes."""
        return []


def is_idx(uri: str) -> bool:
    """Whether a name is that of an IDX file."""
    return uri.lower().endswith(ENDINGS)


@contextmanager
def opened_idx(uri: str, stream: IO[bytes], size_bytes: int) -> Iterator[IdxArray]:
    """An IDX file, packed where its name ends with `.gz`."""
    if uri.lower().endswith(".gz"):
        with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
            yield IdxArray(unpacked, size_bytes, is_packed=True)  # type: ignore[arg-type]
    else:
        yield IdxArray(stream, size_bytes, is_packed=False)
