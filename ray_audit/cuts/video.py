"""Videos through FFmpeg (PyAV): frames in decoding order, as far as the file can be decoded."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Any

import av
import numpy as np

from ray_audit.cuts.batching import Cut
from ray_audit.cuts.clips import Frame
from ray_audit.cuts.frames import filter_frame, frame_cuts, video_cuts
from ray_audit.cuts.job import Job
from ray_audit.cuts.resize import pays_off, resize
from ray_audit.cuts.timeline import FrameTimeline, Timeline
from ray_audit.errors import SampleError
from ray_audit.samples import IGNORE, Shard

_NUM_NAMED = 5
_DEFAULT_FRAME_S = 0.04
# MPEG streams would be read from the end too, for a duration that nobody trusts.
_NO_READ_AHEAD = {"skip_estimate_duration_from_pts": "1"}


def cut_video(shard: Shard, job: Job) -> Iterator[Cut]:
    """Clips of one video; what cannot be decoded is recorded in the job's tally."""
    if job.dataset.labels.form == "videos":
        yield from _cut_labelled_video(shard, job)
        return
    timeline = job.timeline_of(shard)
    if timeline is None:
        return
    reader = _Reader(shard, job, timeline)
    yield from frame_cuts(shard.key, reader.frames(), job.dataset.clip, job.classes.target_dtype)
    reader.report_lost_labels()


def _cut_labelled_video(shard: Shard, job: Job) -> Iterator[Cut]:
    if shard.class_index is None or shard.class_index == IGNORE:
        reason = "unlabelled" if shard.class_index is None else "void"
        job.tally.filter(shard.key, shard.key, None, reason)
        return
    reader = _Reader(shard, job, None)
    yield from video_cuts(
        shard.key,
        shard.class_index,
        reader.frames(),
        job.dataset.clip,
        job.classes.target_dtype,
    )
    reader.report_lost_video()


@dataclass
class _Position:
    """How far a video has been decoded."""

    num_frames: int = 0
    last_pts_s: float | None = None
    frame_s: float = _DEFAULT_FRAME_S

    @property
    def end_s(self) -> float | None:
        return None if self.last_pts_s is None else self.last_pts_s + self.frame_s


class _Reader:
    """Reads one video; keeps what the labels that were not reached depend on."""

    def __init__(self, shard: Shard, job: Job, timeline: Timeline | None) -> None:
        self._shard = shard
        self._job = job
        self._timeline = timeline
        self._at = _Position()
        self._error: Exception | None = None

    def frames(self) -> Iterator[Frame]:
        """Sampled frames; ends at the first decoder error."""
        every = self._job.dataset.clip.every
        pixels_of = _PixelReader(self._job.size)
        for index, frame, pts_s in self._decoded():
            time_s = index * self._at.frame_s if pts_s is None else pts_s
            label = self._timeline.label(index, time_s) if self._timeline else None
            sampled = index % every == 0
            if self._timeline is not None:
                filter_frame(self._job.tally, self._shard.key, index, label, sampled)
            if not sampled or (self._timeline is not None and not self._shard.label_digest):
                continue
            try:
                with self._job.tally.timed():
                    values = pixels_of(frame, index)
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
                closing(_decode(stream, self._at, self._job.dataset.max_px)) as decoded,
            ):
                while True:
                    with self._job.tally.timed():
                        frame = next(decoded, None)
                    if frame is None:
                        return
                    index, pts_s = self._at.num_frames, frame.time
                    self._at.num_frames += 1
                    self._at.last_pts_s = pts_s
                    self._job.tally.num_decoded += 1
                    yield index, frame, pts_s
        except Exception as error:
            # A damaged file raises whatever the decoder likes; the frames before it count.
            self._error = error

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

    def report_lost_video(self) -> None:
        """Record the video where none of it could be decoded, or only its beginning."""
        if self._error is None and self._at.num_frames:
            return
        error = self._error or SampleError("decode", "the video has no frame")
        lost = 0 if self._at.num_frames else 1
        self._job.tally.fail(self._shard.key, _where(error, self._at), num_samples=lost)


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


def _where(error: Exception, at: _Position) -> Exception:
    """The error with the place at which decoding ended."""
    if not isinstance(error, av.error.FFmpegError | SampleError):
        return error
    if isinstance(error, SampleError) and error.error_class != "decode":
        return error
    if at.num_frames == 0:
        return SampleError("decode", f"the video cannot be opened or decoded: {error}")
    return SampleError("decode", f"decoding ended after {at.num_frames} frames: {error}")


def _decode(stream: IO[bytes], at: _Position, max_px: float) -> Generator[Any, None, None]:
    with av.open(stream, "r", options=_NO_READ_AHEAD) as container:
        if not container.streams.video:
            raise SampleError("decode", "no video stream in the file")
        video = container.streams.video[0]
        # One thread: a task owns one core, and where a damaged file ends must not vary.
        video.codec_context.thread_count = 1
        _check_size(video.codec_context, max_px)
        # A stream may grow further on. The decoder counts its padding too: give it some room.
        most_px = int(min(4 * max_px + 2**20, 2**31 - 1))
        video.codec_context.options = {"max_pixels": str(most_px)}
        if video.average_rate:
            at.frame_s = float(1 / video.average_rate)
        for packet in container.demux(video):
            if packet.is_corrupt:
                yield from video.codec_context.decode(None)  # frames that it still holds
                raise SampleError("decode", "the next packet is incomplete or damaged")
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise SampleError("decode", "the next frame is incomplete or damaged")
                _check_size(frame, max_px)
                yield frame


def _check_size(source: Any, max_px: float) -> None:
    num_px = source.width * source.height
    if num_px > max_px:
        raise SampleError(
            "too_large",
            f"its frames have {source.width} x {source.height} = {num_px} px, dataset.max_px is "
            f"{max_px:.4g}",
        )


class _PixelReader:
    """Frames to arrays of one shape and depth: decided by the first frame.

    Args:
        size: height and width of the network input, or None for native.
    """

    def __init__(self, size: tuple[int, int] | None) -> None:
        self._size = size
        self._first_shape: tuple[int, ...] | None = None
        self._resizes = False

    def __call__(self, frame: Any, index: int) -> np.ndarray:
        """(C, H, W): uint8 or uint16 as decoded, or float32 resized and in [0, 1]."""
        pixels = _to_array(frame)
        if self._first_shape is None:
            self._first_shape = pixels.shape
            self._resizes = pays_off(pixels.shape, pixels.itemsize, self._size)
        if self._resizes and self._size is not None:
            pixels = resize(pixels, self._size)
        elif pixels.shape != self._first_shape:
            raise SampleError(
                "decode", f"the frame size changes from {self._first_shape} to {pixels.shape}"
            )
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _to_array(frame: Any) -> np.ndarray:
    """(H, W, C): RGB, or one channel where the video is grey."""
    name = frame.format.name
    if not name.startswith("gray"):
        pixels: np.ndarray = frame.to_ndarray(format="rgb24")
        return pixels
    grey: np.ndarray = frame.to_ndarray(format="gray" if name == "gray" else "gray16le")
    return grey[:, :, None]
