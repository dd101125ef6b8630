"""Masks as the frames of a video without loss."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import av
import numpy as np

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.pixels.stored_masks import chosen_channel
from ray_audit.formats.places import below, file_below
from ray_audit.formats.stacks.base import MaskStack, NewMask
from ray_audit.formats.video.clock import Timer
from ray_audit.formats.video.decode import Position, timed_packets
from ray_audit.formats.video.frames import pixels_of
from ray_audit.formats.video.orientation import turns
from ray_audit.formats.video.packets import opened_video
from ray_audit.formats.video.stream import frames_of

CODECS = ("ffv1", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "png", "qtrle", "rawvideo", "zlib")
"""Codecs that give each value back as it was."""
FORMATS = ("gray", "gray16le", "pal8", "rgb24", "bgr24", "gbrp", "bgr0", "0rgb", "rgb0", "0bgr")
"""Pixel formats in which values are as they were given: YUV went through a conversion."""
ENDINGS = (".mkv", ".avi", ".mov", ".nut")
"""Containers of such videos."""

_MOST_FRAMES = 10_000_000  # that a header is believed to have lost
_REMEDY = "ffmpeg -i masks -c:v ffv1 -pix_fmt gray masks.mkv, from the original masks"


class VideoMasks(MaskStack):
    """The frames of a mask video; frame k is the mask of frame k.

    Of a file that breaks off, `frames` has those that it claims to hold too: each is a mask that
    cannot be read, not one that nobody made.

    Args:
        uri: of the video.
        dataset: says how masks are stored.
        tally: counts what is read.

    Raises:
        SampleError: `mask_format`: it is encoded with loss, or in YUV.
        av.error.FFmpegError: it is no video.
    """

    def __init__(self, uri: str, dataset: DatasetConfig, tally: UnitAccounting) -> None:
        self._uri, self._dataset = uri, dataset
        self._classes = ClassNames.of(dataset)
        self._stream = tally.open_read(uri)
        try:
            with opened_video(self._stream, dataset.max_px) as (container, video):
                _check_lossless(uri, video.codec_context.name, video.codec_context.pix_fmt)
                self.codec = str(video.codec_context.name)
                num, num_claimed = _num_masks(container, video)
        except BaseException:
            self._stream.close()
            raise
        self.frames = np.arange(num_claimed)
        self._num_there = num
        self._decoded: Iterator[np.ndarray] = iter(())
        self._next = num
        self._last: np.ndarray | None = None

    def mask(self, frame: int) -> np.ndarray:
        """See `MaskStack.mask`."""
        labels = self._dataset.labels
        colours = self._classes.has_colours
        where = f"the frame {frame} of {self._uri}"
        return chosen_channel(self._pixels(frame), labels.channel, colours, where)

    def _pixels(self, frame: int) -> np.ndarray:
        """(H, W, 1 or 3) uint8 or uint16; from the beginning where it lies before the last one.

        Raises:
            SampleError: it cannot be decoded, or is not there.
        """
        if self._last is not None and frame == self._next - 1:
            return self._last
        if self._last is None or frame < self._next:
            self._stream.seek(0)
            self._decoded, self._next = self._frames(), 0
        try:
            for pixels in self._decoded:
                self._last, self._next = pixels, self._next + 1
                if self._next > frame:
                    return pixels
        except av.error.FFmpegError as error:
            raise SampleError("decode", f"{self._uri} is damaged: {error}") from error
        raise SampleError("decode", f"{self._uri} ends before frame {frame}")

    def _frames(self) -> Iterator[np.ndarray]:
        with opened_video(self._stream, self._dataset.max_px) as (container, video):
            for frame in frames_of(container, video, container.demux(video)):
                if self._dataset.orientation == "display" and turns(frame):
                    raise SampleError(
                        "mask_format",
                        f"the mask video {self._uri} has a display matrix of its own, and "
                        "dataset.orientation is display: masks are read as they are stored. Write "
                        "it anew as players show it, without the matrix (ffmpeg does so)",
                    )
                yield pixels_of(frame, "stored")

    def write(self, new: NewMask, to_folder: str, template: str) -> None:
        """See `MaskStack.write`."""
        target = below(to_folder, file_below(template, self._uri))
        changed = {frame: new(frame) for frame in self.frames.tolist()}
        changed = {frame: mask for frame, mask in changed.items() if mask is not None}
        if not changed:
            storage.copy(self._uri, target)
            return
        ending = os.path.splitext(self._uri)[1]
        with tempfile.TemporaryDirectory(prefix="ray-audit-") as folder:
            path = os.path.join(folder, f"masks{ending}")
            self._encode(changed, path)
            self._check_same(changed, path)
            storage.copy(path, target)

    def _expected(self, pixels: np.ndarray, frame: int, mask: np.ndarray | None) -> np.ndarray:
        """Pixels of a frame with its new mask in the channel, or channels, that hold it."""
        if mask is None:
            return pixels
        limits = np.iinfo(pixels.dtype)
        if mask.min(initial=0) < 0 or mask.max(initial=0) > limits.max:
            raise LabelError(
                f"{self._uri}, frame {frame}: value {int(mask.max())} does not fit {pixels.dtype}"
            )
        expected, channel = pixels.copy(), self._dataset.labels.channel
        if mask.ndim == 3:
            expected[...] = mask
        elif channel is None or pixels.shape[2] == 1:
            expected[...] = mask[:, :, None]
        else:
            expected[:, :, channel] = mask
        return expected

    def _encode(self, changed: dict[int, np.ndarray | None], path: str) -> None:
        self._stream.seek(0)
        with (
            opened_video(self._stream, self._dataset.max_px) as (source, video),
            av.open(path, "w") as sink,
        ):
            check_encoder(self._uri, video.codec_context.name)
            sink.metadata.update(source.metadata)
            copy = _stream_like(sink, video)
            frames = frames_of(source, video, source.demux(video))
            for index, frame in enumerate(frames):
                pixels = self._expected(pixels_of(frame, "stored"), index, changed.get(index))
                sink.mux(copy.encode(_frame_like(pixels, frame, video)))
            sink.mux(copy.encode())

    def _check_same(self, changed: dict[int, np.ndarray | None], path: str) -> None:
        """What was written must read as what was to be written.

        Raises:
            LabelError: it does not.
        """
        num = 0
        self._stream.seek(0)
        with (
            open(path, "rb") as stream,
            opened_video(stream, self._dataset.max_px) as (file, video),
        ):
            written = frames_of(file, video, file.demux(video))
            for num, (before, after) in enumerate(zip(self._frames(), written, strict=False), 1):
                expected = self._expected(before, num - 1, changed.get(num - 1))
                if not np.array_equal(pixels_of(after, "stored"), expected):
                    break
            else:
                if num == self._num_there:
                    return
        raise LabelError(
            f"{self._uri}: its masks do not come back from codec {self.codec} as they were "
            f"written, from frame {num} on; keep the masks as image files"
        )

    def close(self) -> None:
        """See `MaskStack.close`."""
        self._decoded = iter(())
        self._stream.close()


def _num_masks(container: Any, video: Any) -> tuple[int, int]:
    """Frames that are there, and frames that the file claims to have."""
    at, timer = Position(), Timer()
    num = num_empty = 0
    for packet in timed_packets(container, video, at):
        if packet.size:
            num += 1
            timer.add(packet, at.clock)
        else:
            num_empty += packet.dts is not None
    timer.end(at.clock)
    is_short = at.promised_s is not None and timer.falls_short_of(at.promised_s)
    if not is_short and num + num_empty >= video.frames:
        return num, num
    return num, max(num, min(at.num_promised or 0, _MOST_FRAMES))


def check_encoder(uri: str, codec: str) -> None:
    """Refuse a codec that cannot be encoded here.

    Raises:
        LabelError: it cannot.
    """
    with suppress(ValueError, av.error.FFmpegError):
        av.Codec(codec, "w")
        return
    raise LabelError(
        f"{uri} is encoded by {codec}, which cannot be written here; convert the masks to ffv1"
    )


def _check_lossless(uri: str, codec: str, pix_fmt: str | None) -> None:
    if codec not in CODECS or pix_fmt not in FORMATS:
        raise SampleError(
            "mask_format",
            f"the mask video {uri} is encoded by {codec} as {pix_fmt}: its values need not be "
            f"those of the masks. Expected one of {', '.join(CODECS)} in grey, palette or RGB "
            f"({', '.join(FORMATS)}); write it anew with {_REMEDY}",
        )


def _stream_like(sink: Any, video: Any) -> Any:
    copy = sink.add_stream(video.codec_context.name, rate=video.average_rate)
    copy.width, copy.height = video.codec_context.width, video.codec_context.height
    copy.pix_fmt = video.codec_context.pix_fmt
    copy.time_base = copy.codec_context.time_base = video.time_base
    copy.metadata.update(video.metadata)
    return copy


def _frame_like(pixels: np.ndarray, frame: Any, video: Any) -> Any:
    if pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
        source = "gray" if pixels.dtype == np.uint8 else "gray16le"
    else:
        source = "rgb24"
    made = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=source)
    made = made.reformat(format=video.codec_context.pix_fmt)
    made.pts, made.time_base = frame.pts, frame.time_base
    return made
