"""The labels of one video or sequence, asked frame by frame."""

from typing import Protocol

import numpy as np
import pyarrow as pa

from ray_audit.config import DatasetConfig, Overlap
from ray_audit.errors import LabelError, SampleError, StorageError
from ray_audit.formats.job import UnitContext
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.clocks import LabelClock
from ray_audit.formats.labels.index import index_rows, is_in_seconds
from ray_audit.formats.labels.overlaps import chosen_frames, disjoint
from ray_audit.formats.labels.table_rows import layout_of, read_rows
from ray_audit.formats.labels.text_tables import TextForm
from ray_audit.samples import IGNORE, Shard

# Ends are often whole seconds, or the end of a longer sound.
_MAX_OVERRUN_S = 1.0
# Frames, when seconds are turned into them: no boundary is moved by a rounding of the 7th digit.
_DECIMALS = 6

_DENSE = 0.9
_LEAST_SECONDS = 10  # of a shorter video a few labels may end anywhere
_LEAST_FRAMES_PER_S = 10
_SECONDS_APART = 2.0  # from 0 or 1, with the last second or without


class Timeline(Protocol):
    """Labels along time."""

    in_seconds: bool

    def label(self, frame_index: int, middle_s: float | None) -> int | None:
        """Class index, `IGNORE` where void, None where unlabelled.

        Args:
            frame_index: position in decoding order.
            middle_s: the frame's middle in time; None where there is no clock.
        """

    def count(self, first_frame: int, every: int, end_s: float, frame_s: float) -> int:
        """Labelled frames from `first_frame` on, void ones and those not sampled left out.

        Where labels are in seconds, as if `first_frame` were shown at `end_s` and a frame each
        `frame_s` seconds after it.
        """

    def is_labelled(self, frames: np.ndarray, middles_s: np.ndarray) -> np.ndarray:
        """Which of the frames (T,) with their middles (T,) have a label that is not void."""

    def amounts(self) -> dict[int, int]:
        """Frames of each class and of `IGNORE`; milliseconds where labels are in seconds."""

    def check_clock(self, num_frames: int, frame_s: float) -> None:
        """Refuse frame numbers that are seconds, by a video's length.

        Raises:
            SampleError: `label_clock`: labels end where the video has its last second.
        """

    def without_overrun(self, end_s: float) -> "Timeline":
        """The labels but for those in seconds that run past the end by no more than a rounding."""


def _check_end(end: float, num_frames: int, frame_s: float) -> None:
    seconds = num_frames * frame_s
    if (
        end >= _LEAST_SECONDS
        and end * _LEAST_FRAMES_PER_S <= num_frames
        and abs(end - seconds) <= _SECONDS_APART
    ):
        raise SampleError(
            "label_clock",
            f"its labels end at frame {end:g} of about {num_frames}, which is its length in "
            "seconds: they seem to count seconds. Set labels.fps: 1 if they do, or labels.fps: "
            f"{1 / frame_s:.6g}, the video's own, if they count its frames",
        )


def _summed(labels: np.ndarray, amounts: np.ndarray) -> dict[int, int]:
    found, places = np.unique(labels, return_inverse=True)
    return dict(zip(found.tolist(), np.bincount(places, amounts).astype(int).tolist(), strict=True))


class FrameTimeline:
    """A label per frame.

    Args:
        frames: (R,) int64, unique.
        labels: (R,) class index or `IGNORE`.
    """

    def __init__(self, frames: np.ndarray, labels: np.ndarray) -> None:
        order = np.argsort(frames, kind="stable")
        self.frames = frames[order].astype(np.int64)
        self._labels = labels[order]
        self.in_seconds = False

    def label(self, frame_index: int, middle_s: float | None) -> int | None:
        """See `Timeline.label`."""
        at = int(np.searchsorted(self.frames, frame_index))
        if at == len(self.frames) or self.frames[at] != frame_index:
            return None
        return int(self._labels[at])

    def count(self, first_frame: int, every: int, end_s: float, frame_s: float) -> int:
        """See `Timeline.count`."""
        return int((self.labelled(first_frame) % every == 0).sum())

    def is_labelled(self, frames: np.ndarray, middles_s: np.ndarray) -> np.ndarray:
        """See `Timeline.is_labelled`."""
        return np.isin(frames, self.labelled(0))

    in_seconds = False

    def end(self) -> float:
        """The number behind the last frame that has a row; 0 where there is none."""
        return float(self.frames[-1]) + 1 if len(self.frames) else 0.0

    def amounts(self) -> dict[int, int]:
        """See `Timeline.amounts`."""
        return _summed(self._labels, np.ones(len(self._labels), np.int64))

    def check_clock(self, num_frames: int, frame_s: float) -> None:
        """See `Timeline.check_clock`."""
        end = int(self.frames[-1]) + 1 if len(self.frames) else 0
        # Each n-th frame may be labelled: that is no clock of its own.
        if len(self.frames) >= _DENSE * end:
            _check_end(end, num_frames, frame_s)

    def without_overrun(self, end_s: float) -> "FrameTimeline":
        """See `Timeline.without_overrun`."""
        return self

    def labelled(self, first_frame: int) -> np.ndarray:
        """Labelled frames from `first_frame` on, (R,) int64, void ones left out."""
        frames: np.ndarray = self.frames[(self._labels != IGNORE) & (self.frames >= first_frame)]
        return frames


