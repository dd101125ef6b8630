"""Short videos of a made-up procedure with five strictly ordered phases, drawn from a seed.

A field of tissue is marked, cut, clipped and closed. Each phase has its tool and leaves its
trace, but the tool is often out of sight, other things move through the picture, the light
drifts and the camera is noisy: single frames near a change cannot be told apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

PHASES = ("prepare", "mark", "cut", "clip", "close")
"""Names in index order, which is the order in time."""

FRAMES_PER_S = 15
_CODECS = ("libx264", "mpeg4")
_TOOLS = (None, "pointer", "blade", "ring", "needle")
_TOOL_SEEN_FRACTION = 0.8
_MIN_PHASE_FRACTION = 0.12


@dataclass(frozen=True)
class DemoVideo:
    """One video before it is encoded.

    Attributes:
        frames: (T, H, W, 3) uint8, RGB.
        labels: (T,) int64, indices into `PHASES`.
    """

    frames: np.ndarray
    labels: np.ndarray


def make_video(rng: np.random.Generator, num_frames: int, size_px: int) -> DemoVideo:
    """Draw one video of `size_px` x `size_px`.

    Args:
        rng: decides everything.
        num_frames: T, at least 20.
        size_px: height and width, even.
    """
    labels = _phase_labels(rng, num_frames)
    scene = _Scene(rng, size_px)
    frames = np.stack(list(_draw(rng, scene, labels)))
    return DemoVideo(frames, labels)


def _phase_labels(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    num_phases = len(PHASES)
    shares = _MIN_PHASE_FRACTION + rng.dirichlet(np.full(num_phases, 4.0)) * (
        1 - num_phases * _MIN_PHASE_FRACTION
    )
    ends = np.rint(np.cumsum(shares) * num_frames).astype(np.int64)
    labels: np.ndarray = np.searchsorted(ends[:-1], np.arange(num_frames), side="right")
    return labels


class _Scene:
    """What stays the same within a video: the tissue and where the work is done."""

    def __init__(self, rng: np.random.Generator, size_px: int) -> None:
        self.size_px = size_px
        self.tissue = _tissue(rng, size_px)
        margin, height = 0.22 * size_px, rng.uniform(0.4, 0.6) * size_px
        slope = rng.uniform(-0.15, 0.15) * size_px
        self.start = np.array([margin, height - slope])
        self.stop = np.array([size_px - margin, height + slope])

    def point(self, fraction: float) -> np.ndarray:
        """(x, y) on the line that is worked on, from 0 at its start to 1 at its end."""
        at: np.ndarray = self.start + fraction * (self.stop - self.start)
        return at


def _tissue(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Smooth texture around a reddish tone; (H, W, 3) float in [0, 255]."""
    noise = rng.normal(size=(size_px, size_px))
    bumps = sum(
        ndimage.gaussian_filter(noise, sigma) * sigma for sigma in (size_px / 50, size_px / 12)
    )
    tone = np.array([165, 105, 95]) + rng.normal(scale=12, size=3)
    texture: np.ndarray = tone + 9 * np.asarray(bumps)[:, :, None]
    return texture


