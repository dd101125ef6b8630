"""Feature sequences in npy and npz files, with labels in a table or in arrays beside them."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from ray_audit import storage
from ray_audit.config import DatasetConfig, LabelsConfig
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.base import Format
from ray_audit.formats.changes import FrameChange, LabelChanges
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.names import fill_template
from ray_audit.formats.labels.relabel import is_label, relabelled
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

_COPY_BYTES = 2**20
_SUFFIX = ".npy"
_READ_NPY_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class NpyFiles(Format):
    """A sequence a file."""

    name = "npy"
    kind = "sequences"
    extensions = ("npy",)


class NpzFiles(Format):
    """A sequence an array; arrays beside it may hold its labels and its frames' numbers."""

    name = "npz"
    kind = "sequences"
    extensions = ("npz",)
    forms = frozenset({"arrays"})
    holds_several = True

    def names(self, shard: Shard, labels: LabelsConfig) -> Iterator[str]:
        """Names of the feature arrays, from the directory alone."""
        with (
            storage.open_read(shard.uri, shard.size_bytes) as stream,
            zipfile.ZipFile(stream) as file,
        ):
            names = [name.removesuffix(_SUFFIX) for name in file.namelist()]
            yield from feature_names(names, labels)

    def write(
        self,
        shard: Shard,
        dataset: DatasetConfig,
        changes: LabelChanges,
        to_uri: str,
        left_out: dict[str, str],
    ) -> int:
        """Rewrite an npz member by member.

        Label arrays keep their type; text gets longer where a new name needs it.
        """
        labels, classes = dataset.labels, ClassNames.of(dataset)
        num_written = 0
        with (
            storage.open_read(shard.uri, shard.size_bytes) as source,
            storage.open_write(to_uri) as sink,
            zipfile.ZipFile(source) as old,
            zipfile.ZipFile(sink, "w") as new,
        ):
            check_inflated(old)
            names = [name.removesuffix(_SUFFIX) for name in old.namelist()]
            change_of = {
                fill_template(str(labels.arrays), name): (name, changes.frames[owner])
                for name in feature_names(names, labels)
                if (owner := Owner(shard.key, name)) in changes.frames
            }
            for info in old.infolist():
                name = info.filename.removesuffix(_SUFFIX)
                with old.open(info) as member, new.open(_like(info), "w", force_zip64=True) as copy:
                    if name not in change_of:
                        while chunk := member.read(_COPY_BYTES):
                            copy.write(chunk)
                        continue
                    feature, change = change_of[name]
                    values = np.lib.format.read_array(member, allow_pickle=False)
                    frames = _frames(old, feature, labels, len(values))
                    values, written = _relabelled(values, frames, change, classes, name)
                    num_written += written
                    np.lib.format.write_array(copy, values, allow_pickle=False)
        return num_written


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


def _like(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    copy = zipfile.ZipInfo(info.filename, info.date_time)
    copy.compress_type, copy.external_attr = info.compress_type, info.external_attr
    return copy


def _frames(file: zipfile.ZipFile, name: str, labels: LabelsConfig, length: int) -> np.ndarray:
    beside = fill_template(labels.frame_arrays, name) + _SUFFIX if labels.frame_arrays else ""
    if beside not in file.namelist():
        return np.arange(length)
    with file.open(beside) as member:
        frames: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
    return frames.astype(np.int64)


def _relabelled(
    values: np.ndarray, frames: np.ndarray, change: FrameChange, classes: ClassNames, name: str
) -> tuple[np.ndarray, int]:
    positions, labels = change.at(frames)
    new: list[Any] = values.tolist()
    num_written = 0
    for position, label in zip(positions.tolist(), labels.tolist(), strict=True):
        if is_label(new[position], classes):
            new[position] = relabelled(new[position], label, classes)
            num_written += 1
    dtype = None if values.dtype.kind in "US" else values.dtype
    try:
        array = np.array(new, dtype=dtype)
    except (OverflowError, ValueError) as error:
        raise LabelError(f"array {name} of type {values.dtype}: {error}") from error
    return array, num_written