class SegmentTimeline:
    """A label per segment [start, end): a frame has the label of the one that holds its middle.

    The middle of frame t is t + 0.5, and in seconds half of the time to the next frame after its
    own: so a boundary at a frame's own time is that frame's, however times were rounded
    (`findings/matroska_moves_frames_before_their_time.sh` shows it).

    Args:
        starts: (R,) float64, in frames, or seconds from the video's beginning.
        ends: (R,) float64, exclusive; segments do not overlap.
        labels: (R,) class index or `IGNORE`.
        in_seconds: the unit.
    """

    def __init__(
        self, starts: np.ndarray, ends: np.ndarray, labels: np.ndarray, in_seconds: bool
    ) -> None:
        order = np.argsort(starts, kind="stable")
        self.starts, self.ends, self._labels = starts[order], ends[order], labels[order]
        self.in_seconds = in_seconds

    def label(self, frame_index: int, middle_s: float | None) -> int | None:
        """See `Timeline.label`."""
        time = middle_s if self.in_seconds else frame_index + 0.5
        if time is None:
            return None
        at = int(np.searchsorted(self.starts, time, side="right")) - 1
        return int(self._labels[at]) if at >= 0 and time < self.ends[at] else None

    def count(self, first_frame: int, every: int, end_s: float, frame_s: float) -> int:
        """See `Timeline.count`."""
        labelled = self._labels != IGNORE
        starts, ends = self.starts[labelled], self.ends[labelled]
        if self.in_seconds:
            starts, ends = (first_frame + (edges - end_s) / frame_s for edges in (starts, ends))
            starts, ends = np.round(starts, _DECIMALS), np.round(ends, _DECIMALS)
        first = np.maximum(np.ceil(starts - 0.5), first_frame)
        stop = np.maximum(np.ceil(ends - 0.5), first)
        return int((np.ceil(stop / every) - np.ceil(first / every)).sum())

    def is_labelled(self, frames: np.ndarray, middles_s: np.ndarray) -> np.ndarray:
        """See `Timeline.is_labelled`."""
        if not len(self.starts):
            return np.zeros(len(frames), bool)
        times = middles_s if self.in_seconds else frames + 0.5
        at = np.searchsorted(self.starts, times, side="right") - 1
        inside: np.ndarray = (at >= 0) & (times < self.ends[at]) & (self._labels[at] != IGNORE)
        return inside

    def end(self) -> float:
        """The end of the last segment; 0 where there is none."""
        return float(self.ends.max(initial=0.0))

    def amounts(self) -> dict[int, int]:
        """See `Timeline.amounts`."""
        lengths = (self.ends - self.starts) * (1000 if self.in_seconds else 1)
        return _summed(self._labels, np.rint(lengths).astype(np.int64))

    def check_clock(self, num_frames: int, frame_s: float) -> None:
        """See `Timeline.check_clock`."""
        if not self.in_seconds:
            _check_end(float(self.ends.max(initial=0.0)), num_frames, frame_s)

    def without_overrun(self, end_s: float) -> "SegmentTimeline":
        """See `Timeline.without_overrun`."""
        if not self.in_seconds or (self.starts[self._labels != IGNORE] >= end_s).any():
            return self  # where a whole segment is missing, so is the end of the one before it
        runs_over = (self.starts < end_s) & (self.ends <= end_s + _MAX_OVERRUN_S)
        ends = np.where(runs_over, np.minimum(self.ends, end_s), self.ends)
        return SegmentTimeline(self.starts, ends, self._labels, in_seconds=True)


