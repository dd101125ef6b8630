"""Arrays of npz files: their names, and opening one with bounds on what it may become."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from ray_audit import storage
from ray_audit.config import LabelsConfig
from ray_audit.errors import SampleError
from ray_audit.formats.labels.names import fill_template

_READ_NPY_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@contextmanager
def opened_npz(stream: IO[bytes]) -> Iterator[Any]:
    """An npz file none of whose arrays would fill the memory; pickles are not loaded.

    Raises:
        SampleError: it is none, or an array would inflate too far.
        zipfile.BadZipFile, ValueError, OSError: it is damaged.
    """
    file = np.load(stream, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile) or file.zip is None:
        raise SampleError("decode", "not an npz file")
    with file:
        check_inflated(file.zip)
        yield file


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


def array_names(stream: IO[bytes], labels: LabelsConfig) -> list[str]:
    """Names of the feature arrays, from the directory alone."""
    with zipfile.ZipFile(stream) as file:
        return feature_names([n.removesuffix(".npy") for n in file.namelist()], labels)


def feature_names(names: list[str], labels: LabelsConfig) -> list[str]:
    """Arrays of an npz that hold features: those that are not the labels or frames of another."""
    templates = [t for t in (labels.arrays, labels.frame_arrays) if t]
    beside = {fill_template(template, name) for template in templates for name in names}
    return [name for name in names if name not in beside]


def text_values(values: np.ndarray) -> np.ndarray:
    """Labels of type bytes as text; others as they are.

    >>> text_values(np.array([b"k0"])).tolist()
    ['k0']
    """
    if values.dtype.kind != "S":
        return values
    decoded: np.ndarray = np.char.decode(values, "utf-8", "backslashreplace")
    return decoded
