"""Feature sequences and images in files of arrays, with labels in a table or in arrays beside."""

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, ClassVar

import numpy as np

from ray_audit import storage
from ray_audit.config import DatasetConfig, LabelsConfig
from ray_audit.formats.array_changes import companion_array, feature_names, label_changes
from ray_audit.formats.array_files import (
    ArrayFile,
    NpzArrays,
    check_claimed,
    check_inflated,
    npz_names,
    opened_mat,
    read_npy,
    same_entry,
)
from ray_audit.formats.array_images import array_items, check_columns, num_rows
from ray_audit.formats.array_labels import flat_labels
from ray_audit.formats.array_sequences import (
    array_timeline,
    count_labels,
    features_of,
    num_of_fold,
    read_sequence,
)
from ray_audit.formats.base import Format, Item, StoredSequence
from ray_audit.formats.damage import readable
from ray_audit.formats.hdf5 import HdfArrays
from ray_audit.formats.job import UnitContext
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.index import index_rows
from ray_audit.formats.labels.timeline import (
    Labels,
    no_labels,
    table_timeline,
    timeline_of,
)
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

_COPY_BYTES = 2**20
_SUFFIX = ".npy"


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
                features = features_of(read_npy(stream, shard.size_bytes), job.dataset)
        except Exception as error:
            job.tally.fail(shard.key, readable(error), num_samples=count_labels(timeline, job))
            return
        yield StoredSequence(shard.key, features, np.arange(len(features)), timeline)


class ArrayFiles(Format):
    """A sequence an array, with arrays of its labels and frames; or images along the first axis."""

    kind = "sequences"
    forms = frozenset({"arrays", "column", "masks"})
    holds_several = True

    @property
    def kinds(self) -> tuple[str, ...]:
        """Arrays hold either."""
        return ("sequences", "images")

    @contextmanager
    def opened(self, stream: IO[bytes], size_bytes: int) -> Iterator[ArrayFile]:
        """The arrays of an open file."""
        raise TypeError(f"{self.name} says not how it is opened")
        yield

    @contextmanager
    def _open(
        self, shard: Shard, open_read: Callable[[str, int], IO[bytes]] = storage.open_read
    ) -> Iterator[ArrayFile]:
        with (
            open_read(shard.uri, shard.size_bytes) as stream,
            self.opened(stream, shard.size_bytes) as file,
        ):
            yield file

    def array_names(self, shard: Shard) -> list[str]:
        """Names of all arrays of a file."""
        with self._open(shard) as file:
            return file.names

    def check(self, shard: Shard, labels: LabelsConfig) -> None:
        """Refuse a first file that lacks an array; a damaged one is found when it is read."""
        if labels.form in ("column", "images", "masks"):
            try:
                found = self.array_names(shard)
            except Exception:  # whatever a damaged file makes of it
                return
            check_columns(shard, found, labels)

    def names(self, shard: Shard, labels: LabelsConfig) -> Iterator[str]:
        """Names of the feature arrays; or of the images, by their number or key."""
        if labels.form not in ("column", "images", "masks"):
            yield from feature_names(self.array_names(shard), labels)
            return
        with self._open(shard) as file:
            if labels.key_column is None:
                yield from map(str, range(num_rows(file, labels)))
            else:
                keys = flat_labels(file.array(labels.key_column), labels.key_column)
                yield from map(str, keys.tolist())

    def class_names(self, shard: Shard, labels: LabelsConfig) -> list[str]:
        """What the first label array's attributes say."""
        with self._open(shard) as file:
            label_arrays = [labels.column] if labels.column else []
            if labels.arrays is not None:
                features = feature_names(file.names, labels)
                label_arrays = [companion_array(labels.arrays, name, labels) for name in features]
            return next((file.class_names(name) for name in label_arrays if name in file.names), [])

    def read(self, shards: tuple[Shard, ...], job: UnitContext) -> Iterator[Item]:
        """Images one by one."""
        (shard,) = shards
        with self._open(shard, job.tally.open_read) as file:
            yield from array_items(shard, file, job)

    def sequences(self, shard: Shard, job: UnitContext) -> Iterator[StoredSequence]:
        """Every sequence of the fold that can be read."""
        rows = index_rows(shard, job.index_uri) if job.dataset.labels.arrays is None else None
        try:
            with self._open(shard, job.tally.open_read) as file:
                for name in feature_names(file.names, job.dataset.labels):
                    if job.takes(Owner(shard.key, name)):
                        timeline = no_labels() if rows is None else table_timeline(rows, name)
                        yield from read_sequence(shard, name, file, timeline, job)
        except Exception as error:
            lost = num_of_fold(rows, shard, job)
            counts = lost is not None or job.counts_lost(shard.key)
            lost = shard.num_labelled if lost is None else lost
            job.tally.fail(shard.key, readable(error), num_samples=lost, counts=counts)

    def timelines(
        self, shard: Shard, job: UnitContext
    ) -> Iterator[tuple[str, Callable[[], Labels]]]:
        """Feature arrays, and what reads the label array of each."""
        with self._open(shard, job.tally.open_read) as file:
            for name in feature_names(file.names, job.dataset.labels):
                yield name, partial(array_timeline, name, file, job)


