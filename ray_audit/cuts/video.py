"""Videos through FFmpeg (PyAV): frames in decoding order, as far as the file can be decoded."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from functools import partial
from typing import IO, Any

import av
import numpy as np

from ray_audit import storage
from ray_audit.cuts.batching import Cut
from ray_audit.cuts.clips import Frame, Stretch
from ray_audit.cuts.decode import Position, decode_slice, decode_video
from ray_audit.cuts.frames import filter_frame, frame_cuts, video_cuts
from ray_audit.cuts.packets import seconds_of, unpack_pts
from ray_audit.cuts.resize import pays_off, resize
from ray_audit.cuts.timeline import FrameTimeline, Timeline, timeline_of
from ray_audit.errors import SampleError
from ray_audit.formats.job import UnitContext
from ray_audit.samples import IGNORE, Shard, Slice

_NUM_NAMED = 5


def cut_video(shard: Shard, job: UnitContext) -> Iterator[Cut]:
    """Clips of one video; what cannot be decoded is recorded in the job's tally."""
    if job.dataset.labels.form == "videos":
        yield from _cut_labelled_video(shard, job)
        return
    timeline = timeline_of(shard, job)
    if timeline is None:
        return
    reader = _VideoReader(shard, job, timeline)
    clip, part = job.dataset.clip, job.part
    stretch = None if part is None else stretch_of(part, clip.every)
    yield from frame_cuts(shard.key, reader.frames(), clip, job.classes.target_dtype, stretch)
    if part is None:
        reader.report_lost_labels()
    else:
        reader.report_lost_part(part)


def _cut_labelled_video(shard: Shard, job: UnitContext) -> Iterator[Cut]:
    if shard.class_index is None or shard.class_index == IGNORE:
        reason = "unlabelled" if shard.class_index is None else "void"
        job.tally.filter(shard.key, shard.key, None, reason)
        return
    reader = _VideoReader(shard, job, None)
    yield from video_cuts(
        shard.key,
        shard.class_index,
        reader.frames(),
        job.dataset.clip,
        job.classes.target_dtype,
    )
    reader.report_lost_video()


class _VideoReader:
    """Reads one video; keeps what the labels that were not reached depend on."""

    def __init__(self, shard: Shard, job: UnitContext, timeline: Timeline | None) -> None:
        self._shard = shard
        self._job = job
        self._timeline = timeline
        self._part = job.part
        first = self._part.first_frame if self._part else 0
        self._at = Position(first, max_px=job.dataset.max_px)
        self._error: Exception | None = None

    def frames(self) -> Iterator[Frame]:
        """Sampled frames; ends at the first decoder error."""
        every = self._job.dataset.clip.every
        read = _PixelReader(self._job.size, self._part.frame_shape if self._part else None)
        for index, frame, pts_s in self._decoded():
            time_s = index * self._at.frame_s if pts_s is None else pts_s
            label = self._timeline.label(index, time_s) if self._timeline else None
            sampled = index % every == 0
            if self._timeline is not None and self._owns(index):
                filter_frame(self._job.tally, self._shard.key, index, label, sampled)
            if not sampled or (self._timeline is not None and not self._shard.label_digest):
                continue
            try:
                with self._job.tally.timed():
                    values = read(frame, index)
            except (SampleError, ValueError, av.error.FFmpegError) as error:
                self._at.num_frames = index
                self._error = error
                return
            yield Frame(index, pts_s, label, values)

    def _decoded(self) -> Iterator[tuple[int, Any, float | None]]:
        """Decoding position, frame and presentation time; records an error instead of raising."""
        try:
            with (
                self._job.tally.open_read(self._shard.uri, self._shard.size_bytes) as stream,
                closing(self._opened(stream)) as decoded,
            ):
                while True:
                    with self._job.tally.timed():
                        frame = next(decoded, None)
                    if frame is None:
                        return
                    index, pts_s = self._at.num_frames, frame.time
                    self._at.num_frames += 1
                    self._at.last_pts_s = pts_s
                    self._count(index)
                    yield index, frame, pts_s
        except Exception as error:
            # A damaged file raises whatever the decoder likes; the frames before it count.
            self._error = error
        finally:
            self._job.tally.num_lead_in += self._at.num_lead_in

    def _opened(self, stream: IO[bytes]) -> Generator[Any, None, None]:
        if self._part is None:
            return decode_video(stream, self._at)
        return decode_slice(stream, self._at, self._part)

    def _owns(self, frame_index: int) -> bool:
        return self._part is None or self._part.owns(frame_index)

    def _count(self, frame_index: int) -> None:
        if self._owns(frame_index):
            self._job.tally.num_decoded += 1
        else:
            self._job.tally.num_lead_in += 1

    def report_lost_labels(self) -> None:
        """Record the labelled frames that were not reached, or do not exist."""
        timeline, at, key = self._timeline, self._at, self._shard.key
        assert timeline is not None
        every = self._job.dataset.clip.every
        if self._error is not None:
            num_lost = timeline.count(at.num_frames, every, at.end_s, at.frame_s)
            self._job.tally.fail(key, _where(self._error, at), num_samples=num_lost)
            return
        # In seconds, a segment may run over the end by a rounding; one that starts there has
        # no frame.
        if timeline.in_seconds and not timeline.starts_after(at.end_s):
            return
        num_missing = timeline.count(at.num_frames, 1, at.end_s, at.frame_s)
        if num_missing:
            error = label_without_frame(timeline, at.num_frames, num_missing)
            self._job.tally.fail(key, error, stage="labels", num_samples=num_missing)

    def report_lost_part(self, part: Slice) -> None:
        """Record what a slice lost: of its own frames, and, in the last, of labels behind them."""
        timeline, clip, tally = self._timeline, self._job.dataset.clip, self._job.tally
        assert timeline is not None
        if self._error is None:
            if part.is_last:
                self.report_lost_labels()
            return
        num_lost = _num_lost(timeline, part, self._at, clip.every)
        where = f"slice {part.number + 1} of {part.num_slices}: "
        error = _where(self._error, self._at)
        tally.fail(self._shard.key, error, num_samples=num_lost, where=where)

    def report_lost_video(self) -> None:
        """Record the video where none of it could be decoded, or only its beginning."""
        if self._error is None and self._at.num_frames:
            return
        error = self._error or SampleError("decode", "the video has no frame")
        lost = 0 if self._at.num_frames else 1
        self._job.tally.fail(self._shard.key, _where(error, self._at), num_samples=lost)


