"""Files of named arrays, read alike: npz, HDF5 and MATLAB."""

import io
import math
import zipfile
from typing import IO, Any, Protocol

import numpy as np

from ray_audit import storage
from ray_audit.errors import SampleError

_SUFFIX = ".npy"
_NUM_HELD = 2  # images, and their masks
_READ_NPY_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class ArrayFile(Protocol):
    """An open file of arrays; what is damaged raises what its library raises.

    Attributes:
        names: of the arrays.
    """

    names: list[str]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array, by its header."""

    def array(self, name: str) -> np.ndarray:
        """All of an array: numbers, or text.

        Raises:
            SampleError: it would fill the memory, or holds objects.
        """

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Elements along the first axis, from `start` up to `stop`."""

    def last_axis(self, name: str, start: int, stop: int) -> np.ndarray:
        """The same along the last axis, which stays the last."""

    def class_names(self, name: str) -> list[str]:
        """What the file says that the numbers of an array stand for; empty where it does not."""


class NpzArrays:
    """The arrays of an npz file; pickles are not loaded.

    Args:
        stream: of the file.

    Raises:
        SampleError: it is none, or an array would inflate too far.
        zipfile.BadZipFile, ValueError, OSError: it is damaged.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        file = np.load(stream, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile) or file.zip is None:
            raise SampleError("decode", "not an npz file")
        check_inflated(file.zip)
        self._file = file  # it closes its archive when it goes
        self._zip: zipfile.ZipFile = file.zip
        self.names: list[str] = list(file.files)
        self._cached: tuple[str, np.ndarray] | None = None

    def shape(self, name: str) -> tuple[int, ...]:
        """See `ArrayFile.shape`."""
        info = self._info(name)
        with self._zip.open(info) as stream:
            check_claimed(stream, info.file_size)
            version = np.lib.format.read_magic(stream)
            shape: tuple[int, ...] = _READ_NPY_HEADER[version](stream)[0]
            return shape

    def array(self, name: str) -> np.ndarray:
        """See `ArrayFile.array`; the header is held against the member's size first."""
        info = self._info(name)
        with self._zip.open(info) as member:
            check_claimed(member, info.file_size)
            array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
            return array

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """See `ArrayFile.rows`; the array stays in memory, for the next rows."""
        if self._cached is None or self._cached[0] != name:
            self._cached = (name, self.array(name))
        return self._cached[1][start:stop]

    def last_axis(self, name: str, start: int, stop: int) -> np.ndarray:
        """See `ArrayFile.last_axis`."""
        return self.rows(name, 0, self.shape(name)[0])[..., start:stop]

    def class_names(self, name: str) -> list[str]:
        """An npz file says nothing of classes."""
        return []

    def _info(self, name: str) -> zipfile.ZipInfo:
        found: Any = self._zip.NameToInfo.get(name + _SUFFIX) or self._zip.getinfo(name)
        return found  # type: ignore[no-any-return]


def npz_names(stream: IO[bytes]) -> list[str]:
    """Names of the arrays of an npz file, from its directory alone."""
    with zipfile.ZipFile(stream) as file:
        return [name.removesuffix(_SUFFIX) for name in file.namelist()]


def read_npy(stream: IO[bytes], size_bytes: int) -> np.ndarray:
    """The array of an npy file; no pickle is loaded.

    Raises:
        SampleError: its header claims more than there is.
        ValueError: it is damaged, or holds objects.
    """
    check_claimed(stream, size_bytes)
    read_header = _READ_NPY_HEADER.get(np.lib.format.read_magic(stream))
    shape, is_fortran, dtype = read_header(stream) if read_header else ((), False, None)
    if dtype is None or dtype.hasobject or not dtype.itemsize:
        stream.seek(0)  # numpy says what it does not take
        return np.lib.format.read_array(stream, allow_pickle=False)
    # Of streams that are no files of the system numpy would make every array twice.
    values = np.empty(math.prod(shape), dtype)
    num = _read_into(values.view(np.uint8), stream)
    if num < values.nbytes:
        raise ValueError(f"it ends after {num} of {values.nbytes} bytes of its array")
    return values.reshape(shape[::-1]).transpose() if is_fortran else values.reshape(shape)


