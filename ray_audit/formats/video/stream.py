"""From packets to frames as players show them; ends where a picture is damaged or missing."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import av

from ray_audit.errors import SampleError
from ray_audit.formats.video.clock import CONSTANT, has_times_of_decoding

_TS_DISCONT = 0x0200
"""libavformat's AVFMT_TS_DISCONT: times may jump, because recordings may be joined."""
_MARKED_EARLY = 2
"""A parser may put the mark on a packet before the last one of the recording that ends."""
_JUMP_S = 1.0
"""A clock that leaps this far ahead, to a key frame behind a damaged packet, is another's."""
_TIMES_THE_GAP = 1.5
_NUM_GAPS = 8
_H264_IDR = 5
_TS_PACKET_BYTES = (188, 192, 204)


def frames_of(container: Any, video: Any, packets: Iterable[Any]) -> Iterator[Any]:
    """Frames in the order in which they are shown.

    What precedes the first key frame, or is shown before it and refers to what is not there, is
    left out without a word, as players do; so is it where a second recording begins. Behind a
    packet that is lost only frames are given that no lost one can precede.

    Args:
        container: as PyAV opens it.
        video: its stream, set to raise an error for what it cannot decode.
        packets: of that stream, from where decoding begins, in their order.

    Raises:
        SampleError, av.error.FFmpegError: the rest is damaged, or missing.
    """
    is_joinable = bool(container.format.flags & _TS_DISCONT)
    is_cut_off = _ends_within_a_packet(container)
    tail, lead_in, last_dts = _Tail(container, video), _LeadIn(video), None
    queue = _Queue(packets)
    while (packet := queue.next()) is not None:
        if is_joinable and _falls_back(last_dts, packet):
            lead_in = _LeadIn(video)
            # Another recording; without a key frame it may be the same one, with its clock reset.
            if packet.is_keyframe:
                yield from tail.checked(_drained(video), is_end=True)
                tail = _Tail(container, video)
        if (
            is_cut_off
            and not [next_packet for next_packet in queue.peek(1) if next_packet.size]
            and packet.size
        ):
            yield from _before(container, video, packet)
            raise SampleError("decode", "the file ends within the next packet")
        if packet.is_corrupt:
            following = queue.peek(_MARKED_EARLY)
            if not (is_joinable and _is_seam(packet, following, video)):
                yield from _before(container, video, packet)
                raise SampleError("decode", "the next packet is incomplete or damaged")
        if packet.dts is not None:
            last_dts = packet.dts
        lead_in.see(packet)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            if not lead_in.forgives(packet):
                yield from _before(container, video, packet)
                raise
            frames = []
        for frame in tail.checked(frames, is_end=not packet.size):
            lead_in.check(frame)
            yield frame


class _LeadIn:
    """Whether a packet may be undecodable because what it refers to was cut off before it.

    H.264's decoder complains of the first picture behind a key frame too, where that does not
    reset it, and decodes it all the same: such a picture must come out.
    """

    def __init__(self, video: Any) -> None:
        self._video = video
        self._key_pts: int | None = None
        self._resets = True
        self._is_over = False
        self._owed: list[int] = []

    def see(self, packet: Any) -> None:
        """Take the next packet, in decoding order."""
        if self._is_over or not packet.size:
            return
        if self._key_pts is None:
            if packet.is_keyframe:
                self._key_pts, self._is_over = packet.pts, packet.pts is None
                self._resets = _resets_decoder(self._video, packet)
        elif packet.dts is not None and packet.dts >= self._key_pts:
            # Whatever is decoded from here on is shown after the key frame.
            self._is_over = True

    def forgives(self, packet: Any) -> bool:
        """Whether the packet, of which the decoder complains, is no loss."""
        if self._is_over or not packet.size or packet.is_keyframe:
            return False
        if self._key_pts is None:
            return True
        if packet.pts is None:
            return False
        if packet.pts > self._key_pts:
            self._owed.append(packet.pts)
            return not self._resets
        return True

    def check(self, frame: Any) -> None:
        """Take the next frame, in order of showing."""
        if not self._owed or frame.pts is None:
            return
        if frame.pts in self._owed:
            self._owed.remove(frame.pts)
        elif any(pts < frame.pts for pts in self._owed):
            raise SampleError("decode", "the next frame is incomplete or damaged")


def _resets_decoder(video: Any, key: Any) -> bool:
    """Whether no picture behind a key frame refers to one before it, as far as that can be told."""
    context = video.codec_context
    if context.codec.canonical_name != "h264":
        return True
    return _H264_IDR in _nal_types(bytes(key), context.extradata or b"")