def _draw(rng: np.random.Generator, scene: _Scene, labels: np.ndarray) -> Iterator[np.ndarray]:
    size_px, num_frames = scene.size_px, len(labels)
    drift = rng.uniform(0.03, 0.12) * np.sin(
        np.linspace(0, rng.uniform(2, 8), num_frames) + rng.uniform(0, 6)
    )
    seen = _seen(rng, num_frames)
    wander = ndimage.gaussian_filter1d(rng.normal(size=(num_frames, 2)), 4, axis=0)
    passers = [_Passer(rng, size_px, num_frames) for _ in range(3)]
    for frame_index, phase in enumerate(labels.tolist()):
        within = np.flatnonzero(labels == phase)
        progress = (frame_index - within[0] + 1) / len(within)
        canvas = Image.fromarray(np.clip(scene.tissue, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(canvas)
        _draw_traces(pen, scene, phase, progress)
        if seen[frame_index]:
            # The tool trembles about the place where the work is.
            at = scene.point(progress) + 0.12 * size_px * wander[frame_index] * 3
            _draw_tool(pen, _TOOLS[phase], at, size_px)
        for passer in passers:
            passer.draw(pen, frame_index)
        light = 1 + drift[frame_index] + rng.normal(scale=0.015)
        pixels = np.asarray(canvas) * light + rng.normal(scale=7, size=(size_px, size_px, 1))
        yield np.clip(pixels, 0, 255).astype(np.uint8)


def _seen(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """In which frames the tool is in sight; it stays away for a few frames at a time."""
    slow = ndimage.gaussian_filter1d(rng.normal(size=num_frames), 2)
    seen: np.ndarray = slow > np.quantile(slow, 1 - _TOOL_SEEN_FRACTION)
    return seen


def _draw_traces(pen: ImageDraw.ImageDraw, scene: _Scene, phase: int, progress: float) -> None:
    """What the phases so far have left on the tissue."""
    thick = max(1, scene.size_px // 32)
    done = [1.0 if phase > earlier else progress * (phase == earlier) for earlier in range(5)]
    if done[1]:
        for dash in np.arange(0, done[1], 0.14):
            line = [*scene.point(dash), *scene.point(min(done[1], dash + 0.07))]
            pen.line(line, fill=(70, 60, 120), width=thick)
    if done[2]:
        opening = [*scene.point(0), *scene.point(done[2])]
        pen.line(opening, fill=(120, 20, 25), width=2 * thick)
    if done[3]:
        for clip in np.arange(0.15, done[3], 0.25):
            _disc(pen, scene.point(clip), 1.6 * thick, (190, 190, 200))
    if done[4]:
        pen.line([*scene.point(0), *scene.point(done[4])], fill=(185, 135, 120), width=2 * thick)


def _disc(
    pen: ImageDraw.ImageDraw, at: np.ndarray, radius_px: float, fill: tuple[int, int, int]
) -> None:
    pen.ellipse([*(at - radius_px), *(at + radius_px)], fill=fill)


def _draw_tool(pen: ImageDraw.ImageDraw, tool: str | None, at: np.ndarray, size_px: int) -> None:
    if tool is None:
        return
    x, y = at
    reach = 0.2 * size_px
    thick = max(1, size_px // 32)
    # Every shaft looks alike; the tip tells the tools apart.
    pen.line([x, y, x + 2.2 * reach, y + 3 * reach], fill=(130, 135, 145), width=thick + 1)
    if tool == "pointer":
        _disc(pen, at, 1.2 * thick, (60, 70, 170))
    elif tool == "blade":
        tip = [(x, y), (x + reach, y + 0.25 * reach), (x + 0.6 * reach, y + reach)]
        pen.polygon(tip, fill=(205, 210, 220))
    elif tool == "ring":
        box = [x - 0.4 * reach, y - 0.4 * reach, x + 0.4 * reach, y + 0.4 * reach]
        pen.ellipse(box, outline=(200, 200, 90), width=thick)
    else:
        pen.arc([x - reach, y - reach, x + 0.4 * reach, y + 0.4 * reach], 20, 200, (40, 40, 45), 2)


class _Passer:
    """Something that has nothing to do with the phase and crosses the picture."""

    def __init__(self, rng: np.random.Generator, size_px: int, num_frames: int) -> None:
        self._from = rng.uniform(0, size_px, size=2)
        self._step = rng.normal(scale=0.9 * size_px / num_frames, size=2)
        self._radius_px = rng.uniform(0.03, 0.08) * size_px
        self._fill = tuple(int(v) for v in rng.integers(40, 220, size=3))
        self._size_px = size_px

    def draw(self, pen: ImageDraw.ImageDraw, frame_index: int) -> None:
        at = (self._from + frame_index * self._step) % self._size_px
        red, green, blue = self._fill
        _disc(pen, at, self._radius_px, (red, green, blue))


def write_video(path: Path, frames: np.ndarray) -> None:
    """Encode frames as mp4, H.264 where this FFmpeg can, else MPEG-4, with one thread.

    Args:
        path: ends in `.mp4`.
        frames: (T, H, W, 3) uint8, RGB; H and W even.
    """
    codec = next(name for name in _CODECS if name in av.codecs_available)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FRAMES_PER_S)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        stream.codec_context.time_base = Fraction(1, FRAMES_PER_S)
        if codec == "libx264":
            # Its assembly looks ahead in memory that nobody wrote: one file in ten is another
            # (findings/x264_gives_other_bytes_at_times.sh).
            stream.options = {"crf": "20", "preset": "veryfast", "x264-params": "asm=0"}
        else:
            stream.bit_rate = 1_000_000
        for frame_index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = frame_index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
