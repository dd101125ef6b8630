"""Clips from a stream of frames, holding little more than two clips at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ray_audit.cuts.geometry import boundary
from ray_audit.formats.base import Frame


@dataclass(frozen=True)
class Clip:
    """Consecutive sampled frames, and the positions in it that it owns."""

    start: int
    frames: tuple[Frame, ...]
    owned: range


@dataclass(frozen=True)
class Stretch:
    """Part of a stream, in sampled frames: it begins with a clip.

    Attributes:
        start: first frame of its first clip.
        own_start: first frame that its clips own.
        own_stop: end of what they own, exclusive; None for the end of the stream.
    """

    start: int = 0
    own_start: int = 0
    own_stop: int | None = None


def stream_clips(
    frames: Iterable[Frame], size: int | None, stride: int, stretch: Stretch | None = None
) -> Iterator[Clip]:
    """Cut a stream into clips; each is given out as soon as what it owns is certain.

    Args:
        frames: sampled frames in order.
        size: frames in a clip; None for one clip of all frames.
        stride: sampled frames between clip starts, at most `size`.
        stretch: which part of a stream the frames are; None for all of it.

    Yields:
        Clips in order. The last one is moved back to end at the last frame; a stream shorter
        than `size` gives one shorter clip.
    """
    if size is None:
        whole = tuple(frames)
        if whole:
            yield Clip(0, whole, range(len(whole)))
        return
    buffer: list[Frame] = []  # frames from `start` on
    stretch = stretch or Stretch()
    start, owned_from = stretch.start, stretch.own_start
    for num_seen, frame in enumerate(frames, start + 1):
        buffer.append(frame)
        if num_seen == start + stride + size:
            # The next clip is complete where it regularly starts: this one is settled.
            edge = boundary(start, start + stride, size)
            yield _clip(start, buffer[:size], owned_from, edge)
            del buffer[:stride]
            start, owned_from = start + stride, edge
    yield from _last_clips(buffer, start, owned_from, stretch.own_stop, size)


def _last_clips(
    buffer: list[Frame], start: int, owned_from: int, own_stop: int | None, size: int
) -> Iterator[Clip]:
    stop = start + len(buffer)
    owned_to = stop if own_stop is None else min(own_stop, stop)
    moved_back = stop - size
    if moved_back > start:
        edge = min(boundary(start, moved_back, size), owned_to)
        yield _clip(start, buffer[:size], owned_from, edge)
        yield _clip(moved_back, buffer[moved_back - start :], edge, owned_to)
    elif buffer:
        yield _clip(start, buffer, owned_from, owned_to)


def _clip(start: int, frames: list[Frame], owned_from: int, owned_to: int) -> Clip:
    return Clip(start, tuple(frames), range(owned_from - start, owned_to - start))
