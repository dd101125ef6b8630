"""Feature sequences to cuts."""

from collections.abc import Iterator

import numpy as np

from ray_audit.cuts.batching import Cut
from ray_audit.cuts.frame_cuts import frame_cuts
from ray_audit.errors import SampleError
from ray_audit.formats.base import Frame, StoredSequence
from ray_audit.formats.job import UnitContext
from ray_audit.formats.labels.timeline import FrameTimeline, Labels
from ray_audit.formats.registry import known_format
from ray_audit.samples import Shard

_FEW_ROWS = 16


def cut_sequences(shard: Shard, job: UnitContext) -> Iterator[Cut]:
    """Clips of every sequence in the file; what cannot be read is recorded in the job's tally."""
    for sequence in known_format(shard.key).sequences(shard, job):
        yield from _cut_sequence(sequence, job)


def _cut_sequence(sequence: StoredSequence, job: UnitContext) -> Iterator[Cut]:
    key, features, frames, timeline = sequence
    job.tally.num_decoded += len(features)
    every, frame_s = job.dataset.clip.every, job.dataset.frame_s

    def sampled() -> Iterator[Frame]:
        for position, frame in enumerate(frames.tolist()):
            label = timeline.label(frame, (frame + 0.5) * frame_s)
            job.tally.filter_frame(key, frame, label, position % every == 0)
            if position % every == 0:
                yield Frame(frame, None, label, features[position])

    yield from frame_cuts(key, sampled(), job.dataset.clip, job.classes.target_dtype)
    num_missing, num_lost = _count_outside(timeline, frames, every, frame_s)
    if num_missing and _runs_on(num_missing, timeline, len(frames), job):
        job.tally.remark("labels_cut", key)
    elif num_missing:
        error = SampleError(
            "label_without_frame",
            f"{num_missing} labels stand for frames that the sequence of {len(frames)} frames "
            "does not have; check that labels and file belong together",
        )
        job.tally.fail(key, error, stage="labels", num_samples=num_lost)


def _runs_on(num_missing: int, timeline: Labels, num_frames: int, job: UnitContext) -> bool:
    """Whether labels that are rows in order only run on behind the end, by a few rows.

    Feature extractors leave out what no window fits; the loaders of MS-TCN cut such labels.
    """
    labels = job.dataset.labels
    is_by_row = bool(labels.header) and labels.columns.frame not in (labels.header or ())
    if labels.form != "frames" or not is_by_row or not isinstance(timeline, FrameTimeline):
        return False
    behind = len(timeline.frames) - num_frames
    few = max(min(_FEW_ROWS, num_frames // 10), num_frames // 100)
    return num_missing <= behind <= few


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
