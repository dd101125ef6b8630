"""Feature sequences in npy and npz files, with labels in a table or in arrays beside them."""

import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

import numpy as np
import pyarrow as pa

from ray_audit import storage
from ray_audit.config import DatasetConfig, LabelsConfig
from ray_audit.errors import LabelError, SampleError
from ray_audit.folds import is_in
from ray_audit.formats.base import Format, StoredSequence
from ray_audit.formats.damage import readable
from ray_audit.formats.job import UnitContext
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.index import index_rows
from ray_audit.formats.labels.names import fill_template
from ray_audit.formats.labels.relabel import is_label, relabelled
from ray_audit.formats.labels.timeline import (
    FrameTimeline,
    Labels,
    no_labels,
    table_timeline,
    timeline_of,
)
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

    def sequences(self, shard: Shard, job: UnitContext) -> Iterator[StoredSequence]:
        """The file's sequence, with the labels of its name."""
        timeline = timeline_of(shard, job)
        if timeline is None:
            return
        try:
            with job.tally.timed(), job.tally.open_read(shard.uri, shard.size_bytes) as stream:
                check_claimed(stream, shard.size_bytes)
                features = _features(
                    np.lib.format.read_array(stream, allow_pickle=False), job.dataset
                )
        except Exception as error:
            job.tally.fail(shard.key, readable(error), num_samples=_count(timeline, job))
            return
        yield StoredSequence(shard.key, features, np.arange(len(features)), timeline)


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

    def sequences(self, shard: Shard, job: UnitContext) -> Iterator[StoredSequence]:
        """Every sequence of the fold that can be read."""
        rows = index_rows(shard, job.index_uri) if job.dataset.labels.arrays is None else None
        try:
            with (
                job.tally.open_read(shard.uri, shard.size_bytes) as stream,
                opened_npz(stream) as file,
            ):
                for name in feature_names(file.files, job.dataset.labels):
                    if is_in(Owner(shard.key, name).key, job.dataset.fold):
                        timeline = no_labels() if rows is None else table_timeline(rows, name)
                        yield from _sequence(shard, name, file, timeline, job)
        except Exception as error:
            job.tally.fail(shard.key, readable(error), num_samples=_num_lost(rows, shard, job))

    def timelines(
        self, shard: Shard, job: UnitContext
    ) -> Iterator[tuple[str, Callable[[], Labels]]]:
        """Feature arrays, and what reads the label array of each."""
        with (
            job.tally.open_read(shard.uri, shard.size_bytes) as stream,
            opened_npz(stream) as file,
        ):
            for name in feature_names(file.files, job.dataset.labels):
                yield name, partial(_array_timeline, name, file, job)

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
                    check_claimed(member, info.file_size)
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


def _sequence(
    shard: Shard, name: str, file: Any, timeline: Labels, job: UnitContext
) -> Iterator[StoredSequence]:
    key = Owner(shard.key, name).key
    try:
        with job.tally.timed():
            if job.dataset.labels.arrays is not None:
                timeline = no_labels()
                timeline = _array_timeline(name, file, job)
            frames = _frame_numbers(name, file, job)
            features = _features(_array(name, file), job.dataset)
            frames = np.arange(len(features)) if frames is None else frames
            _check_lengths(features, frames, timeline, job)
    except Exception as error:
        lost = _count(timeline, job) or _num_labels(name, file, job)
        job.tally.fail(key, readable(error), num_samples=lost)
        return
    yield StoredSequence(key, features, frames, timeline)


def _array(name: str, file: Any) -> np.ndarray:
    """An array of an npz, whose header is held against the member's size before it is believed."""
    info = file.zip.NameToInfo.get(name + _SUFFIX) or file.zip.getinfo(name)
    with file.zip.open(info) as member:
        check_claimed(member, info.file_size)
        array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
        return array


