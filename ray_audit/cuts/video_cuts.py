"""Videos with labels by frame, by segment, by video or in masks, to cuts."""

from collections.abc import Iterator
from contextlib import nullcontext

from ray_audit.cuts.batching import Cut
from ray_audit.cuts.clips import Stretch
from ray_audit.cuts.frame_cuts import clips_of_one_label, frame_cuts
from ray_audit.cuts.masked_cuts import masked_cuts
from ray_audit.formats.job import UnitContext
from ray_audit.formats.labels.timeline import timeline_of
from ray_audit.formats.registry import known_format
from ray_audit.formats.stacks.open_stack import MaskedFrames, open_stack
from ray_audit.samples import IGNORE, Shard, Slice
from ray_audit.task import Task


def cut_video(shard: Shard, job: UnitContext) -> Iterator[Cut]:
    """Clips of one video; what cannot be decoded is recorded in the job's tally."""
    if job.dataset.task is Task.CLIPS:
        yield from _cut_labelled_video(shard, job)
        return
    if job.dataset.labels.form == "masks":
        yield from _cut_masked_video(shard, job)
        return
    timeline = timeline_of(shard, job)
    if timeline is None:
        return
    reader = known_format(shard.key).frames(shard, job, timeline)
    clip, part = job.dataset.clip, job.part
    stretch = None if part is None else stretch_of(part, clip.every)
    yield from frame_cuts(shard.key, reader.frames(), clip, job.classes.target_dtype, stretch)
    reader.report_lost()


def _cut_labelled_video(shard: Shard, job: UnitContext) -> Iterator[Cut]:
    if shard.class_index is None or shard.class_index == IGNORE:
        reason = "unlabelled" if shard.class_index is None else "void"
        job.tally.filter(shard.key, shard.key, None, reason)
        return
    reader = known_format(shard.key).frames(shard, job, None)
    yield from clips_of_one_label(
        shard.key,
        shard.class_index,
        reader.frames(),
        job.dataset.clip,
        job.classes.target_dtype,
    )
    reader.report_lost()


def _cut_masked_video(shard: Shard, job: UnitContext) -> Iterator[Cut]:
    if shard.label_uri is None or not shard.label_digest:
        masks, frames = None, MaskedFrames(())
    else:
        try:
            masks = open_stack(shard, job.dataset, job.tally)
        except Exception as error:  # of a file that is no mask stack: whatever its library raises
            job.tally.fail(shard.key, error, stage="labels", num_samples=shard.num_labelled)
            return
        frames = MaskedFrames(masks.frames)
    with nullcontext() if masks is None else masks:
        reader = known_format(shard.key).frames(shard, job, frames)
        yield from masked_cuts(shard.key, reader, masks, job)
        reader.report_lost()


def stretch_of(part: Slice, every: int) -> Stretch:
    """The clips of a slice, in sampled frames."""
    own_stop = None if part.is_last else -(-part.own_stop // every)
    return Stretch(part.first_frame // every, part.own_start // every, own_stop)
