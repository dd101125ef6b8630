"""Feature sequences from .npy and .npz files."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ray_audit.cuts.batching import Cut
from ray_audit.cuts.clips import Frame
from ray_audit.cuts.frames import filter_frame, frame_cuts
from ray_audit.cuts.timeline import (
    FrameTimeline,
    SegmentTimeline,
    no_labels,
    table_timeline,
    timeline_of,
)
from ray_audit.errors import SampleError
from ray_audit.folds import is_in
from ray_audit.formats.arrays import check_claimed, feature_names, opened_npz, text_values
from ray_audit.formats.job import UnitContext
from ray_audit.formats.labels.index import index_rows
from ray_audit.formats.labels.names import fill_template
from ray_audit.formats.registry import known_format
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

Labels = FrameTimeline | SegmentTimeline


def cut_sequences(shard: Shard, job: UnitContext) -> Iterator[Cut]:
    """Clips of every sequence in the file; what cannot be read is recorded in the job's tally."""
    if known_format(shard.key).holds_several:
        yield from _cut_npz(shard, job)
        return
    timeline = timeline_of(shard, job)
    if timeline is None:
        return
    try:
        with job.tally.timed(), job.tally.open_read(shard.uri, shard.size_bytes) as stream:
            check_claimed(stream, shard.size_bytes)
            features = _features(np.lib.format.read_array(stream, allow_pickle=False))
    except Exception as error:
        job.tally.fail(shard.key, readable(error), num_samples=_count(timeline, job))
        return
    yield from _cut_sequence(shard.key, features, np.arange(len(features)), timeline, job)


def _cut_npz(shard: Shard, job: UnitContext) -> Iterator[Cut]:
    rows = index_rows(shard, job.index_uri) if job.dataset.labels.arrays is None else None
    try:
        with (
            job.tally.open_read(shard.uri, shard.size_bytes) as stream,
            opened_npz(stream) as file,
        ):
            for name in feature_names(file.files, job.dataset.labels):
                if not is_in(Owner(shard.key, name).key, job.dataset.fold):
                    continue
                timeline = no_labels() if rows is None else table_timeline(rows, name)
                yield from _cut_member(shard, name, file, timeline, job)
    except Exception as error:
        job.tally.fail(shard.key, readable(error), num_samples=_num_lost(rows, shard, job))


def _num_lost(rows: pa.Table | None, shard: Shard, job: UnitContext) -> int | None:
    """Labels of a file that cannot be opened; None where they lie in it or are in seconds."""
    if rows is None or shard.num_labelled is None:
        return shard.num_labelled
    return sum(
        _count(table_timeline(rows, name), job)
        for name in rows["part"].unique().to_pylist()
        if is_in(Owner(shard.key, name).key, job.dataset.fold)
    )


def _cut_member(
    shard: Shard, name: str, file: Any, timeline: Labels, job: UnitContext
) -> Iterator[Cut]:
    key = Owner(shard.key, name).key
    try:
        with job.tally.timed():
            if job.dataset.labels.arrays is not None:
                timeline = no_labels()
                timeline = array_timeline(name, file, job)
            frames = _frame_numbers(name, file, job)
            features = _features(file[name])
            frames = np.arange(len(features)) if frames is None else frames
            _check_lengths(features, frames, timeline, job)
    except Exception as error:
        lost = _count(timeline, job) or _num_labels(name, file, job)
        job.tally.fail(key, readable(error), num_samples=lost)
        return
    yield from _cut_sequence(key, features, frames, timeline, job)


def _cut_sequence(
    key: str, features: np.ndarray, frames: np.ndarray, timeline: Labels, job: UnitContext
) -> Iterator[Cut]:
    job.tally.num_decoded += len(features)
    every, frame_s = job.dataset.clip.every, job.dataset.frame_s

    def sampled() -> Iterator[Frame]:
        for position, frame in enumerate(frames.tolist()):
            label = timeline.label(frame, (frame + 0.5) * frame_s)
            filter_frame(job.tally, key, frame, label, position % every == 0)
            if position % every == 0:
                yield Frame(frame, None, label, features[position])

    yield from frame_cuts(key, sampled(), job.dataset.clip, job.classes.target_dtype)
    num_missing, num_lost = _count_outside(timeline, frames, every, frame_s)
    if num_missing:
        error = SampleError(
            "label_without_frame",
            f"{num_missing} labels stand for frames that the sequence of {len(frames)} frames "
            "does not have; check that labels and file belong together",
        )
        job.tally.fail(key, error, stage="labels", num_samples=num_lost)


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


def _features(values: np.ndarray) -> np.ndarray:
    """(T, D) float32; trailing axes are flattened."""
    if values.ndim < 2 or values.dtype.kind not in "fiub":
        raise SampleError(
            "array_shape",
            f"the array has shape {values.shape} and type {values.dtype}; expected numbers, T x D",
        )
    return values.reshape(len(values), -1).astype(np.float32, copy=False)


def array_timeline(name: str, file: Any, job: UnitContext) -> FrameTimeline:
    """Labels from the array beside the features; their frames are those of the features."""
    template = job.dataset.labels.arrays
    beside = fill_template(template or "", name)
    if beside not in file.files:
        return no_labels()
    values = text_values(np.asarray(file[beside]))
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
    frames = np.asarray(file[beside])
    if frames.ndim != 1 or frames.dtype.kind not in "iu" or len(np.unique(frames)) != len(frames):
        raise SampleError("array_shape", f"{beside}: expected (T,) different whole numbers")
    return frames.astype(np.int64)


def _num_labels(name: str, file: Any, job: UnitContext) -> int:
    """Labels beside an array, where they could not be read: by the headers, or at least one."""
    template = job.dataset.labels.arrays
    beside = fill_template(template, name) if template else ""
    if beside not in file.files:
        return 0
    return _length_in_header(beside, file) or _length_in_header(name, file) or 1


def _length_in_header(name: str, file: Any) -> int:
    try:
        with file.zip.open(f"{name}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0
            if version > (1, 0):
                read = np.lib.format.read_array_header_2_0
            return int(read(stream)[0][0])
    except Exception:  # whatever a damaged file makes of it
        return 0


def _count(timeline: Labels, job: UnitContext) -> int:
    return timeline.count(0, job.dataset.clip.every, 0.0, job.dataset.frame_s)


def _count_outside(
    timeline: Labels, frames: np.ndarray, every: int, frame_s: float
) -> tuple[int, int]:
    """Labels of frames that a sequence does not have, and how many of them are sampled."""
    end = int(frames.max()) + 1 if len(frames) else 0
    if isinstance(timeline, FrameTimeline):
        outside = timeline.labelled(0)[~np.isin(timeline.labelled(0), frames)]
        if end == len(frames):
            return len(outside), int((outside % every == 0).sum())
        # Frames with numbers of their own are sampled by their place: one in `every`.
        return len(outside), -(-len(outside) // every)
    end_s = end * frame_s
    behind = timeline.without_overrun(end_s)
    num_outside = behind.count(end, 1, end_s, frame_s)
    return num_outside, behind.count(end, every, end_s, frame_s)


def readable(error: Exception) -> Exception:
    """Say what to do about an array that only a pickle could give."""
    if "pickle" in str(error).lower():
        return SampleError(
            "pickle",
            "the array holds Python objects, which only code in the file could restore; "
            "save it as numbers",
        )
    return error
