"""Frames of a video, or of a slice of one, as far as the file can be decoded."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import IO, Any

import av
from av.video.frame import PictureType

from ray_audit.errors import SampleError
from ray_audit.formats.video.clock import Clock, Shown, Timer
from ray_audit.formats.video.packets import (
    MAX_PX,
    check_size,
    is_key_packet,
    opened_video,
    unpack_pts,
)
from ray_audit.formats.video.stream import frames_of
from ray_audit.samples import KeyFrame, Shard, Slice

# Cut off between two packets, these have no mark of it but the length that their header claims.
_PROMISING = ("matroska,webm", "flv")
# How far before a key frame a seek may have to aim: MPEG streams have no index to go by.
_BACK_S = (0, 0.5, 2, 10)


@dataclass
class Position:
    """How far a video has been decoded.

    Attributes:
        num_frames: index of the next frame.
        clock: of the container, once it is open.
        num_promised: frames by the container's own account, which need not hold; None where it
            gives none.
        promised_s: how long the file claims to last, where that is the length of its video.
        next_s: when the frame after the last one is shown, where an index says so.
        num_lead_in: frames decoded before the first that was asked for.
        max_px: larger frames are refused.
    """

    num_frames: int = 0
    clock: Clock = field(default_factory=Clock)
    num_promised: int | None = None
    promised_s: float | None = None
    next_s: float | None = None
    num_lead_in: int = 0
    max_px: float = MAX_PX


def decode_video(stream: IO[bytes], at: Position) -> Generator[Any, None, None]:
    """All frames, in the order in which they are shown.

    Raises:
        SampleError, av.error.FFmpegError: the file is damaged from here on.
    """
    with opened_video(stream, at.max_px) as (container, video):
        for frame in frames_of(container, video, timed_packets(container, video, at)):
            yield _sound(frame, at.max_px)


def decode_file(
    stream: IO[bytes], at: Position, shard: Shard | None = None
) -> Generator[Any, None, None]:
    """All frames of a file, or of the episode in it that a shard stands for.

    An episode has the frames whose middle lies in it, by the file's clock; they are counted and
    timed from its beginning.

    Raises:
        SampleError, av.error.FFmpegError: the file is damaged from here on.
    """
    if shard is None or shard.start_s is None or shard.end_s is None:
        yield from decode_video(stream, at)
        return
    with ExitStack() as stack:
        clock, frames = _from_second(stream, at, shard.start_s, stack)
        begin_s = shard.start_s / clock.unit_s if not clock.counts else 0
        at.clock = replace(clock, start=clock.start + begin_s)
        at.num_promised = round((shard.end_s - shard.start_s) / clock.frame_s)
        for index, frame in enumerate(frames):
            middle_s = clock.time_s(index, frame.pts) + clock.frame_s / 2
            if middle_s >= shard.end_s:
                at.next_s = at.clock.time_s(at.num_frames, frame.pts)
                return
            if middle_s >= shard.start_s:
                yield _sound(frame, at.max_px)
            else:
                at.num_lead_in += 1


def _from_second(
    stream: IO[bytes], at: Position, start_s: float, stack: ExitStack
) -> tuple[Clock, Iterator[Any]]:
    """The file's clock, and frames from a key frame before a second on, or from the start."""
    container, video = stack.enter_context(opened_video(stream, at.max_px))
    packets = container.demux(video)
    first = next(packets, None)
    clock = Clock.of(container, video, first)
    if clock.counts or first is None:
        return clock, frames_of(container, video, chain([first] if first else [], packets))
    # The key frame with which an episode begins may lie a rounding behind its second.
    wanted = int(clock.start + (start_s + clock.frame_s / 4) / clock.unit_s)
    with suppress(av.error.FFmpegError):
        container.seek(wanted, stream=video)
        packets = container.demux(video)
        key = next(packets, None)
        if key is not None and key.is_keyframe and key.pts is not None and key.pts <= wanted:
            frames = frames_of(container, video, chain([key], packets))
            found = _frame_of(frames, key.pts)
            if found is not None:
                return clock, chain([found], frames)
    stack.close()
    stream.seek(0)
    container, video = stack.enter_context(opened_video(stream, at.max_px))
    return clock, frames_of(container, video, container.demux(video))


def _frame_of(frames: Iterable[Any], key_pts: int) -> Any | None:
    """A key frame among those decoded from it on; None where its picture needs others."""
    for frame in frames:
        if frame.pts is None or frame.pts >= key_pts:
            is_whole = frame.pts == key_pts and frame.pict_type == PictureType.I
            return frame if is_whole else None
    return None


def decode_slice(stream: IO[bytes], at: Position, part: Slice) -> Generator[Any, None, None]:
    """The frames from `part.first_frame` to `part.stop_frame`, or to the end for the last slice.

    Each must be shown when the packet index says; so the frames are those that decoding from
    the beginning would give.

    Raises:
        SampleError: the decoder gives other frames than the index promises.
        SampleError, av.error.FFmpegError: the file is damaged from here on.
    """
    times = unpack_pts(part.packed_pts)
    num_frames = part.stop_frame - part.first_frame
    with ExitStack() as stack:
        frames = _begun(stream, at, part, int(times[0]), stack)
        for offset, frame in enumerate(frames):
            if offset < num_frames and frame.pts != times[offset]:
                raise _disagreement(part.first_frame + offset, frame.pts, int(times[offset]))
            yield _sound(frame, at.max_px)
            if not part.is_last and offset + 1 == num_frames:
                at.next_s = at.clock.time_s(part.stop_frame, int(times[num_frames]))
                return
    if not part.is_last:
        raise SampleError("index", f"the video ends before frame {part.stop_frame}; {_REMEDY}")


