"""Slices of a long video by the index of its packets, so that each can be decoded by itself."""

from bisect import bisect_right
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import IO

import numpy as np

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import SampleError
from ray_audit.formats.base import SliceBounds
from ray_audit.formats.video.clock import lacks_end, middles
from ray_audit.formats.video.decode import Position, begins_at_key, decode_video, missing_end
from ray_audit.formats.video.frames import pixels_of
from ray_audit.formats.video.orientation import Orientation
from ray_audit.formats.video.packets import PacketIndex, pack_pts, read_packets
from ray_audit.samples import KeyFrame, Shard, Slice

_BLOCK_BYTES = 2**20  # headers are small, and lie at both ends
_NUM_COMPARED = 8
_NUM_KEYS = 3


@dataclass(frozen=True)
class IndexedVideo:
    """A video whose packets are known; see `FrameIndex`.

    Attributes:
        shard: the video.
        packets: of it.
        first: (H, W, C) its first frame; None where it is too short to be cut.
    """

    shard: Shard
    packets: PacketIndex
    first: np.ndarray | None

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.packets.pts)

    @property
    def frame_s(self) -> float:
        """Seconds a frame."""
        return self.packets.clock.frame_s

    @cached_property
    def middles_s(self) -> np.ndarray:
        """(T,) float64, the middle of each frame's time."""
        return middles(self.packets.times_s, self.frame_s)

    def part(self, number: int, num_slices: int, bounds: SliceBounds) -> Slice:
        """A slice, with the times at which its frames must be shown and where decoding begins."""
        assert self.first is not None
        packets, clock = self.packets, self.packets.clock
        pts = packets.pts[bounds.first_frame : bounds.stop_frame + 1]
        return Slice(
            number=number,
            num_slices=num_slices,
            **bounds._asdict(),
            keys=_keys_before(packets, bounds.first_frame),
            packed_pts=pack_pts(pts),
            time_base=clock.time_base,
            start=clock.start,
            frame_s=clock.frame_s,
            counts=clock.counts,
            frame_shape=self.first.shape,
        )

    def begins_at(self, part: Slice) -> bool:
        """Whether decoding can begin at a slice's key frames."""
        try:
            with _opened(self.shard) as stream:
                return begins_at_key(stream, part)
        except Exception:  # a damaged file raises whatever the decoder likes
            return False


def indexed(shard: Shard, dataset: DatasetConfig, least_frames: int) -> IndexedVideo:
    """A video's packets, and its first frame where it has so many.

    Raises:
        Exception: whatever the decoder raises for a damaged file.
        SampleError: its frames are not those that its packets promise.
    """
    with _opened(shard) as stream:
        packets = read_packets(stream, shard.size_bytes)
        if len(packets.pts) < least_frames:
            return IndexedVideo(shard, packets, None)
        stream.seek(0)
        return IndexedVideo(shard, packets, _compared(stream, packets, dataset.orientation))


def _opened(shard: Shard) -> IO[bytes]:
    return storage.open_read(shard.uri, shard.size_bytes, _BLOCK_BYTES)


def _compared(stream: IO[bytes], packets: PacketIndex, orientation: Orientation) -> np.ndarray:
    """The first frame (H, W, C); the first few must be shown when the index says."""
    at = Position()
    with closing(decode_video(stream, at)) as decoded:
        frames = list(islice(decoded, _NUM_COMPARED))
    times_s = packets.times_s
    gaps_s = np.diff(times_s)
    if at.promised_s is not None and len(gaps_s):
        least, most = float(gaps_s.min()), float(gaps_s.max())
        if lacks_end(float(times_s[-1]), least, most, at.promised_s):
            raise SampleError("index", missing_end(at.promised_s))
    if [frame.pts for frame in frames] != packets.pts[:_NUM_COMPARED].tolist():
        raise SampleError("index", "the decoder gives other frames than the packets promise")
    return pixels_of(frames[0], orientation)


def _keys_before(packets: PacketIndex, frame_index: int) -> tuple[KeyFrame, ...]:
    """The last key frames at or before a frame, the latest first; none at the beginning."""
    if frame_index == 0:
        return ()
    stop = bisect_right([key.frame_index for key in packets.keys], frame_index)
    return tuple(reversed(packets.keys[max(0, stop - _NUM_KEYS) : stop]))
