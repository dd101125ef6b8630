"""Videos through FFmpeg (PyAV): frames in decoding order, as far as the file can be decoded."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from typing import Any

import av
import numpy as np

from ray_audit.errors import SampleError
from ray_audit.formats.base import Frame
from ray_audit.formats.job import UnitContext
from ray_audit.formats.labels.timeline import Timeline
from ray_audit.formats.pixels.resize import pays_off, resize
from ray_audit.formats.video.clock import Shown, Timer
from ray_audit.formats.video.decode import Position, decode_file, decode_slice, shown_frames
from ray_audit.formats.video.frames import pixels_of
from ray_audit.formats.video.lost import (
    Stop,
    label_without_file,
    labels_of_left_out,
    report_lost,
    report_lost_in_slice,
    report_lost_video,
)
from ray_audit.formats.video.orientation import Orientation, turns
from ray_audit.formats.video.stills import Still, clock_of, decode_folder, is_folder
from ray_audit.samples import Shard

_FEW = 0.1


class VideoReader:
    """Reads one video; keeps what the labels that were not reached depend on.

    Args:
        shard: the video.
        job: the dataset, the part that is read, and the tally that takes what is no sample.
        timeline: labels of its frames; None where it has one label.
    """

    def __init__(self, shard: Shard, job: UnitContext, timeline: Timeline | None) -> None:
        self._shard = shard
        self._job = job
        self._timeline = timeline
        self._part = job.part
        first = self._part.first_frame if self._part else 0
        self._at = Position(first, max_px=job.dataset.max_px)
        self._timer = Timer(first)
        # An image by itself is cut as other images are; only frames with a mask are looked at.
        self._is_image = job.dataset.is_by_frame
        shape = self._part.frame_shape if self._part else None
        size = None if self._is_image else job.size
        self._read = _PixelReader(size, job.dataset.orientation, shape)
        self._end_s: float | None = None
        self._num_sampled = 0
        self._num_labelled = 0
        self._error: Exception | None = None

    def frames(self) -> Iterator[Frame]:
        """Sampled frames; ends at the first decoder error."""
        every = self._job.dataset.clip.every
        for frame in self._shown():
            label = self._timeline.label(frame.index, frame.middle_s) if self._timeline else None
            sampled = frame.index % every == 0
            self._num_sampled += sampled
            self._num_labelled += sampled and label is not None
            if self._timeline is not None and self._owns(frame.index):
                self._job.tally.filter_frame(self._shard.key, frame.index, label, sampled)
            if not sampled or (self._timeline is not None and not self._shard.label_digest):
                continue
            if self._is_image and label is None:
                continue
            try:
                with self._job.tally.timed():
                    values = self._read(frame.frame)
            except (SampleError, ValueError, av.error.FFmpegError) as error:
                self._at.num_frames, self._end_s = frame.index, frame.time_s
                self._error = error
                return
            yield Frame(frame.index, frame.time_s, label, values)

    @property
    def frame_size(self) -> tuple[int, ...]:
        """Height and width of the frames before they are resized, once one was given."""
        return (self._read.first_shape or ())[:2]

    def _shown(self) -> Iterator[Shown]:
        """Frames with their times; records an error instead of raising."""
        try:
            with ExitStack() as stack:
                decoded = stack.enter_context(closing(self._opened(stack)))
                yield from shown_frames(self._counted(decoded), self._timer, self._at)
        except Exception as error:
            # A damaged file raises whatever the decoder likes; the frames before it count.
            self._error = error
        finally:
            self._job.tally.num_lead_in += self._at.num_lead_in
            if self._at.clock.counts or self._timer.is_broken:
                self._job.tally.remark("clock", self._shard.key)

    def _opened(self, stack: ExitStack) -> Generator[Any, None, None]:
        shard = self._shard
        if is_folder(shard.uri):
            self._at.clock = clock_of(self._job.dataset)
            return decode_folder(shard.uri, self._job.dataset)
        stream = stack.enter_context(self._job.tally.open_read(shard.uri, shard.size_bytes))
        if self._part is None:
            return decode_file(stream, self._at, shard)
        return decode_slice(stream, self._at, self._part)

    def _counted(self, decoded: Iterator[Any]) -> Iterator[Any]:
        while True:
            with self._job.tally.timed():
                frame = next(decoded, None)
            if frame is None:
                return
            if isinstance(frame, Still):
                self._jump_to(frame)
            index = self._at.num_frames
            if index == 0:
                self._check_clock()
            if index == (self._part.first_frame if self._part else 0) and _turns(frame):
                self._job.tally.remark("display_matrix", self._shard.key)
            self._at.num_frames += 1
            if self._owns(index):
                self._job.tally.num_decoded += 1
            else:
                self._job.tally.num_lead_in += 1
            yield frame

    def _jump_to(self, still: Still) -> None:
        """Frames before this one, which have no file, are not there: their labels are lost."""
        gap = np.arange(self._at.num_frames, still.index)
        self._at.num_promised = still.num_promised
        if still.is_by_order and self._at.num_frames == 0:
            behind = np.arange(still.num_promised, still.num_numbers)
            if self._labelled(behind, still).any():
                raise labels_of_left_out(still)
        labelled = self._labelled(gap, still)
        last = np.array([still.num_promised - 1])
        if gap.tolist() == [0] and labelled.any() and not self._labelled(last, still).any():
            raise label_without_file(1, 0, still)
        self._at.num_frames = still.index
        self._timer.skip_to(still.index)
        if labelled.any():
            num_lost = int((gap[labelled] % self._job.dataset.clip.every == 0).sum())
            error = label_without_file(int(labelled.sum()), int(gap[labelled][0]), still)
            self._job.tally.fail(self._shard.key, error, stage="labels", num_samples=num_lost)

    def _labelled(self, frames: np.ndarray, still: Still) -> np.ndarray:
        if self._timeline is None:
            return np.zeros(len(frames), bool)
        middles_s = (frames + 0.5 + still.pts - still.index) * self._at.clock.frame_s
        return self._timeline.is_labelled(frames, middles_s)

    def _check_clock(self) -> None:
        labels, at = self._job.dataset.labels, self._at
        if self._timeline is not None and labels.fps is None and at.num_promised is not None:
            self._timeline.check_clock(at.num_promised, at.clock.frame_s)

    def _owns(self, frame_index: int) -> bool:
        return self._part is None or self._part.owns(frame_index)

    def _stop(self) -> Stop:
        at = self._at
        end_s = self._timer.end_s(at.clock) if self._end_s is None else self._end_s
        return Stop(at.num_frames, end_s, at.clock.frame_s, self._error)

    def report_lost(self) -> None:
        """Record what labels say of frames that were not reached, or do not exist."""
        if self._timeline is None:
            report_lost_video(self._job.tally, self._shard.key, self._stop())
        elif self._part is None:
            self._report_lost_labels(self._timeline)
        elif self._error is not None:
            every = self._job.dataset.clip.every
            report_lost_in_slice(
                self._job.tally, self._shard.key, self._timeline, every, self._part, self._stop()
            )
        elif self._part.is_last:  # labels behind the video's end are nobody else's
            self._report_lost_labels(self._timeline)

    def _report_lost_labels(self, timeline: Timeline) -> None:
        is_few = 0 < self._num_labelled < _FEW * self._num_sampled
        # Masks of a few frames are what people make.
        if self._part is None and is_few and not self._job.dataset.task.is_dense:
            self._job.tally.remark("few_labels", self._shard.key)
        every = self._job.dataset.clip.every
        report_lost(self._job.tally, self._shard.key, timeline, every, self._stop())


def _turns(frame: Any) -> bool:
    return not isinstance(frame, Still) and turns(frame)


class _PixelReader:
    """Frames to arrays of one shape and depth: decided by the first frame of the video.

    Args:
        size: height and width of the network input, or None for native.
        orientation: of the pixels.
        first_shape: (H, W, C) of the first frame, where that is not the first to be read.
    """

    def __init__(
        self,
        size: tuple[int, int] | None,
        orientation: Orientation,
        first_shape: tuple[int, ...] | None = None,
    ) -> None:
        self._size = size
        self._orientation = orientation
        self.first_shape = first_shape
        self._resizes: bool | None = None

    def __call__(self, frame: Any) -> np.ndarray:
        """(C, H, W): uint8 or uint16 as decoded, or float32 resized and in [0, 1]."""
        pixels = pixels_of(frame, self._orientation)
        if self.first_shape is None:
            self.first_shape = pixels.shape
        if self._resizes is None:
            self._resizes = pays_off(self.first_shape, pixels.itemsize, self._size)
        if self._resizes and self._size is not None:
            pixels = resize(pixels, self._size)
        elif pixels.shape != self.first_shape:
            raise SampleError(
                "decode", f"the frame size changes from {self.first_shape} to {pixels.shape}"
            )
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
