"""MATLAB files of version 5 to 7 as arrays: sizes are checked before scipy reads them."""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from ray_audit import storage
from ray_audit.errors import SampleError

_HEADER_BYTES = 128
_COMPRESSED, _MATRIX = 15, 14
_MAX_DEPTH = 16
_HEAD_KINDS = (6, 5, 1)  # flags, dimensions and name: uint32, int32, int8
_NUMBER_KINDS = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13)
_TEXT_KINDS = (1, 2, 3, 4, 16, 17, 18)
_CELL, _STRUCT, _TEXT = 1, 2, 4
_COMPLEX, _LOGICAL = 8, 2
_NUMBERS = range(6, 16)  # double to uint64


class MatArrays:
    """The numbers and texts of a file, fields of structs, and of arrays of them, by `struct.field`.

    Args:
        stream: of the file.
        size_bytes: of the file.

    Raises:
        SampleError: it is damaged, or would fill the memory.
    """

    def __init__(self, stream: IO[bytes], size_bytes: int) -> None:
        from scipy.io import loadmat

        content, has_truths = _checked(stream.read(), size_bytes)
        try:
            loaded = loadmat(io.BytesIO(content), chars_as_strings=True)
            # Numbers in the type in which they are stored; which are truth values, only this tells.
            typed = loadmat(io.BytesIO(content), mat_dtype=True) if has_truths else {}
        except Exception as error:  # of its many readers each raises its own
            raise SampleError("decode", f"the MATLAB file cannot be read: {error}") from error
        truths = {name: v for name, v in _flattened(typed, "") if v.dtype.kind == "b"}
        self._arrays = dict(_flattened(loaded, "")) | truths
        self.names = list(self._arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        """See `ArrayFile.shape`."""
        return self.array(name).shape

    def array(self, name: str) -> np.ndarray:
        """See `ArrayFile.array`."""
        if name not in self._arrays:
            raise SampleError("array_shape", f"there is no array {name}")
        return self._arrays[name]

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """See `ArrayFile.rows`."""
        return self.array(name)[start:stop]

    def last_axis(self, name: str, start: int, stop: int) -> np.ndarray:
        """See `ArrayFile.last_axis`."""
        return self.array(name)[..., start:stop]

    def class_names(self, name: str) -> list[str]:
        """A MATLAB file says nothing of classes."""
        return []


def _flattened(values: dict[str, Any], above: str) -> Iterator[tuple[str, np.ndarray]]:
    for key, value in values.items():
        if not isinstance(value, np.ndarray) or key.startswith("__"):
            continue
        name = f"{above}{key}"
        if value.dtype.names and value.size == 1:
            element = value.reshape(-1)[0]
            yield from _flattened(
                {field: element[field] for field in value.dtype.names}, f"{name}."
            )
        elif value.dtype.names:
            yield from _columns(value.reshape(-1), f"{name}.")
        elif value.dtype.kind in "fiub":
            yield name, value
        elif value.dtype.kind == "U":
            yield name, np.char.rstrip(value)
        elif value.dtype.kind == "O" and value.size:
            texts = _single(value.reshape(-1), "U")
            if texts is not None:
                yield name, texts


def _columns(structs: np.ndarray, above: str) -> Iterator[tuple[str, np.ndarray]]:
    """Fields that have one number, or one text, in each of an array of structs: a table."""
    for field in structs.dtype.names or ():
        for kinds in ("fiub", "U"):
            values = _single(structs[field], kinds)
            if values is not None:
                yield f"{above}{field}", values


def _single(cells: np.ndarray, kinds: str) -> np.ndarray | None:
    """The elements of arrays of one element each; None where there are others."""
    inner = [cell.reshape(-1) for cell in cells if isinstance(cell, np.ndarray)]
    if len(inner) < len(cells) or not all(c.dtype.kind in kinds and c.size == 1 for c in inner):
        return None
    return np.array([cell[0].item() for cell in inner]) if len(inner) else None


def _checked(content: bytes, size_bytes: int) -> tuple[bytes, bool]:
    """The file with its compressed elements inflated, each size in it held against what is there.

    Returns:
        It, and whether an array in it may hold truth values.

    Raises:
        SampleError: one claims more, or would inflate too far.
    """
    if len(content) < _HEADER_BYTES:
        raise SampleError("decode", "the MATLAB file ends within its header")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise SampleError("decode", "the MATLAB file has no mark of its byte order")
    parts, at, total, has_truths = [content[:_HEADER_BYTES]], _HEADER_BYTES, 0, False
    while at < len(content):
        kind, size = _tag(content, at, order)
        if at + 8 + size > len(content):
            raise SampleError("decode", "the MATLAB file breaks off within an array")
        element = content[at : at + 8 + size]
        if kind == _COMPRESSED:
            element = _inflated(element[8:], size_bytes, order)
        total += len(element)
        if storage.inflates_too_far(size_bytes, total):
            raise SampleError("too_large", f"the MATLAB file would inflate to {total} bytes")
        has_truths |= _check_element(element, 0, len(element), order, size_bytes, 0)
        parts.append(element)
        at += 8 + size
    return b"".join(parts), has_truths


def _tag(content: bytes, at: int, order: str) -> tuple[int, int]:
    if at + 8 > len(content):
        raise SampleError("decode", "the MATLAB file breaks off within an array")
    kind, size = struct.unpack_from(f"{order}II", content, at)
    return kind, size


def _inflated(packed: bytes, size_bytes: int, order: str) -> bytes:
    """A compressed array; never more than its own first bytes say."""
    try:
        kind, size = _tag(zlib.decompressobj().decompress(packed, 8), 0, order)
        if storage.inflates_too_far(size_bytes, size):
            raise SampleError("too_large", f"an array would inflate to {size} bytes")
        element = zlib.decompressobj().decompress(packed, 8 + size)
    except zlib.error as error:
        raise SampleError("decode", f"the MATLAB file is damaged: {error}") from error
    if kind != _MATRIX:
        raise SampleError("decode", f"the MATLAB file has a compressed part of kind {kind}")
    return element


def _check_element(
    content: bytes, at: int, end: int, order: str, size_bytes: int, depth: int
) -> bool:
    """Refuse a matrix whose parts or dimensions claim more than there is.

    Returns:
        Whether it holds truth values, or an array in it does.
    """
    kind, size = _tag(content, at, order)
    if at + 8 + size > end:
        raise SampleError("decode", "an array claims more bytes than the MATLAB file has")
    if kind != _MATRIX:
        raise SampleError("decode", f"an element of type {kind} where an array was expected")
    if not size:
        return False
    if depth > _MAX_DEPTH:
        raise SampleError("decode", f"structs lie more than {_MAX_DEPTH} deep")
    end, at, number, holds, has_truths = at + 8 + size, at + 8, 0, 0, False
    while at + 8 <= end:
        part, part_bytes = _tag(content, at, order)
        if part >> 16:  # type, size and up to four bytes in one
            start, part_bytes, step = at + 4, part >> 16, 8
        else:
            start, step = at + 8, 8 + -(-part_bytes // 8) * 8
        if start + part_bytes > end or (part >> 16 and part_bytes > 4):
            raise SampleError("decode", "an array claims more bytes than the MATLAB file has")
        _check_kind(number, part & 0xFFFF if part >> 16 else part, holds)
        if number == 0:
            holds = content[start + (0 if order == "<" else 3)] if part_bytes >= 8 else 0
            flags = content[start + (1 if order == "<" else 2)] if part_bytes >= 8 else 0
            has_truths = bool(flags & _LOGICAL)
            if flags & _COMPLEX:
                raise SampleError("decode", "an array of complex numbers; expected real ones")
            if holds not in (_CELL, _STRUCT, _TEXT, *_NUMBERS):
                raise SampleError("decode", f"an array of class {holds}; expected numbers or text")
        if number == 3 and holds == _STRUCT:
            (length,) = struct.unpack_from(f"{order}i", content, start)
            if part_bytes != 4 or not 0 < length <= 64:
                raise SampleError("decode", f"a struct whose field names have {length} bytes")
        if number == 1 and (part_bytes % 4 or not 8 <= part_bytes <= 128):
            raise SampleError("decode", f"an array with {part_bytes} bytes of dimensions")
        if number == 1:
            sizes = struct.unpack_from(f"{order}{part_bytes // 4}i", content, start)
            claimed = 8 * math.prod(max(size, 0) for size in sizes)
            if min(sizes, default=0) < 0 or storage.inflates_too_far(size_bytes, claimed):
                raise SampleError("too_large", f"an array claims the dimensions {list(sizes)}")
        if part == _MATRIX:
            has_truths |= _check_element(content, at, end, order, size_bytes, depth + 1)
        at, number = at + step, number + 1
    if number < len(_HEAD_KINDS) + (holds in (*_NUMBERS, _TEXT)):
        raise SampleError("decode", "an array without dimensions, name or content")
    return has_truths


def _check_kind(number: int, kind: int, holds: int) -> None:
    """Refuse a part whose stored type is none that an array of this class has: no reader checks."""
    if number < len(_HEAD_KINDS):
        is_known = kind == _HEAD_KINDS[number]
    elif holds in _NUMBERS:
        is_known = kind in _NUMBER_KINDS
    elif holds == _TEXT:
        is_known = kind in _TEXT_KINDS
    else:
        is_known = kind == _MATRIX or (holds == _STRUCT and number < 5 and kind in (1, 5))
    if not is_known:
        raise SampleError("decode", f"a part of type {kind} in an array of class {holds}")
