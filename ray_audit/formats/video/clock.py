"""When the frames of a video are shown: seconds from its beginning, as players count them."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ray_audit.samples import Slice

_DEFAULT_FRAME_S = 0.04
_MOST_GUESSED = 1000
"""Frames a second; FFmpeg guesses the ticks of a clock where it has seen too few frames."""
_MISSING = 0.75
"""Of the time of a frame: rounding is less."""
CONSTANT = 1.2
"""Between frames of one rate, in containers that round to milliseconds."""
_START_TICK_S = 1e-6
"""FFmpeg gives a container's start in microseconds, a stream's in its own, finer unit."""


@dataclass(frozen=True)
class Clock:
    """From a container's presentation times to seconds.

    Attributes:
        time_base: seconds of one unit of presentation time, numerator and denominator.
        start: when the container begins, in these units: of all its streams, so that a video
            that begins after its sound begins late.
        frame_s: seconds a frame, at the container's own rate.
        counts: times are index / rate, because the container has none that stand for the order
            in which frames are shown.
    """

    time_base: tuple[int, int] = (1, 1)
    start: float = 0
    frame_s: float = _DEFAULT_FRAME_S
    counts: bool = False

    @classmethod
    def of(cls, container: Any, video: Any, first: Any | None) -> Self:
        """The clock of an open container.

        Args:
            container: as PyAV opens it.
            video: its video stream.
            first: the stream's first packet, if there is one.
        """
        base = video.time_base
        has_clock = container.start_time is not None and base is not None
        return cls(
            time_base=(base.numerator, base.denominator) if base else (1, 1),
            start=_start(container.start_time, video) if has_clock else 0,
            frame_s=_frame_s(video, first),
            counts=not has_clock
            or has_times_of_decoding(container, video)
            or (container.format.name == "avi" and first is not None and first.pts != first.dts),
        )

    @classmethod
    def of_slice(cls, part: Slice) -> Self:
        """The clock that the slice's video has."""
        return cls(part.time_base, part.start, part.frame_s, part.counts)

    @property
    def unit_s(self) -> float:
        """Seconds of one unit of the time base."""
        return self.time_base[0] / self.time_base[1]

    def time_s(self, frame_index: int, pts: int | None) -> float:
        """When a frame is shown."""
        # Not `frame.time`, which is NaN for what a decoder holds to the end:
        # findings/frames_of_the_flush_have_no_time_base.sh shows it.
        if self.counts or pts is None:
            return frame_index * self.frame_s
        return (pts - self.start) * float(self.time_base[0]) / float(self.time_base[1])

    def times_s(self, frame_indices: np.ndarray, pts: np.ndarray) -> np.ndarray:
        """`time_s` of many frames, (T,) float64."""
        if self.counts:
            return frame_indices * self.frame_s
        times: np.ndarray = (pts - self.start) * float(self.time_base[0]) / float(self.time_base[1])
        return times


def _frame_s(video: Any, first: Any | None) -> float:
    """Seconds a frame; of a file of which little is there FFmpeg knows no average."""
    if video.average_rate:
        return float(1 / video.average_rate)
    base = video.time_base
    lasts = base * first.duration if base and first is not None and first.duration else None
    rates = (video.codec_context.framerate, lasts and 1 / lasts, video.guessed_rate)
    likely = (rate for rate in rates if rate and rate < _MOST_GUESSED)
    return float(1 / next(likely, 1 / _DEFAULT_FRAME_S))


def _start(start_us: int, video: Any) -> float:
    unit_s = float(video.time_base)
    stream = video.start_time
    if stream is not None and abs(stream * unit_s - start_us / 1e6) <= _START_TICK_S:
        return int(stream)
    return start_us / 1e6 / unit_s


def has_times_of_decoding(container: Any, video: Any) -> bool:
    """Whether times are of decoding, and not of showing: AVI has no others, FFmpeg guesses."""
    return container.format.name == "avi" and bool(video.codec_context.has_b_frames)


def middles(times_s: np.ndarray, frame_s: float) -> np.ndarray:
    """The middle of each frame, (T,) seconds: half of the time to the next frame after its own.

    The last frame lasts as long as the one before it, or `frame_s` where it is alone.
    """
    steps = np.diff(times_s)
    last = steps[-1:] if len(steps) else np.full(len(times_s), frame_s)
    result: np.ndarray = times_s + np.concatenate([steps, last]) / 2
    return result


@dataclass(frozen=True)
class Shown:
    """A decoded frame and when it is shown.

    Attributes:
        index: position in decoding order.
        frame: as PyAV gives it.
        time_s: when it is shown.
        middle_s: half of the time to the next frame later; what labels in seconds must hold.
    """

    index: int
    frame: Any
    time_s: float
    middle_s: float


def lacks_end(last_s: float, least_gap_s: float, most_gap_s: float, promised_s: float) -> bool:
    """Whether frames are missing after the last of a video that claims to last `promised_s`."""
    if not 0 < most_gap_s <= CONSTANT * least_gap_s:
        return False
    return promised_s - (last_s + most_gap_s) > _MISSING * most_gap_s


class Timer:
    """Gives decoded frames their times, which always rise.

    Where a container's times fall back (two recordings joined), the clock goes on a frame at a
    time from there, as players do.

    Args:
        first_index: index of the first frame.
    """

    def __init__(self, first_index: int = 0) -> None:
        self.is_broken = False
        self._index = first_index
        self._last_s: float | None = None
        self._gap_s: float | None = None
        self._gaps_s = (math.inf, 0.0)
        self._waiting: tuple[int, Any, float] | None = None

    def skip_to(self, index: int) -> None:
        """Give the next frame this index: frames before it are not there."""
        self._index = index

    def add(self, frame: Any, clock: Clock) -> Shown | None:
        """Take the next frame; gives the one before, whose middle is known now."""
        time_s = self._time_s(frame.pts, clock)
        before = self.end(clock, time_s)
        self._waiting, self._last_s = (self._index, frame, time_s), time_s
        self._index += 1
        return before

    def end(self, clock: Clock, next_s: float | None = None) -> Shown | None:
        """The frame that waits for the next one; `next_s` is when that is shown, if it is known."""
        if self._waiting is None:
            return None
        index, frame, time_s = self._waiting
        self._waiting = None
        if next_s is not None:
            self._gap_s = next_s - time_s
            least, most = self._gaps_s
            self._gaps_s = min(least, self._gap_s), max(most, self._gap_s)
        gap_s = clock.frame_s if self._gap_s is None else self._gap_s
        return Shown(index, frame, time_s, time_s + gap_s / 2)

    def falls_short_of(self, promised_s: float) -> bool:
        """Whether frames are missing at the end of a file that claims to last so long.

        Where the rate varies it may be the last frame that is shown for longer.
        """
        if self.is_broken or self._last_s is None:
            return False
        return lacks_end(self._last_s, *self._gaps_s, promised_s)

    def end_s(self, clock: Clock) -> float:
        """When the frame after the last one would be shown."""
        if self._last_s is None:
            return self._index * clock.frame_s
        return self._last_s + (clock.frame_s if self._gap_s is None else self._gap_s)

    def _time_s(self, pts: int | None, clock: Clock) -> float:
        if not self.is_broken and (pts is not None or clock.counts):
            time_s = clock.time_s(self._index, pts)
            if self._last_s is None or time_s > self._last_s:
                return time_s
        self.is_broken = True
        if self._last_s is None:
            return self._index * clock.frame_s
        return self._last_s + clock.frame_s
