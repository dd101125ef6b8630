"""Labels whose numbers may count otherwise than the specification says: frames, ends, classes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np

from ray_audit.config import DatasetConfig
from ray_audit.engine.planning.plan import Inputs
from ray_audit.errors import RayAuditError, SpecificationError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.labels.timeline import FrameTimeline, SegmentTimeline, shard_timeline
from ray_audit.formats.registry import known_format
from ray_audit.formats.show import promised_frames
from ray_audit.formats.stacks.open_stack import MaskedFrames, open_stack
from ray_audit.formats.stacks.pattern import has_star
from ray_audit.formats.video.stills import is_folder
from ray_audit.samples import Shard

_NUM_SPREAD = 8
_NUM_STACKS = 3  # of masks, which are opened
_FEWEST_RATES = 3
_LEAST_JOINTS = 0.3
_FEWEST_COVERED = 0.1
_NEAR_ALL = 0.03
_SAME_RATIO = 0.005


def time_notes(inputs: Inputs, index_uri: str) -> list[str]:
    """What the first frames and the joints of segments tell, in a few videos or sequences.

    Args:
        inputs: what is audited.
        index_uri: folder of the label index.
    """
    dataset = inputs.config.dataset
    if dataset.kind == "video" and dataset.labels.masks is not None:
        return _mask_notes(inputs.listing.shards, dataset)
    if dataset.labels.form not in ("frames", "segments"):
        return []
    shards = [s for s in inputs.listing.shards if not known_format(s.key).holds_several]
    pairs = list(_timelines(shards, dataset, index_uri))
    timelines = [timeline for _, timeline in pairs]
    frames = [timeline for timeline in timelines if isinstance(timeline, FrameTimeline)]
    segments = [
        timeline
        for timeline in timelines
        if isinstance(timeline, SegmentTimeline) and not timeline.in_seconds
    ]
    return [*_first_frames(frames, dataset), *_joints(segments, dataset), *_rates(pairs, dataset)]


def amounts_in_time(inputs: Inputs, index_uri: str) -> tuple[dict[int, int], int]:
    """Labels of whole files, a few of them, where labels are along time.

    Args:
        inputs: what is audited.
        index_uri: folder of the label index.

    Returns:
        Frames or milliseconds of each class and of `IGNORE`; the number of files.
    """
    dataset = inputs.config.dataset
    if dataset.labels.form not in ("frames", "segments"):
        return {}, 0
    shards = [s for s in inputs.listing.shards if not known_format(s.key).holds_several]
    timelines = [timeline for _, timeline in _timelines(shards, dataset, index_uri)]
    total = Counter[int]()
    for timeline in timelines:
        total.update(timeline.amounts())
    return dict(total), len(timelines)


def _timelines(
    shards: Sequence[Shard], dataset: DatasetConfig, index_uri: str
) -> Iterator[tuple[Shard, FrameTimeline | SegmentTimeline]]:
    labelled = [shard for shard in shards if shard.label_digest]
    places = dict.fromkeys(np.linspace(0, len(labelled) - 1, _NUM_SPREAD).astype(int).tolist())
    for place in places if labelled else ():
        with suppress(RayAuditError):  # the run counts it
            yield labelled[place], shard_timeline(labelled[place], dataset, index_uri)


def _first_frames(timelines: Sequence[FrameTimeline], dataset: DatasetConfig) -> Iterator[str]:
    firsts = [int(timeline.frames[0]) for timeline in timelines if len(timeline.frames) > 1]
    num_of_1 = firsts.count(1)
    begins = bool(firsts) and min(firsts) == 1 and 2 * num_of_1 >= len(firsts)
    if begins and dataset.labels.first_frame == 0:
        of = "all" if num_of_1 == len(firsts) else f"{num_of_1} of"
        yield (
            f"labels begin at frame 1 in {of} {len(firsts)} files looked at, and frame 0 has none: "
            "where numbers count from 1, give labels.first_frame: 1, else each label is that of "
            "the frame before"
        )


def _mask_notes(shards: Sequence[Shard], dataset: DatasetConfig) -> list[str]:
    """What the numbers of masks tell in a few videos: where they begin, and how many there are."""
    labelled = [shard for shard in shards if shard.label_uri is not None]
    places = np.linspace(0, len(labelled) - 1, _NUM_STACKS).astype(int).tolist()
    numbered, notes = list[FrameTimeline](), list[str]()
    for shard in [labelled[place] for place in dict.fromkeys(places)] if labelled else ():
        with suppress(RayAuditError, OSError, ValueError):  # the run counts it
            with open_stack(shard, dataset, UnitAccounting("labels")) as stack:
                masked = MaskedFrames(stack.frames)
            if has_star(str(shard.label_uri)):
                numbered.append(masked)
            elif not is_folder(shard.uri):
                notes += _too_few(shard, len(masked.frames))
    return [*_first_frames(numbered, dataset), *notes[:1]]


def _too_few(shard: Shard, num_masks: int) -> Iterator[str]:
    """A file of masks without numbers that holds fewer than the video has frames."""
    num_frames = promised_frames(shard.uri, shard.size_bytes, by_duration=True)
    if num_frames and num_masks + 1 < num_frames * (1 - _NEAR_ALL):
        yield (
            f"{shard.label_uri} holds {num_masks} masks, and {shard.key} has about {num_frames} "
            f"frames: they are taken for the first {num_masks}. Where they are those of other "
            "frames, save each in a file with its frame's number (labels.masks: masks/{stem}/*.png)"
        )


def _joints(timelines: Sequence[SegmentTimeline], dataset: DatasetConfig) -> Iterator[str]:
    gaps = [
        timeline.starts[1:] - timeline.ends[:-1]
        for timeline in timelines
        if len(timeline.starts) > 1
    ]
    every = np.concatenate(gaps) if gaps else np.zeros(0)
    num, num_of_1 = len(every), int((every == 1).sum())
    # Where ends are exclusive, some segments touch; unlabelled parts make wider gaps in both.
    is_told = num_of_1 > 0 and every.min() == 1 and num_of_1 >= _LEAST_JOINTS * num
    if is_told and dataset.labels.ends == "exclusive":
        of = "all" if num_of_1 == num else f"{num_of_1} of"
        yield (
            f"between {of} {num} pairs of segments looked at lies exactly one frame without a "
            "label: where end_frame is the last frame of a segment, give labels.ends: inclusive"
        )


def _rates(
    pairs: Sequence[tuple[Shard, FrameTimeline | SegmentTimeline]], dataset: DatasetConfig
) -> Iterator[str]:
    """Labels that end at the same fraction of each video: they may be on another rate's clock.

    Raises:
        SpecificationError: they end within the first tenth of every video.
    """
    if dataset.kind != "video" or dataset.labels.fps is not None or dataset.episodes is not None:
        return
    ratios = []
    for shard, timeline in pairs:
        num = None if is_folder(shard.uri) else promised_frames(shard.uri, shard.size_bytes)
        if num and not timeline.in_seconds and (end := timeline.end()):
            ratios.append(end / num)
    if ratios and max(ratios) < _FEWEST_COVERED:
        raise SpecificationError(
            f"labels end within the first {max(ratios):.1%} of the frames of all {len(ratios)} "
            "video(s) looked at: they seem to count on a clock of their own. Give labels.fps, "
            "their rate (1 where they count seconds); the videos' own rate, where so little is "
            "labelled indeed"
        )
    if len(ratios) < _FEWEST_RATES or max(ratios) > 1 - _NEAR_ALL:
        return
    if max(ratios) - min(ratios) <= _SAME_RATIO * max(ratios):
        yield (
            f"labels end at {np.mean(ratios):.1%} of the frames in all {len(ratios)} videos looked "
            "at: where videos were encoded anew at another rate than the labels were made at, "
            "give labels.fps, the rate of the labels; the frames behind them have no label"
        )


def class_notes(inputs: Inputs, found: Sequence[str], num_looked_at: int) -> Iterator[str]:
    """Classes without a label, where that is a sign of numbers that count from 1.

    Args:
        inputs: what is audited.
        found: classes that samples looked at have.
        num_looked_at: how many.

    Raises:
        SpecificationError: the first class has no label, and the number behind the last is void.
    """
    dataset = inputs.config.dataset
    labels, classes = dataset.labels, dataset.classes
    if labels.values is not None or labels.first_value is not None or labels.folder:
        return
    per_shard = [shard.class_index for shard in inputs.listing.shards]
    if labels.form in ("images", "videos") and any(
        class_index is not None for class_index in per_shard
    ):
        found = [
            classes[class_index]
            for class_index in per_shard
            if class_index is not None and class_index >= 0
        ]
        num_looked_at = len(found)
    if not found or classes[0] in found or len(classes) < 2 or num_looked_at < 2:
        return
    if str(len(classes)) in map(str, dataset.void):
        raise SpecificationError(
            f"dataset.void has {len(classes)}, the number behind the last of {len(classes)} "
            f"classes, and the first one, {classes[0]!r}, has no label in {num_looked_at} samples: "
            "the files count from 1. Give labels.first_value: 1, and void as it is stored"
        )
    yield (
        f"class {classes[0]!r} has no label in the {num_looked_at} samples looked at: where the "
        "labels are numbers that count from 1, give labels.first_value: 1"
    )
