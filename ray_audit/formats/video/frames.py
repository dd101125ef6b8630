"""Frames of a video, one after another: their pixels, and when they are shown."""

from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import IO, Any

import numpy as np

from ray_audit import storage
from ray_audit.errors import SampleError, StorageError
from ray_audit.formats.video.clock import Timer
from ray_audit.formats.video.decode import Position, decode_file, shown_frames
from ray_audit.formats.video.orientation import Orientation, oriented, turns
from ray_audit.formats.video.stills import Still
from ray_audit.samples import Shard

# FFmpeg's converter takes their bytes in the wrong order, without a word:
# findings/big_endian_rgb_of_16_bits_is_misread.sh shows it.
_MISREAD = {"rgb555be", "bgr555be", "rgb565be", "bgr565be"}
_REMEDY = "encode the video anew, as yuv420p or gbrp with the matrix bt709 for example"


def decoded_frames(
    stream: IO[bytes], orientation: Orientation = "stored", shard: Shard | None = None
) -> Generator[Callable[[], np.ndarray], None, None]:
    """Frames in decoding order, each as a function that gives its pixels, (H, W, C).

    Args:
        stream: of the file.
        orientation: of the pixels.
        shard: says which episode of the file is meant; None for all of it.

    Raises:
        SampleError: the video cannot be decoded to its end.
    """
    for frame in decode_file(stream, Position(), shard):
        yield partial(pixels_of, frame, orientation)


def is_turned(shard: Shard) -> bool:
    """Whether players turn or mirror a video, by its first frame; not where that is damaged."""
    with suppress(Exception), storage.open_read(shard.uri, shard.size_bytes) as stream:
        return turns(next(decode_file(stream, Position(), shard)))
    return False


def frame_times(shard: Shard) -> tuple[np.ndarray, np.ndarray]:
    """When each frame is shown, in decoding order, up to the first damage.

    Returns:
        Times and middles of the frames, (T,) float64 seconds each.

    Raises:
        StorageError: the store did not give all of it, which tells nothing of where it ends.
    """
    at, times, frame_middles = Position(), list[float](), list[float]()
    with storage.open_read(shard.uri, shard.size_bytes) as stream:
        try:
            for frame in shown_frames(decode_file(stream, at, shard), Timer(), at):
                times.append(frame.time_s)
                frame_middles.append(frame.middle_s)
        except (StorageError, MemoryError):
            raise
        except Exception:  # a damaged file raises whatever the decoder likes
            pass
    return np.array(times, np.float64), np.array(frame_middles, np.float64)


def pixels_of(frame: Any, orientation: Orientation) -> np.ndarray:
    """(H, W, C): RGB, or one channel where the video is grey.

    Raises:
        SampleError: the frame's display matrix cannot be applied, or its colours not be converted.
    """
    if isinstance(frame, Still):
        return frame.pixels()
    return oriented(_converted(frame), frame, orientation)


def _converted(frame: Any) -> np.ndarray:
    name = frame.format.name
    if name in _MISREAD:
        raise SampleError("image_format", f"frames of {name} are not read; {_REMEDY}")
    try:
        if not name.startswith("gray"):
            # By the tags from PyAV 17 on: findings/tagged_colours_need_pyav_17.sh shows it.
            pixels: np.ndarray = frame.to_ndarray(format="rgb24")
            return pixels
        # As stored, whatever range is tagged: so FFmpeg and those that build on it take grey.
        grey: np.ndarray = frame.to_ndarray(format="gray" if name == "gray" else "gray16le")
        return grey[:, :, None]
    except (OSError, ValueError) as error:
        raise SampleError(
            "image_format",
            f"frames of {name} with colour matrix {int(frame.colorspace)} (of ITU-T H.273) cannot "
            f"be turned into RGB: {error}; {_REMEDY}",
        ) from error
