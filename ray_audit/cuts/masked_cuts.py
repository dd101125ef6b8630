"""Frames of a video with their masks to cuts: images by themselves, or clips."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ray_audit.config import ClipConfig
from ray_audit.cuts.batching import Cut, SampleRow
from ray_audit.cuts.clips import Clip, stream_clips
from ray_audit.cuts.tiles import LabelledImage, tile_cuts, whole_cut
from ray_audit.errors import SampleError
from ray_audit.formats.base import Frame, FrameReader
from ray_audit.formats.job import UnitContext
from ray_audit.formats.pixels.encoding import targets_of
from ray_audit.formats.stacks.base import MaskStack
from ray_audit.sample_ids import frame_id
from ray_audit.samples import IGNORE


@dataclass(frozen=True)
class _MaskedFrame(Frame):
    """A frame with its mask.

    Attributes:
        mask: (H, W) or (H, W, 3) as stored; None where there is none.
        targets: (H, W) class indices with `IGNORE`; None where it is no sample.
    """

    mask: np.ndarray | None = None
    targets: np.ndarray | None = None


def masked_cuts(
    shard: str, reader: FrameReader, masks: MaskStack | None, job: UnitContext
) -> Iterator[Cut]:
    """Cuts of the frames that have a mask; a mask that cannot be read is a failure of its frame.

    Args:
        shard: value of the shard column.
        reader: of the video.
        masks: of it; None where it has none.
        job: the dataset, and the tally that takes what is no sample.
    """
    frames = _with_masks(shard, reader, masks, job)
    clip = job.dataset.clip
    if job.dataset.is_by_frame:
        for frame in frames:
            if frame.targets is not None:
                yield from _image_cuts(shard, frame, job)
        return
    for stream_clip in stream_clips(frames, clip.frames, clip.step):
        cut = _clip_cut(shard, stream_clip, reader.frame_size, clip, job.classes.target_dtype)
        if cut is not None:
            yield cut


def _with_masks(
    shard: str, reader: FrameReader, masks: MaskStack | None, job: UnitContext
) -> Iterator[_MaskedFrame]:
    for frame in reader.frames():
        found: tuple[np.ndarray, np.ndarray] | None = None
        if frame.label is not None and masks is not None:
            sample_id = frame_id(shard, frame.frame_index)
            try:
                with job.tally.timed():
                    found = _mask_of(frame, masks, reader.frame_size, job)
            except Exception as error:  # a damaged mask raises whatever its reader does
                job.tally.fail(shard, error, sample_id=sample_id, stage="labels")
            if found is not None and (found[1] == IGNORE).all():
                job.tally.filter(sample_id, shard, frame.frame_index, "void")
                found = None
        mask, targets = (None, None) if found is None else found
        yield _MaskedFrame(**vars(frame), mask=mask, targets=targets)


def _mask_of(
    frame: Frame, masks: MaskStack, size: tuple[int, ...], job: UnitContext
) -> tuple[np.ndarray, np.ndarray]:
    mask = masks.mask(frame.frame_index)
    if mask.shape[:2] != size:
        is_turned = job.dataset.kind == "video" and mask.shape[:2] == size[::-1]
        turned = "; dataset.orientation says whether frames are turned as players do"
        raise SampleError(
            "mask_size",
            f"the mask of frame {frame.frame_index} is {mask.shape[0]} x {mask.shape[1]} px, the "
            f"frame {size[0]} x {size[1]} px (height x width); expected the same"
            f"{turned if is_turned else ''}",
        )
    return mask, targets_of(mask, job.classes)


def _image_cuts(shard: str, frame: _MaskedFrame, job: UnitContext) -> Iterator[Cut]:
    assert frame.mask is not None
    assert frame.targets is not None
    image = LabelledImage(
        frame_id(shard, frame.frame_index),
        shard,
        frame.values.transpose(1, 2, 0),
        frame.mask,
        frame.targets,
        frame.frame_index,
        frame.pts_s,
    )
    if job.dataset.tile is None:
        yield whole_cut(image, job.size)
    else:
        yield from tile_cuts(image, job.dataset.tile, job.size)


def _clip_cut(
    shard: str, clip: Clip, size: tuple[int, ...], config: ClipConfig, dtype: np.dtype
) -> Cut | None:
    """A clip with a mask for each frame, of which those that are no samples are void."""
    targets = np.full((len(clip.frames), *size), IGNORE, dtype)
    rows = []
    for position, frame in enumerate(clip.frames):
        assert isinstance(frame, _MaskedFrame)
        if frame.targets is None:
            continue
        targets[position] = frame.targets
        if position in clip.owned:
            num_labelled = int((frame.targets != IGNORE).sum())
            rows.append(_row(shard, frame, position, num_labelled))
    if not rows:
        return None
    inputs = np.stack([frame.values for frame in clip.frames])
    alone = config.frames is None or len(clip.frames) < config.frames
    return Cut(inputs, targets, tuple(rows), alone=alone)


def _row(shard: str, frame: Frame, position: int, num_labelled: int) -> SampleRow:
    return SampleRow(
        frame_id(shard, frame.frame_index),
        shard,
        frame.frame_index,
        frame.pts_s,
        position=position,
        num_labelled=num_labelled,
        sample_num_labelled=num_labelled,
    )
