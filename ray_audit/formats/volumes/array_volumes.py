"""Arrays as stacks of masks: npy, and npz of one array; (T, H, W) integers."""

import zipfile
from typing import IO

import numpy as np

from ray_audit import storage
from ray_audit.errors import SampleError
from ray_audit.formats.array_files import check_claimed, check_inflated, same_entry
from ray_audit.formats.array_masks import order_of
from ray_audit.formats.volumes.volume import Volume, VolumeHeader

_SUFFIX = ".npy"
_COPY_BYTES = 2**20


class _ArrayVolume(Volume):
    """A volume that is one array of a file."""

    _values: np.ndarray
    _stream: IO[bytes]

    def stored(self, channel: int = 0) -> np.ndarray:
        """See `Volume.stored`."""
        return self._values.reshape(self.header.shape)

    def close(self) -> None:
        """See `Volume.close`."""
        self._stream.close()


class NpyVolume(_ArrayVolume):
    """A `.npy` file; slices along the first axis.

    Raises:
        SampleError: it holds something else, or claims more than the file has.
    """

    name = "npy"

    def __init__(self, stream: IO[bytes], uri: str, size_bytes: int) -> None:
        self.uri = uri
        self._stream = stream
        check_claimed(stream, size_bytes)
        self._values = np.lib.format.read_array(stream, allow_pickle=False)
        self._is_fortran = self._values.flags.f_contiguous and not self._values.flags.c_contiguous
        self.header = described(self._values, uri)

    def write(self, stored: np.ndarray, to_uri: str) -> None:
        """See `Volume.write`."""
        with storage.open_write(to_uri) as sink:
            write_like(self._values, stored, sink)


class NpzVolume(_ArrayVolume):
    """A `.npz` file of one array; slices along the first axis.

    Raises:
        SampleError: it holds several arrays, or something else.
    """

    name = "npz"

    def __init__(self, stream: IO[bytes], uri: str, size_bytes: int) -> None:
        self.uri = uri
        self._stream = stream
        self._file = zipfile.ZipFile(stream)
        check_inflated(self._file)
        names = [name for name in self._file.namelist() if name.endswith(_SUFFIX)]
        if len(names) != 1:
            found = ", ".join(name.removesuffix(_SUFFIX) for name in names[:5]) or "none"
            raise SampleError("mask_format", f"{uri} holds the arrays {found}; expected one")
        self._member = names[0]
        with self._file.open(self._member) as member:
            check_claimed(member, self._file.getinfo(self._member).file_size)
            self._values = np.lib.format.read_array(member, allow_pickle=False)
        self.header = described(self._values, uri)

    def write(self, stored: np.ndarray, to_uri: str) -> None:
        """See `Volume.write`."""
        with storage.open_write(to_uri) as sink, zipfile.ZipFile(sink, "w") as new:
            for info in self._file.infolist():
                with new.open(same_entry(info), "w", force_zip64=True) as member:
                    if info.filename == self._member:
                        write_like(self._values, stored, member)
                    else:
                        member.write(self._file.read(info))


def described(values: np.ndarray, uri: str) -> VolumeHeader:
    """The header of an array of integers, (T, H, W) or (T, H, W, 1).

    Raises:
        SampleError: `mask_format`: it is another.
    """
    shape = values.shape
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) != 3 or min(shape) < 1 or values.dtype.kind not in "iub":
        raise SampleError(
            "mask_format",
            f"the array of {uri} has shape {values.shape} and type {values.dtype}; expected "
            "integers, (frames, height, width)",
        )
    return VolumeHeader(shape, 1, values.dtype, 0)


def write_like(old: np.ndarray, stored: np.ndarray, sink: IO[bytes]) -> None:
    """Write an array in the shape, type and order of another."""
    values = np.asarray(stored.reshape(old.shape), old.dtype, order=order_of(old))
    np.lib.format.write_array(sink, values, allow_pickle=False)
