"""From frames with labels to clips and sample rows; videos and sequences share it."""

from collections.abc import Iterable, Iterator

import numpy as np

from ray_audit.config import ClipConfig
from ray_audit.cuts.batching import Cut, SampleRow
from ray_audit.cuts.clips import Clip, Stretch, stream_clips
from ray_audit.cuts.stacking import stacked
from ray_audit.formats.base import Frame
from ray_audit.sample_ids import frame_id
from ray_audit.samples import IGNORE


def frame_cuts(
    shard: str,
    frames: Iterable[Frame],
    clip: ClipConfig,
    target_dtype: np.dtype,
    stretch: Stretch | None = None,
) -> Iterator[Cut]:
    """Clips with a target per frame; a clip that owns no labelled frame is not sent.

    Args:
        shard: value of the shard column.
        frames: sampled frames in order.
        clip: lengths in sampled frames.
        target_dtype: signed integer type of the targets.
        stretch: which part of a sequence the frames are; None for all of it.
    """
    for stream_clip in stream_clips(frames, clip.frames, clip.step, stretch):
        rows = tuple(
            _row(shard, stream_clip, position)
            for position in stream_clip.owned
            if _has(stream_clip, position)
        )
        if rows:
            labels = [IGNORE if f.label is None else f.label for f in stream_clip.frames]
            yield _cut(stream_clip, np.array(labels, target_dtype), rows, clip)


def clips_of_one_label(
    shard: str, class_index: int, frames: Iterable[Frame], clip: ClipConfig, target_dtype: np.dtype
) -> Iterator[Cut]:
    """Clips of a video that has one label."""
    for stream_clip in stream_clips(frames, clip.frames, clip.step):
        # How many clips there will be is not known while the video is being decoded.
        row = SampleRow(sample_id=shard, shard=shard, label=class_index)
        yield _cut(stream_clip, np.array(class_index, target_dtype), (row,), clip)


def _has(clip: Clip, position: int) -> bool:
    label = clip.frames[position].label
    return label is not None and label != IGNORE


def _row(shard: str, clip: Clip, position: int) -> SampleRow:
    frame = clip.frames[position]
    return SampleRow(
        sample_id=frame_id(shard, frame.frame_index),
        shard=shard,
        frame_index=frame.frame_index,
        pts_s=frame.pts_s,
        label=frame.label,
        position=position,
    )


def _cut(clip: Clip, targets: np.ndarray, rows: tuple[SampleRow, ...], config: ClipConfig) -> Cut:
    inputs = stacked([frame.values for frame in clip.frames])
    alone = config.frames is None or len(clip.frames) < config.frames
    return Cut(inputs, targets, rows, alone=alone)
