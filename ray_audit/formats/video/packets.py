"""The packets of a video: when each frame is shown and where decoding can begin; no decoding."""

import base64
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any, Self

import av
import numpy as np

from ray_audit import storage
from ray_audit.errors import SampleError
from ray_audit.formats.video.clock import Clock
from ray_audit.samples import KeyFrame

_OPTIONS = {
    # MPEG streams would be read from the end too, for a duration that nobody trusts.
    "skip_estimate_duration_from_pts": "1",
    # A file may describe other files or network streams: none of them is ever opened.
    "protocol_whitelist": "",
}
_ONE_FRAME_A_PACKET = (
    *("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "mjpeg", "prores", "vp9", "av1"),
)
_EMPTY_MPEG4_BYTES = 8  # a frame that is "not coded": the decoder gives none for it


@dataclass(frozen=True)
class PacketIndex:
    """What the packets say of the frames.

    Attributes:
        pts: (T,) int64, presentation times in the order in which the frames are shown.
        keys: frames at which decoding can begin, in that order.
        clock: of the container.
    """

    pts: np.ndarray
    keys: tuple[KeyFrame, ...]
    clock: Clock

    @property
    def times_s(self) -> np.ndarray:
        """(T,) float64, when each frame is shown, as decoding gives it."""
        return self.clock.times_s(np.arange(len(self.pts)), self.pts)


def pack_pts(pts: np.ndarray) -> str:
    """Times as a short text: most videos have one step between all frames."""
    steps = np.diff(pts.astype("<i8"), prepend=0)
    return base64.b64encode(zlib.compress(steps.astype("<i8").tobytes())).decode()


def unpack_pts(text: str) -> np.ndarray:
    """Read what `pack_pts` wrote: (T,) int64."""
    return np.cumsum(np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8"))


_RGB_BYTES = 3
MAX_PX = 3.0e8
"""Larger frames are refused where the specification says nothing else."""


@contextmanager
def opened_video(stream: Any, max_px: float = MAX_PX) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream, to be decoded by one thread.

    Args:
        stream: the stored video.
        max_px: a video of larger frames is refused before any is decoded.

    Raises:
        SampleError: there is no video in it, or its frames are too large.
    """
    with av.open(stream, "r", options=_OPTIONS) as container:
        if not container.streams.video:
            raise SampleError("decode", "no video stream in the file")
        video = container.streams.video[0]
        if video.codec_context is None:
            raise SampleError("decode", "its codec is not known here")
        # One thread: a task owns one core, and where a damaged file ends must not vary.
        video.codec_context.thread_count = 1
        check_size(video.codec_context, max_px)
        _check_inflated(video.codec_context, container.size)
        # A stream may grow further on. The decoder counts its padding too: give it some room.
        max_px = int(min(4 * max_px + 2**20, 2**31 - 1))
        # What is damaged or missing is an error, and never made up.
        video.codec_context.options = {"max_pixels": str(max_px), "err_detect": "explode"}
        yield container, video


def check_size(source: Any, max_px: float) -> None:
    """Refuse a video (or a frame) that is larger than `max_px`.

    Raises:
        SampleError: `too_large`.
    """
    num_px = source.width * source.height
    if num_px > max_px:
        raise SampleError(
            "too_large",
            f"its frames have {source.width} x {source.height} = {num_px} px, dataset.max_px is "
            f"{max_px:.4g}",
        )


def _check_inflated(source: Any, stored_bytes: int) -> None:
    num_bytes = _RGB_BYTES * source.width * source.height
    if storage.inflates_too_far(stored_bytes, num_bytes):
        raise SampleError(
            "too_large",
            f"a frame of {source.width} x {source.height} px would take {num_bytes} bytes, out of "
            f"a file of {stored_bytes}",
        )


def read_packets(stream: IO[bytes], size_bytes: int) -> PacketIndex:
    """Index a video; of an mp4 or mov only the container's own index is read.

    Raises:
        SampleError: packets and frames may not agree, so that the video must not be cut.
        av.error.FFmpegError: the file cannot be opened.
    """
    headers = _HeadersOnly(stream, size_bytes)
    with opened_video(headers) as (container, video):
        codec = video.codec_context.codec.canonical_name
        if codec not in _ONE_FRAME_A_PACKET:
            raise SampleError("index", f"a packet of {codec} need not be a frame")
        headers.skips = "mp4" in container.format.name and video.frames > 0
        demuxed: Iterator[Any] = (packet for packet in container.demux(video) if packet.size)
        first = next(demuxed, None)
        if first is None:
            raise SampleError("index", "there are no packets")
        demuxed = chain([first], demuxed)
        if headers.skips:
            packets = list(_described(demuxed, video))
        else:
            packets = [_Packet.of(packet) for packet in demuxed]
        clock = Clock.of(container, video, first)
    return _index_of(packets, codec, clock)


@dataclass(frozen=True, slots=True)
class _Packet:
    pts: int | None
    num_bytes: int
    is_key: bool
    is_discard: bool
    is_corrupt: bool
    crc32: int | None

    @classmethod
    def of(cls, packet: Any) -> Self:
        """Of a packet that was read."""
        crc32 = zlib.crc32(packet) if packet.is_keyframe else None
        flags = (packet.is_keyframe, packet.is_discard, packet.is_corrupt)
        return cls(packet.pts, packet.size, *flags, crc32)


def _described(packets: Iterable[Any], video: Any) -> Iterator[_Packet]:
    """Packets whose content is zeros: what FFmpeg would read in it, the container's index says."""
    entries = list(video.index_entries)
    num_packets = 0
    for num_packets, packet in enumerate(packets, 1):
        entry = entries[num_packets - 1] if num_packets <= len(entries) else None
        if entry is None or (entry.pos, entry.size) != (packet.pos, packet.size):
            raise SampleError("index", f"packet {num_packets} is not where the index says")
        flags = (entry.is_keyframe, packet.is_discard, packet.is_corrupt)
        yield _Packet(packet.pts, packet.size, *flags, None)
    if num_packets != len(entries):
        raise SampleError("index", f"{num_packets} packets where {len(entries)} are promised")


def _index_of(packets: list[_Packet], codec: str, clock: Clock) -> PacketIndex:
    if not packets or not packets[0].is_key:
        raise SampleError("index", "the first packet is no key frame")
    if any(p.is_corrupt for p in packets):
        raise SampleError("index", "a packet is incomplete or damaged")
    if codec == "mpeg4" and any(p.num_bytes <= _EMPTY_MPEG4_BYTES for p in packets):
        raise SampleError("index", "packets without a frame")
    shown = [p for p in packets if not p.is_discard]  # an edit list hides others
    if not shown or any(p.pts is None for p in shown):
        raise SampleError("index", "packets without a presentation time")
    pts = np.sort(np.array([p.pts for p in shown], np.int64))
    if (np.diff(pts) <= 0).any():
        raise SampleError("index", "two packets with one presentation time")
    return PacketIndex(pts, tuple(_keys(shown, pts)), clock)


def _keys(packets: Iterable[_Packet], pts: np.ndarray) -> Iterator[KeyFrame]:
    keys, key_pts, are_open = dict[int, _Packet](), int(pts[0]), False
    for packet in packets:  # in the order in which they are decoded
        assert packet.pts is not None
        are_open |= packet.pts < key_pts
        if packet.is_key:
            key_pts, keys[packet.pts] = packet.pts, packet
    for place, time in enumerate(pts.tolist()):
        if time in keys:
            yield KeyFrame(place, time, keys[time].num_bytes, keys[time].crc32, are_open)


def is_key_packet(packet: Any, key: KeyFrame) -> bool:
    """Whether a packet that was read is the one of the index."""
    return (
        packet.is_keyframe
        and (packet.pts, packet.size) == (key.pts, key.num_bytes)
        and key.crc32 in (None, zlib.crc32(packet))
    )


class _HeadersOnly(io.RawIOBase):
    """A stream that can give zeros in place of the packets' content, which are then not read.

    FFmpeg asks for every packet that its index names; only sizes, times and flags are wanted.
    """

    def __init__(self, stream: IO[bytes], size_bytes: int) -> None:
        self.skips = False
        self.name = ""  # some readers look for one
        self._stream = stream
        self._size_bytes = size_bytes
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._size_bytes - self._at)
        size = left if size < 0 else min(size, left)
        if self.skips:
            content = bytes(size)
        else:
            self._stream.seek(self._at)
            content = self._stream.read(size)
        self._at += len(content)
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at