def _num_lost(rows: pa.Table | None, shard: Shard, job: UnitContext) -> int | None:
    """Labels of a file that cannot be opened; None where they lie in it or are in seconds."""
    if rows is None or shard.num_labelled is None:
        return shard.num_labelled
    return sum(
        _count(table_timeline(rows, name), job)
        for name in rows["part"].unique().to_pylist()
        if is_in(Owner(shard.key, name).key, job.dataset.fold)
    )


def _check_lengths(
    features: np.ndarray, frames: np.ndarray, timeline: Labels, job: UnitContext
) -> None:
    if len(frames) != len(features):
        raise SampleError(
            "length", f"{len(features)} feature rows, but {len(frames)} frame numbers"
        )
    if job.dataset.labels.arrays is None or not isinstance(timeline, FrameTimeline):
        return
    if len(timeline.frames) not in (0, len(features)):
        raise SampleError(
            "length", f"{len(features)} feature rows, but {len(timeline.frames)} labels"
        )


def _features(values: np.ndarray, dataset: DatasetConfig) -> np.ndarray:
    """(T, D) float32; trailing axes are flattened, and (D, T) is turned where axes say so."""
    if dataset.axes == "DT":
        if values.ndim != 2:
            raise SampleError(
                "array_shape", f"the array has shape {values.shape}; axes DT expects (D, T)"
            )
        values = values.T
    if values.ndim < 2 or values.dtype.kind not in "fiub":
        raise SampleError(
            "array_shape",
            f"the array has shape {values.shape} and type {values.dtype}; expected numbers, T x D",
        )
    return values.reshape(len(values), -1).astype(np.float32, copy=False)


def _array_timeline(name: str, file: Any, job: UnitContext) -> FrameTimeline:
    """Labels from the array beside the features; their frames are those of the features."""
    template = job.dataset.labels.arrays
    beside = fill_template(template or "", name)
    if beside not in file.files:
        return no_labels()
    values = text_values(_array(beside, file))
    if values.ndim != 1:
        raise SampleError("array_shape", f"{beside} has shape {values.shape}; expected (T,)")
    distinct, codes = np.unique(values, return_inverse=True)
    try:
        parsed = [job.classes.parse(value) for value in distinct.tolist()]
    except ValueError as error:
        raise SampleError("label_outside", f"{beside}: {error}") from None
    labels = np.array(parsed, np.int32)[codes]
    frames = _frame_numbers(name, file, job)
    if frames is None:
        frames = np.arange(len(labels))
    if len(frames) != len(labels):
        raise SampleError("length", f"{beside} has {len(labels)} labels for {len(frames)} frames")
    return FrameTimeline(frames, labels)


def _frame_numbers(name: str, file: Any, job: UnitContext) -> np.ndarray | None:
    template = job.dataset.labels.frame_arrays
    beside = fill_template(template, name) if template else ""
    if beside not in file.files:
        return None
    frames = _array(beside, file)
    if frames.ndim != 1 or frames.dtype.kind not in "iu" or len(np.unique(frames)) != len(frames):
        raise SampleError("array_shape", f"{beside}: expected (T,) different whole numbers")
    return frames.astype(np.int64)


def _num_labels(name: str, file: Any, job: UnitContext) -> int:
    """Labels beside an array, where they could not be read: by the headers, or at least one."""
    template = job.dataset.labels.arrays
    beside = fill_template(template, name) if template else ""
    if beside not in file.files:
        return 0
    axis = -1 if job.dataset.axes == "DT" else 0
    return _length_in_header(beside, file, 0) or _length_in_header(name, file, axis) or 1


def _length_in_header(name: str, file: Any, axis: int) -> int:
    try:
        with file.zip.open(f"{name}.npy") as stream:
            check_claimed(stream, file.zip.getinfo(f"{name}.npy").file_size)
            version = np.lib.format.read_magic(stream)
            return int(_READ_NPY_HEADER[version](stream)[0][axis])
    except Exception:  # whatever a damaged file makes of it
        return 0


def _count(timeline: Labels, job: UnitContext) -> int:
    return timeline.count(0, job.dataset.clip.every, 0.0, job.dataset.frame_s)