class NpzFiles(ArrayFiles):
    """Arrays of numpy."""

    name = "npz"
    extensions = ("npz",)

    @contextmanager
    def opened(self, stream: IO[bytes], size_bytes: int) -> Iterator[ArrayFile]:
        """See `ArrayFiles.opened`."""
        yield NpzArrays(stream)

    def array_names(self, shard: Shard) -> list[str]:
        """From the directory alone."""
        with storage.open_read(shard.uri, shard.size_bytes) as stream:
            return npz_names(stream)

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
            # Other arrays are looked up while a member is read: one stream has one position.
            storage.open_read(shard.uri, shard.size_bytes) as second,
            storage.open_write(to_uri) as sink,
            zipfile.ZipFile(source) as old,
            zipfile.ZipFile(sink, "w") as new,
        ):
            check_inflated(old)
            arrays = NpzArrays(second)
            names = [name.removesuffix(_SUFFIX) for name in old.namelist()]
            change_of = label_changes(shard, names, labels, changes)
            for info in old.infolist():
                name = info.filename.removesuffix(_SUFFIX)
                with (
                    old.open(info) as member,
                    new.open(same_entry(info), "w", force_zip64=True) as copy,
                ):
                    if name not in change_of:
                        while chunk := member.read(_COPY_BYTES):
                            copy.write(chunk)
                        continue
                    check_claimed(member, info.file_size)
                    stored = np.lib.format.read_array(member, allow_pickle=False)
                    is_flat = stored.dtype.kind != "S" and labels.form != "masks"
                    values = flat_labels(stored, name) if is_flat else stored
                    changed, written = change_of[name](arrays, values, classes)
                    num_written += written
                    fitted = changed.reshape(stored.shape)
                    np.lib.format.write_array(copy, fitted, allow_pickle=False)
        return num_written


class HdfFiles(ArrayFiles):
    """Datasets of HDF5; what is a group or a link is none."""

    name = "HDF5"
    extensions: ClassVar[tuple[str, ...]] = ("h5", "hdf5", "hdf")

    @contextmanager
    def opened(self, stream: IO[bytes], size_bytes: int) -> Iterator[ArrayFile]:
        """See `ArrayFiles.opened`."""
        file = HdfArrays(stream, size_bytes)
        try:
            yield file
        finally:
            file.close()

    def write(
        self,
        shard: Shard,
        dataset: DatasetConfig,
        changes: LabelChanges,
        to_uri: str,
        left_out: dict[str, str],
    ) -> int:
        """Copy the file, and change labels in the copy; all else stays as it is."""
        classes, num_written = ClassNames.of(dataset), 0
        with tempfile.TemporaryDirectory(prefix="ray-audit-") as folder:
            path = Path(folder) / "copy"
            with storage.open_read(shard.uri, shard.size_bytes) as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy, _COPY_BYTES)
            file = HdfArrays(path, shard.size_bytes, "r+")
            try:
                change_of = label_changes(shard, file.names, dataset.labels, changes)
                for name, change in change_of.items():
                    stored = file.array(name)
                    is_masks = dataset.labels.form == "masks"
                    values = stored if is_masks else flat_labels(stored, name)
                    new, written = change(file, values, classes)
                    if is_masks:
                        file.replace_numbers(name, new)
                    else:
                        file.replace(name, new.tolist())
                    num_written += written
            finally:
                file.close()
            with path.open("rb") as copied, storage.open_write(to_uri) as sink:
                shutil.copyfileobj(copied, sink, _COPY_BYTES)
        return num_written


class MatFiles(HdfFiles):
    """MATLAB's files; only those of 7.3 are written."""

    name = "MATLAB"
    extensions = ("mat",)

    @contextmanager
    def opened(self, stream: IO[bytes], size_bytes: int) -> Iterator[ArrayFile]:
        """See `ArrayFiles.opened`."""
        file = opened_mat(stream, size_bytes)
        try:
            yield file
        finally:
            if isinstance(file, HdfArrays):
                file.close()

    def not_written(self, shard: Shard, labels: LabelsConfig) -> str | None:
        """Why labels of a file of an older version are not written back."""
        if labels.form not in self.forms:
            return None
        with self._open(shard) as file:
            if isinstance(file, HdfArrays):
                return None
        return "it is a MATLAB file from before version 7.3; save it with -v7.3"