def _read_into(place: np.ndarray, stream: IO[bytes]) -> int:
    """Fill bytes from a stream; how many there were."""
    start, bytes_ = 0, memoryview(place.data)
    while start < len(place) and (num := stream.readinto(bytes_[start:])):  # type: ignore[attr-defined]
        start += num
    return start


def check_claimed(stream: IO[bytes], size_bytes: int) -> None:
    """Refuse an npy whose header claims more than the file holds: no memory would do for it.

    Raises:
        SampleError: says what it claims.
    """
    version = np.lib.format.read_magic(stream)
    read_header = _READ_NPY_HEADER.get(version)
    if read_header is not None:
        shape, _, dtype = read_header(stream)
        claimed_bytes = math.prod(shape) * dtype.itemsize
        if claimed_bytes > size_bytes and not dtype.hasobject:
            raise SampleError(
                "decode",
                f"its header claims {claimed_bytes} bytes, the file has {size_bytes}: it was cut "
                "off, or is no npy file",
            )
    stream.seek(0)


def same_entry(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """What a member of a copy starts with: name, time, compression and rights of the original."""
    copy = zipfile.ZipInfo(info.filename, info.date_time)
    copy.compress_type, copy.external_attr = info.compress_type, info.external_attr
    return copy


def check_inflated(file: zipfile.ZipFile) -> None:
    """Refuse an archive one of whose members would fill the memory.

    Raises:
        SampleError: names it.
    """
    for member in file.infolist():
        if storage.inflates_too_far(member.compress_size, member.file_size):
            raise SampleError(
                "too_large",
                f"{member.filename} would inflate from {member.compress_size} to "
                f"{member.file_size} bytes; save it with numpy.savez, which does not compress",
            )


HDF5_MARK = b"\x89HDF\r\n\x1a\n"
MATLAB_MARK = b"MATLAB "
NPY_MARK = b"\x93NUMPY"
_USER_BLOCK = 512


def opened_mat(stream: IO[bytes], size_bytes: int) -> ArrayFile:
    """A MATLAB file, of version 5 to 7 or 7.3 (HDF5).

    Raises:
        SampleError: it is none of these.
    """
    head = stream.read(_USER_BLOCK + len(HDF5_MARK))
    stream.seek(0)
    if HDF5_MARK in (head[: len(HDF5_MARK)], head[_USER_BLOCK:]):
        from ray_audit.formats.hdf5 import HdfArrays

        return HdfArrays(stream, size_bytes)
    if not head.startswith(MATLAB_MARK):
        raise SampleError("decode", "not a MATLAB file of version 5 or later")
    from ray_audit.formats.matlab import MatArrays

    return MatArrays(stream, size_bytes)


def only_array(content: bytes, variable: str | None) -> np.ndarray:
    """The mask, or the labels, in an npy, npz, HDF5 or MATLAB file.

    Args:
        content: of the file.
        variable: which array it is; None where there is one.

    Raises:
        SampleError: there is none, or more than one and none is named.
    """
    stream = io.BytesIO(content)
    if content.startswith(NPY_MARK):
        return read_npy(stream, len(content))
    is_npz = content.startswith(b"PK")
    file: ArrayFile = NpzArrays(stream) if is_npz else opened_mat(stream, len(content))
    if variable is None and len(file.names) == 1:
        variable = file.names[0]
    if variable is None or variable not in file.names:
        raise SampleError(
            "mask_format",
            f"the file holds the arrays {', '.join(file.names[:8]) or '(none)'}; "
            f"labels.variable is {variable!r}: name one of them",
        )
    return file.array(variable)


def is_array_file(content: bytes) -> bool:
    """Whether a mask is stored as an array, and not as an image."""
    marks = (NPY_MARK, HDF5_MARK, MATLAB_MARK, b"PK\x03\x04")
    return content.startswith(marks)
