"""Long videos into slices that several tasks decode side by side, with the results of one."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import prod

import numpy as np

from ray_audit.config import ClipConfig, DatasetConfig, InputConfig
from ray_audit.cuts.batching import BatchSize, batch_of_equals, max_cuts
from ray_audit.cuts.geometry import Span, spans
from ray_audit.errors import SampleError
from ray_audit.formats.base import FrameIndex, SliceBounds
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.timeline import shard_timeline
from ray_audit.formats.pixels.resize import pays_off
from ray_audit.formats.registry import known_format
from ray_audit.samples import Shard, Slice
from ray_audit.sources.units import Part
from ray_audit.task import Task

_AUTO_LEAST_BYTES = 64 * 2**20
_AUTO_PX = 6e9  # about a minute of decoding on one core
_AUTO_LEAST_CLIPS = 16
_NUM_THREADS = 8


@dataclass(frozen=True)
class Sliced:
    """The slices of a dataset.

    Attributes:
        parts: for each long video, by shard key, its slices in order, each with the shard and
            the number of labels that the slice owns.
        notes: videos that are long, and stay whole, with the reason.
    """

    parts: dict[str, tuple[Part, ...]]
    notes: tuple[str, ...]


def slice_videos(
    shards: Sequence[Shard],
    dataset: DatasetConfig,
    model_input: InputConfig,
    max_batch: BatchSize,
    index_uri: str,
) -> Sliced:
    """Cut the long videos of a dataset; reads their packet indexes and labels, several at a time.

    Args:
        shards: all of them.
        dataset: `clip.slice_frames` says what is long.
        model_input: as `cut_unit` takes it.
        max_batch: as `cut_unit` takes it.
        index_uri: folder that holds the label index.
    """
    long = [shard for shard in shards if _may_be_long(shard, dataset)]
    cut = partial(_slice_video, dataset, model_input, max_batch, index_uri)
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        outcomes = dict(zip((shard.key for shard in long), pool.map(cut, long), strict=True))
    return Sliced(
        {
            key: outcome
            for key, outcome in outcomes.items()
            if isinstance(outcome, tuple) and outcome
        },
        tuple(
            f"{key} is not sliced: {outcome}"
            for key, outcome in outcomes.items()
            if isinstance(outcome, str)
        ),
    )


def _may_be_long(shard: Shard, dataset: DatasetConfig) -> bool:
    slice_frames = dataset.clip.slice_frames
    # One label per video, or one clip a video: the sample is the whole.
    if dataset.kind != "video" or dataset.task is Task.CLIPS or dataset.clip.frames is None:
        return False
    if dataset.task.is_dense:  # which frames are in a batch is known by their masks only
        return False
    if slice_frames == "auto":
        is_indexed = known_format(shard.key).is_indexed(shard)
        return is_indexed and shard.size_bytes >= _AUTO_LEAST_BYTES
    return slice_frames is not None


def _slice_video(
    dataset: DatasetConfig,
    model_input: InputConfig,
    max_batch: BatchSize,
    index_uri: str,
    shard: Shard,
) -> tuple[Part, ...] | str:
    """The slices of one video, none where it is short, or why it stays whole."""
    try:
        least = 2 * _least_frames(dataset.clip)
        index = known_format(shard.key).frame_index(shard, dataset, least)
        timeline = shard_timeline(shard, dataset, index_uri)
    except Exception as error:
        # A damaged file raises whatever the decoder likes; its decoding will say what is wrong.
        return str(error) or type(error).__name__
    first = index.first
    if first is None:
        return ()
    if dataset.labels.fps is None:
        try:
            timeline.check_clock(index.num_frames, index.frame_s)
        except SampleError as error:
            return str(error)
    labelled = timeline.is_labelled(np.arange(index.num_frames), index.middles_s)
    classes = ClassNames.of(dataset)
    per_batch = clips_per_batch(
        first, dataset.clip, model_input.size, max_batch, classes.target_dtype
    )
    slice_frames = dataset.clip.slice_frames
    num_frames = (
        slice_frames if isinstance(slice_frames, int) else _auto_frames(dataset.clip, first)
    )
    slices = cut_slices(index, labelled, dataset.clip, per_batch, num_frames)
    if slices and not index.begins_at(slices[-1]):
        return "decoding cannot begin at its key frames"
    return tuple(
        (part, replace(shard, num_labelled=num))
        for part, num in zip(slices, _num_labelled(slices, labelled, shard), strict=True)
    )


def _least_frames(clip: ClipConfig) -> int:
    slice_frames = clip.slice_frames
    return slice_frames if isinstance(slice_frames, int) else _AUTO_LEAST_CLIPS * (clip.frames or 1)


def _auto_frames(clip: ClipConfig, first: np.ndarray) -> int:
    """Frames that take about a minute to decode, and many against a slice's halo."""
    least = _AUTO_LEAST_CLIPS * (clip.frames or 1) * clip.every
    return max(least, int(_AUTO_PX / prod(first.shape[:2])))