Labels = FrameTimeline | SegmentTimeline


def table_timeline(rows: pa.Table, part: str = "") -> FrameTimeline | SegmentTimeline:
    """The timeline of one video, or one array, from the label index."""
    rows = rows.filter(pa.array(np.asarray(rows["part"].to_pylist(), dtype=object) == part))
    labels = rows["label"].to_numpy()
    if "frame" in rows.column_names:
        return FrameTimeline(rows["frame"].to_numpy(), labels)
    starts, ends = rows["start"].to_numpy(), rows["end"].to_numpy()
    return SegmentTimeline(starts, ends, labels, is_in_seconds(rows))


def file_timeline(uri: str, dataset: DatasetConfig) -> FrameTimeline | SegmentTimeline:
    """The timeline of one video from its own label file.

    Raises:
        LabelError: the table is wrong; the message names file, row and value.
    """
    labels_config = dataset.labels
    clock = LabelClock.of(labels_config)
    text = TextForm.of(labels_config)
    layout = layout_of(uri, labels_config.form, labels_config.columns, False, clock, text)
    chunks = list(read_rows(uri, layout, ClassNames.of(dataset)))
    columns = {
        name: np.concatenate([np.zeros(0), *(chunk.numbers[name] for chunk in chunks)])
        for name in layout.numbers
    }
    labels = np.concatenate([np.zeros(0, np.int32), *(chunk.labels for chunk in chunks)])
    if "frame" in columns:
        return _frame_timeline(uri, columns["frame"], labels, labels_config.overlap)
    edges = (columns["start"], columns["end"])
    return _segment_timeline(uri, *edges, labels, layout.in_seconds, labels_config.overlap)


def _frame_timeline(
    uri: str, frames: np.ndarray, labels: np.ndarray, overlap: Overlap
) -> FrameTimeline:
    if overlap != "error":
        order = np.argsort(frames, kind="stable")
        kept = order[chosen_frames(np.zeros(len(order)), frames[order], overlap)]
        frames, labels = frames[kept], labels[kept]
    timeline = FrameTimeline(frames.astype(np.int64), labels)
    repeated = timeline.frames[1:][timeline.frames[1:] == timeline.frames[:-1]]
    if len(repeated):
        raise LabelError(
            f"{uri}: frame {repeated[0]} is labelled twice; keep one of the rows "
            "(labels.overlap). Where videos hold several episodes, as in LeRobot 3, give "
            "dataset.episodes"
        )
    return timeline


def _segment_timeline(
    uri: str,
    starts: np.ndarray,
    ends: np.ndarray,
    labels: np.ndarray,
    in_seconds: bool,
    overlap: Overlap,
) -> SegmentTimeline:
    if overlap != "error":
        rows = np.argsort(starts, kind="stable")
        at, starts, ends = disjoint(np.zeros(len(rows)), starts[rows], ends[rows], rows, overlap)
        labels = labels[rows][at]
    timeline = SegmentTimeline(starts, ends, labels, in_seconds)
    clash = np.flatnonzero(timeline.starts[1:] < timeline.ends[:-1])
    if len(clash):
        spans = [f"{timeline.starts[i]:g}-{timeline.ends[i]:g}" for i in (clash[0], clash[0] + 1)]
        raise LabelError(f"{uri}: segments {' and '.join(spans)} overlap (labels.overlap)")
    return timeline


def shard_timeline(
    shard: Shard, dataset: DatasetConfig, index_uri: str | None
) -> FrameTimeline | SegmentTimeline:
    """Labels of a video or a single-sequence file, wherever the specification keeps them."""
    if shard.label_uri is not None:
        return file_timeline(shard.label_uri, dataset)
    rows = index_rows(shard, index_uri)
    return table_timeline(rows) if rows is not None else no_labels()


def timeline_of(shard: Shard, job: UnitContext) -> FrameTimeline | SegmentTimeline | None:
    """Labels of a shard; None, with a failure in the tally, where they cannot be had."""
    try:
        return shard_timeline(shard, job.dataset, job.index_uri)
    except (LabelError, StorageError) as error:
        job.tally.fail(shard.key, error, stage="labels", num_samples=shard.num_labelled)
        return None


def no_labels() -> FrameTimeline:
    """The timeline of a video without labels."""
    return FrameTimeline(np.zeros(0, np.int64), np.zeros(0, np.int32))
