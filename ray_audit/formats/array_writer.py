"""Label arrays of npz files: the file is rewritten, its other arrays are copied."""

import zipfile
from typing import Any

import numpy as np

from ray_audit import storage
from ray_audit.config import LabelsConfig
from ray_audit.errors import LabelError
from ray_audit.formats.arrays import check_inflated, feature_names
from ray_audit.formats.changes import FrameChange, LabelChanges
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.names import fill_template
from ray_audit.formats.labels.relabel import is_label, relabelled
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

_COPY_BYTES = 2**20
_SUFFIX = ".npy"


def write_arrays(
    shard: Shard,
    labels: LabelsConfig,
    classes: ClassNames,
    changes: LabelChanges,
    to_uri: str,
    left_out: dict[str, str],
) -> int:
    """Rewrite an npz file member by member.

    Label arrays keep their type; text gets longer where a new name needs it.

    Returns:
        How many new labels were written.

    Raises:
        LabelError: an array cannot hold a new label.
        SampleError, ValueError, OSError, zipfile.BadZipFile: the file is damaged, or a bomb.
    """
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