def clips_per_batch(
    frame: np.ndarray,
    clip: ClipConfig,
    size: tuple[int, int] | None,
    max_batch: BatchSize,
    target_dtype: np.dtype,
) -> int:
    """Clips in each full batch of a video.

    Args:
        frame: (H, W, C), as decoded.
        clip: lengths; `frames` is not None.
        size: height and width of the network input, or None for native.
        max_batch: most clips in a batch.
        target_dtype: of the frames' targets.
    """
    height, width, channels = frame.shape
    itemsize = frame.itemsize
    if size is not None and pays_off(frame.shape, itemsize, size):
        (height, width), itemsize = size, 4
    num_frames = clip.frames or 1
    shape = (num_frames, channels, height, width)
    cut_bytes = prod(shape) * itemsize + num_frames * target_dtype.itemsize
    return batch_of_equals(max_cuts(max_batch, shape, size), cut_bytes)


def cut_slices(
    index: FrameIndex,
    labelled: np.ndarray,
    clip: ClipConfig,
    per_batch: int,
    slice_frames: int,
) -> list[Slice]:
    """Slices of about `slice_frames` frames that hold whole batches of the whole video.

    Args:
        index: of the video.
        labelled: (T,) bool, which frames have a label.
        clip: lengths; `frames` is not None.
        per_batch: clips in each full batch.
        slice_frames: frames in a slice, at least.

    Returns:
        None, or at least two; their own frames are a partition of the video's.
    """
    size = clip.frames or 1
    num_frames = index.num_frames
    if num_frames < 2 * slice_frames:
        return []
    clips = spans(-(-num_frames // clip.every), size, clip.step)
    borders = [0, *_borders(clips, labelled[:: clip.every], clip, per_batch, slice_frames)]
    if len(borders) == 1:
        return []
    edges = [clips[c].owned_start * clip.every for c in borders] + [num_frames]
    slices = []
    for number, ((begin, end), (own_start, own_stop)) in enumerate(
        zip(pairwise([*borders, len(clips)]), pairwise(edges), strict=True)
    ):
        first = clips[begin].start * clip.every
        needed = (clips[end - 1].stop - 1) * clip.every + 1
        stop = num_frames if end == len(clips) else max(needed, own_stop)
        bounds = SliceBounds(first, own_start, own_stop, stop)
        slices.append(index.part(number, len(borders), bounds))
    return slices


def _borders(
    clips: list[Span], labelled: np.ndarray, clip: ClipConfig, per_batch: int, slice_frames: int
) -> list[int]:
    """Clips at which a slice begins: there a batch of the whole video begins too.

    A clip that owns no labelled frame is not sent, and takes no place in a batch. The clip that
    is moved back to the end begins none: which frames it owns depends on the one before it.
    """
    sums = np.concatenate([[0], np.cumsum(labelled)])
    sent = [sums[c.owned_stop] > sums[c.owned_start] for c in clips]
    num_before = np.concatenate([[0], np.cumsum(sent)])
    borders: list[int] = []
    for number in range(1, len(clips)):
        start, since = clips[number].start, clips[borders[-1] if borders else 0].start
        is_regular = start == number * clip.step
        is_far = (start - since) * clip.every >= slice_frames
        is_long = (len(labelled) - start) * clip.every >= slice_frames / 2
        # After the last clip that is sent no batch waits for more.
        is_full = not num_before[number] % per_batch or num_before[number] == num_before[-1]
        if is_regular and is_far and is_long and is_full:
            borders.append(number)
    return borders


def _num_labelled(slices: list[Slice], labelled: np.ndarray, shard: Shard) -> list[int]:
    """Labels that each slice owns; those without a frame are the last one's."""
    numbers = [int(labelled[slice_.own_start : slice_.own_stop].sum()) for slice_ in slices]
    if numbers and shard.num_labelled is not None:
        numbers[-1] = shard.num_labelled - sum(numbers[:-1])
    return numbers
