"""One feature sequence of a file of arrays, with its labels."""

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ray_audit.config import DatasetConfig
from ray_audit.errors import SampleError
from ray_audit.formats.array_changes import companion_array
from ray_audit.formats.array_files import (
    ArrayFile,
)
from ray_audit.formats.array_labels import flat_labels
from ray_audit.formats.base import StoredSequence
from ray_audit.formats.damage import readable
from ray_audit.formats.job import UnitContext
from ray_audit.formats.labels.cells import label_of
from ray_audit.formats.labels.classes import named_otherwise
from ray_audit.formats.labels.timeline import (
    FrameTimeline,
    Labels,
    no_labels,
    table_timeline,
)
from ray_audit.sample_ids import Owner
from ray_audit.samples import IGNORE, Shard


def read_sequence(
    shard: Shard, name: str, file: ArrayFile, timeline: Labels, job: UnitContext
) -> Iterator[StoredSequence]:
    """One sequence; what cannot be read is recorded in the job's tally."""
    key, stage = Owner(shard.key, name).key, "labels"
    try:
        with job.tally.timed():
            if job.dataset.labels.arrays is not None:
                timeline = no_labels()
                timeline = array_timeline(name, file, job)
            frames = _frame_numbers(name, file, job)
            stage = "decode"
            features = features_of(file.array(name), job.dataset)
            stage = "labels"
            frames = np.arange(len(features)) if frames is None else frames
            _check_lengths(features, frames, name, file, job)
    except Exception as error:
        lost = count_labels(timeline, job) or _num_labels(name, file, job)
        job.tally.fail(key, readable(error), stage=stage, num_samples=lost)
        return
    yield StoredSequence(key, features, frames, timeline)


def num_of_fold(rows: pa.Table | None, shard: Shard, job: UnitContext) -> int | None:
    """Labels of the fold in a file that cannot be opened; None where they lie in it.

    Or where they are in seconds.
    """
    if rows is None or shard.num_labelled is None:
        return None
    return sum(
        count_labels(table_timeline(rows, name), job)
        for name in rows["part"].unique().to_pylist()
        if job.takes(Owner(shard.key, name))
    )


def _check_lengths(
    features: np.ndarray, frames: np.ndarray, name: str, file: ArrayFile, job: UnitContext
) -> None:
    if len(frames) != len(features):
        raise SampleError(
            "length", f"{len(features)} feature rows, but {len(frames)} frame numbers"
        )
    template = job.dataset.labels.arrays
    label_array = companion_array(template, name, job.dataset.labels) if template else ""
    if label_array not in file.names:
        return
    num_labels = math.prod(file.shape(label_array))  # flat, but for axes of 1
    if num_labels not in (0, len(features)):
        raise SampleError("length", f"{len(features)} feature rows, but {num_labels} labels")


def features_of(values: np.ndarray, dataset: DatasetConfig) -> np.ndarray:
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


def array_timeline(name: str, file: ArrayFile, job: UnitContext) -> FrameTimeline:
    """Labels from the array beside the features; their frames are those of the features.

    Of a frame whose label is NaN there is no label.
    """
    template = job.dataset.labels.arrays
    label_array = companion_array(template or "", name, job.dataset.labels)
    if label_array not in file.names:
        return no_labels()
    wrong = named_otherwise(file.class_names(label_array), job.dataset, label_array)
    if wrong is not None:
        raise wrong
    values = flat_labels(file.array(label_array), label_array)
    distinct, codes = np.unique(values, return_inverse=True)
    stored = [label_of(value) for value in distinct.tolist()]
    try:
        parsed = [IGNORE if label is None else job.classes.parse(label) for label in stored]
    except ValueError as error:
        raise SampleError("label_outside", f"{label_array}: {error}") from None
    labels = np.array(parsed, np.int32)[codes]
    is_there = np.array([label is not None for label in stored], bool)[codes]
    frames = _frame_numbers(name, file, job)
    if frames is None:
        frames = np.arange(len(labels))
    if len(frames) != len(labels):
        raise SampleError(
            "length", f"{label_array} has {len(labels)} labels for {len(frames)} frames"
        )
    return FrameTimeline(frames[is_there], labels[is_there])


def _frame_numbers(name: str, file: ArrayFile, job: UnitContext) -> np.ndarray | None:
    template = job.dataset.labels.frame_arrays
    frame_array = companion_array(template, name, job.dataset.labels) if template else ""
    if frame_array not in file.names:
        return None
    frames = flat_labels(file.array(frame_array), frame_array)
    if frames.ndim != 1 or frames.dtype.kind not in "iu" or len(np.unique(frames)) != len(frames):
        raise SampleError("array_shape", f"{frame_array}: expected (T,) different whole numbers")
    return frames.astype(np.int64)


def _num_labels(name: str, file: ArrayFile, job: UnitContext) -> int:
    """Labels beside an array, where they could not be read: by the headers, or at least one."""
    template = job.dataset.labels.arrays
    label_array = companion_array(template, name, job.dataset.labels) if template else ""
    if label_array not in file.names:
        return 0
    axis = -1 if job.dataset.axes == "DT" else 0
    return _length(label_array, file, 0) or _length(name, file, axis) or 1


def _length(name: str, file: ArrayFile, axis: int) -> int:
    try:
        return file.shape(name)[axis]
    except Exception:  # whatever a damaged file makes of it
        return 0


def count_labels(timeline: Labels, job: UnitContext) -> int:
    """Labels of a sequence that is lost."""
    return timeline.count(0, job.dataset.clip.every, 0.0, job.dataset.frame_s)