def _num_lost(timeline: Timeline, part: Slice, at: Position, every: int) -> int:
    """Labelled frames that are a slice's own and were not reached."""
    times_s = seconds_of(unpack_pts(part.packed_pts), part.time_base)
    frames = np.arange(part.first_frame, part.stop_frame)
    lost = (frames >= max(at.num_frames, part.own_start)) & (frames < part.own_stop)
    lost &= frames % every == 0
    num_lost = int(timeline.is_labelled(frames[lost], times_s[lost]).sum())
    if part.is_last:
        end_s = float(times_s[-1]) + at.frame_s
        if not timeline.in_seconds or timeline.starts_after(end_s):
            num_lost += timeline.count(max(at.num_frames, part.own_stop), every, end_s, at.frame_s)
    return num_lost


def stretch_of(part: Slice, every: int) -> Stretch:
    """The clips of a slice, in sampled frames."""
    own_stop = None if part.is_last else -(-part.own_stop // every)
    return Stretch(part.first_frame // every, part.own_start // every, own_stop)


def label_without_frame(timeline: Timeline, num_frames: int, num_missing: int) -> SampleError:
    """The error for labels of frames that a video or sequence does not have."""
    few = ""
    if isinstance(timeline, FrameTimeline):
        missing = timeline.labelled(num_frames)[:_NUM_NAMED].tolist()
        few = f" (frames {', '.join(map(str, missing))}{', ...' if num_missing > 5 else ''})"
    return SampleError(
        "label_without_frame",
        f"{num_missing} labels stand for frames that do not exist{few}: it has {num_frames} "
        "frames, from 0. Check that labels and file belong together, and that frames count from 0",
    )


def _where(error: Exception, at: Position) -> Exception:
    """The error with the place at which decoding ended."""
    if not isinstance(error, av.error.FFmpegError | SampleError):
        return error
    if isinstance(error, SampleError) and error.error_class != "decode":
        return error
    if at.num_frames == 0:
        return SampleError("decode", f"the video cannot be opened or decoded: {error}")
    return SampleError("decode", f"decoding ended after {at.num_frames} frames: {error}")


def decoded_frames(stream: IO[bytes]) -> Generator[Callable[[], np.ndarray], None, None]:
    """Frames in decoding order, each as a function that gives its pixels, (H, W, C).

    Raises:
        SampleError: the video cannot be decoded to its end.
    """
    for frame in decode_video(stream, Position()):
        yield partial(pixels_of, frame)


def frame_times(shard: Shard) -> np.ndarray:
    """Presentation time of every frame in decoding order, (T,) seconds, up to the first damage."""
    at, times = Position(), list[float]()
    with storage.open_read(shard.uri, shard.size_bytes) as stream, suppress(Exception):
        for index, frame in enumerate(decode_video(stream, at)):
            times.append(index * at.frame_s if frame.time is None else frame.time)
    return np.array(times, np.float64)


class _PixelReader:
    """Frames to arrays of one shape and depth: decided by the first frame of the video.

    Args:
        size: height and width of the network input, or None for native.
        first_shape: (H, W, C) of the first frame, where that is not the first to be read.
    """

    def __init__(
        self, size: tuple[int, int] | None, first_shape: tuple[int, ...] | None = None
    ) -> None:
        self._size = size
        self._first_shape = first_shape
        self._resizes: bool | None = None

    def __call__(self, frame: Any, index: int) -> np.ndarray:
        """(C, H, W): uint8 or uint16 as decoded, or float32 resized and in [0, 1]."""
        pixels = pixels_of(frame)
        if self._first_shape is None:
            self._first_shape = pixels.shape
        if self._resizes is None:
            self._resizes = pays_off(self._first_shape, pixels.itemsize, self._size)
        if self._resizes and self._size is not None:
            pixels = resize(pixels, self._size)
        elif pixels.shape != self._first_shape:
            raise SampleError(
                "decode", f"the frame size changes from {self._first_shape} to {pixels.shape}"
            )
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def pixels_of(frame: Any) -> np.ndarray:
    """(H, W, C): RGB, or one channel where the video is grey."""
    name = frame.format.name
    if not name.startswith("gray"):
        pixels: np.ndarray = frame.to_ndarray(format="rgb24")
        return pixels
    grey: np.ndarray = frame.to_ndarray(format="gray" if name == "gray" else "gray16le")
    return grey[:, :, None]