def _nal_types(content: bytes, extradata: bytes) -> set[int]:
    """Types of the units in an H.264 packet, behind lengths (mp4, mkv) or start codes (ts)."""
    if extradata[:1] != b"\x01":
        return {part[0] & 31 for part in content.split(b"\0\0\1")[1:] if part}
    num_bytes, at, types = (extradata[4] & 3) + 1, 0, set()
    while at + num_bytes < len(content):
        types.add(content[at + num_bytes] & 31)
        at += num_bytes + int.from_bytes(content[at : at + num_bytes])
    return types


class _Tail:
    """Looks for a gap among the last frames of a file that was cut off between two packets.

    Pictures wait in the decoder for those to be shown before them. Where these are lost, the
    frames behind would be given too early a number. Where the frame rate varies, a gap alone is
    no sign: the container must promise more than it holds.
    """

    def __init__(self, container: Any, video: Any) -> None:
        self._unit_s = float(video.time_base)
        self._reorders = bool(video.codec_context.has_b_frames)
        # A transport stream promises nothing, and is cut anywhere.
        self._may_be_cut = bool(container.format.flags & _TS_DISCONT)
        self._end_s = _promised_end_s(container)
        self._last_pts: int | None = None
        self._range = (math.inf, 0.0)
        rate = video.average_rate
        self._gaps: list[float] = [float(1 / rate) / self._unit_s] if rate else []

    def checked(self, frames: Iterable[Any], is_end: bool) -> Iterator[Any]:
        """Frames on their way out."""
        decoded = list(frames)
        missing = is_end and self._reorders and self._is_cut_off(decoded)
        for frame in decoded:
            gap = None
            if frame.pts is not None and self._last_pts is not None:
                gap = frame.pts - self._last_pts
            if missing and gap is not None and self._gaps:
                if gap > _TIMES_THE_GAP * max(self._gaps):
                    raise SampleError("decode", "the file ends before the next frame is complete")
            elif gap is not None and gap > 0:
                self._gaps = [*self._gaps[1 - _NUM_GAPS :], gap]
                self._range = (min(self._range[0], gap), max(self._range[1], gap))
            if frame.pts is not None:
                self._last_pts = frame.pts
            yield frame

    def _is_cut_off(self, decoded: list[Any]) -> bool:
        least, highest = self._range
        if self._may_be_cut or 0 < highest <= CONSTANT * least:
            return True
        pts = [frame.pts for frame in decoded if frame.pts is not None]
        if self._end_s is None or not pts:
            return False
        left_s = self._end_s - max(pts) * self._unit_s
        return bool(self._gaps and left_s > _TIMES_THE_GAP * max(self._gaps) * self._unit_s)


def _ends_within_a_packet(container: Any) -> bool:
    """Whether a transport stream has not a whole number of packets, or ASF lacks a part.

    Of an ASF file that is shorter than its header says FFmpeg tells no duration.
    """
    if container.format.name == "asf":
        return container.duration is None
    if container.format.name != "mpegts":
        return False
    return all(container.size % num_bytes for num_bytes in _TS_PACKET_BYTES)


def _promised_end_s(container: Any) -> float | None:
    if container.duration is None:
        return None
    return float((container.start_time or 0) + container.duration) / 1e6


def _falls_back(last_dts: int | None, packet: Any) -> bool:
    return last_dts is not None and packet.dts is not None and packet.dts < last_dts


def _is_seam(packet: Any, following: list[Any], video: Any) -> bool:
    """Whether a packet is marked as damaged only because another recording begins behind it."""
    unit_s = float(video.time_base)
    for before, after in pairwise([packet, *following]):
        if before.dts is None or after.dts is None:
            return False
        ahead_s = (after.dts - before.dts) * unit_s
        if ahead_s <= 0 or (ahead_s > _JUMP_S and after.is_keyframe):
            return True
    return False


class _Queue:
    """Packets one after another, with a look at those that come next."""

    def __init__(self, packets: Iterable[Any]) -> None:
        self._packets = iter(packets)
        self._peeked: deque[Any] = deque()

    def next(self) -> Any | None:
        return self._peeked.popleft() if self._peeked else next(self._packets, None)

    def peek(self, number: int) -> list[Any]:
        """Up to `number` of the next packets; they stay."""
        while len(self._peeked) < number:
            packet = next(self._packets, None)
            if packet is None:
                break
            self._peeked.append(packet)
        return list(self._peeked)[:number]


def _drained(video: Any) -> list[Any]:
    """The frames that the decoder still holds; it can begin anew then."""
    try:
        frames: list[Any] = video.codec_context.decode(None)
    finally:
        video.codec_context.flush_buffers()
    return frames


def _before(container: Any, video: Any, lost: Any) -> Iterator[Any]:
    """Frames that the decoder still holds, and that are shown before whatever is lost.

    Nothing that is decoded later can be shown before the time at which it is decoded.
    """
    if lost.dts is None or has_times_of_decoding(container, video):
        return
    with suppress(av.error.FFmpegError):
        for frame in video.codec_context.decode(None):
            if frame.pts is None or frame.pts >= lost.dts:
                return
            yield frame