def begins_at_key(stream: IO[bytes], part: Slice) -> bool:
    """Whether a slice can be decoded from its last key frame."""
    first_pts = int(unpack_pts(part.packed_pts)[0])
    key = part.keys[0]
    with opened_video(stream) as (container, video):
        frames = frames_of(container, video, _packets_from(container, video, key))
        return _skip_lead_in(frames, key, first_pts, Position()) is not None


def shown_frames(frames: Iterator[Any], timer: Timer, at: Position) -> Iterator[Shown]:
    """Frames with their times, each given when the next one is there.

    Args:
        frames: as decoded; an error among them is raised after the frames before it.
        timer: takes them.
        at: where the decoder is; its clock is asked once a frame is there.
    """
    failure: Exception | None = None
    while True:
        try:
            frame = next(frames, None)
        except Exception as error:
            failure, frame = error, None
        if frame is None:
            break
        before = timer.add(frame, at.clock)
        if before is not None:
            yield before
    last = timer.end(at.clock, at.next_s)
    if last is not None:
        yield last
    if failure is None and at.promised_s is not None and timer.falls_short_of(at.promised_s):
        failure = SampleError("decode", missing_end(at.promised_s))
    if failure is not None:
        raise failure


def missing_end(promised_s: float) -> str:
    """What is said of a file that just ends."""
    return f"the file claims to last {promised_s:g} s: its end is missing"


_REMEDY = "set dataset.clip.slice_frames: null for this dataset"


def _disagreement(frame_index: int, actual: object, expected: int) -> SampleError:
    return SampleError(
        "index", f"frame {frame_index} is shown at {actual}, the index says {expected}; {_REMEDY}"
    )


def timed_packets(container: Any, video: Any, at: Position) -> Iterator[Any]:
    """All packets of an open video; its clock, and what it claims to hold, are known at once."""
    packets = container.demux(video)
    first = next(packets, None)
    at.clock = Clock.of(container, video, first)
    at.num_promised = _num_promised(container, video, at.clock)
    if container.format.name in _PROMISING and len(container.streams) == 1 and container.duration:
        at.promised_s = (container.duration - max(0, container.start_time or 0)) / 1e6
    return packets if first is None else chain([first], packets)


def _num_promised(container: Any, video: Any, clock: Clock) -> int | None:
    if video.frames:
        return int(video.frames)
    # A transport stream's duration is not looked for.
    return round(container.duration / 1e6 / clock.frame_s) if container.duration else None


def _begun(
    stream: IO[bytes], at: Position, part: Slice, first_pts: int, stack: ExitStack
) -> Iterator[Any]:
    """Frames from the first wanted on: from the last key frame that leads there, or the start."""
    at.clock = Clock.of_slice(part)
    if not part.first_frame:
        container, video = stack.enter_context(opened_video(stream, at.max_px))
        return frames_of(container, video, container.demux(video))
    for key in (*part.keys, None):
        stream.seek(0)
        container, video = stack.enter_context(opened_video(stream, at.max_px))
        frames = frames_of(container, video, _packets_from(container, video, key))
        first = _skip_lead_in(frames, key, first_pts, at)
        if first is not None:
            return chain([first], frames)
        stack.close()
    raise _disagreement(part.first_frame, "no time", first_pts)


def _skip_lead_in(
    frames: Iterable[Any], key: KeyFrame | None, first_pts: int, at: Position
) -> Any | None:
    """The first wanted frame; None where decoding did not begin as the index has it.

    Leading frames of an open group refer to what was not decoded, come out damaged or not at
    all, and are shown before the key frame: they are never wanted.
    """
    begun = key is None
    for frame in frames:
        # A recovery point is a key packet too, but its picture is complete only later.
        if key is not None and frame.pts == key.pts:
            begun = frame.pict_type == PictureType.I
        if frame.pts is None or frame.pts >= first_pts:
            return frame if begun and frame.pts == first_pts else None
        at.num_lead_in += 1
    return None


def _packets_from(container: Any, video: Any, key: KeyFrame | None) -> Iterator[Any]:
    """Packets from a key frame on; none where seeking does not lead there."""
    if key is None:
        yield from container.demux(video)
        return
    for back_s in _BACK_S:
        try:
            container.seek(key.pts - int(back_s / video.time_base), stream=video)
        except av.error.FFmpegError:
            continue
        packets = container.demux(video)
        first = _find(packets, key)
        if first is not None:
            yield first
            yield from packets
            return


def _find(packets: Iterable[Any], key: KeyFrame) -> Any | None:
    for packet in packets:
        if is_key_packet(packet, key):
            return packet
        if packet.dts is None or packet.dts > key.pts:
            return None
    return None


def _sound(frame: Any, max_px: float) -> Any:
    if frame.is_corrupt:
        raise SampleError("decode", "the next frame is incomplete or damaged")
    check_size(frame, max_px)
    return frame
