"""Image files opened for decoding: bounded, upright, and wrong only in one way."""

import io
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import av
import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from ray_audit import storage
from ray_audit.errors import SampleError
from ray_audit.formats.pixels.deep import is_deep_colour

_ORIENTATION_TAG = 0x0112
_BITS, _PHOTOMETRIC, _SAMPLES = 258, 262, 277
_PILLOW_LIMIT = threading.Lock()
_lifted: list[int | None] = []  # Pillow's limit as it was, once for each who lifted it


@contextmanager
def opened(source: bytes | IO[bytes], max_px: float) -> Iterator[ImageFile.ImageFile]:
    """An image whose pixels may be decoded: whatever goes wrong within is a `SampleError`."""
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        image = open_unlimited(stream)
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleError("decode", f"no readable image: {_said(stream, error)}") from error
    with image:
        check_num_px(image.width, image.height, max_px)
        _check_inflated(stream, image)
        try:
            with unlimited():
                yield image
        except SampleError:
            raise
        except (OSError, ValueError, SyntaxError, EOFError, av.error.FFmpegError) as error:
            raise SampleError("decode", f"the image cannot be decoded: {error}") from error


def check_num_px(width: int, height: int, max_px: float) -> None:
    """Refuse an image that is larger than the specification allows.

    Raises:
        SampleError: `too_large`.
    """
    if width * height > max_px:
        raise SampleError(
            "too_large",
            f"the image has {width} x {height} = {width * height} px, "
            f"dataset.max_px is {max_px:.4g}",
        )


def _said(stream: IO[bytes], error: Exception) -> str:
    """What an image is that Pillow does not identify: of a TIFF, its channels and bits."""
    with suppress(OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error):
        stream.seek(0)
        head = stream.read(8)
        if head[:4] in (b"II*\0", b"MM\0*"):
            tags = TiffImagePlugin.ImageFileDirectory_v2(head)
            stream.seek(tags.next)
            tags.load(stream)
            return (
                f"a TIFF of {tags.get(_SAMPLES, 1)} channel(s) of {tags.get(_BITS, (1,))} bits, "
                f"photometric {tags.get(_PHOTOMETRIC)}; expected grey or RGB of 8 or 16 bits"
            )
        if not head.strip(b"\0"):
            return "it is empty, or begins with zeros"
    if isinstance(error, UnidentifiedImageError):
        return "its first bytes are those of no image format that is read"
    return str(error)


def _check_inflated(stream: IO[bytes], image: ImageFile.ImageFile) -> None:
    """Refuse a small file that would fill the memory, as archives do."""
    at = stream.tell()
    stored_bytes = stream.seek(0, io.SEEK_END)
    stream.seek(at)
    bytes_per_px = len(image.getbands()) * (2 if is_deep_colour(image) else 1)
    bytes_per_px *= 4 if image.mode in ("I", "F") else 2 if image.mode.startswith("I;") else 1
    inflated_bytes = image.width * image.height * bytes_per_px
    if storage.inflates_too_far(stored_bytes, inflated_bytes):
        raise SampleError(
            "too_large",
            f"the image has {image.width} x {image.height} px: its {stored_bytes} bytes would "
            f"inflate to {inflated_bytes}, which is more than 256 MiB and 100 times as much",
        )


def open_unlimited(stream: IO[bytes]) -> ImageFile.ImageFile:
    """Open an image of any size; nothing is decoded."""
    with unlimited():
        return Image.open(stream)


@contextmanager
def unlimited() -> Iterator[None]:
    """Lift Pillow's own limit, which is process-wide: `max_px` is the limit here.

    It comes when an image is opened, and for TIFF once more when it is decoded.
    """
    with _PILLOW_LIMIT:
        _lifted.append(_lifted[0] if _lifted else Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _PILLOW_LIMIT:
            limit = _lifted.pop()
            if not _lifted:
                Image.MAX_IMAGE_PIXELS = limit


def native(values: np.ndarray) -> np.ndarray:
    """The same numbers in this machine's byte order."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def tiff_tag(image: Image.Image, tag: int, default: Any) -> Any:
    """Value of a tag of a TIFF; `default` of what has none."""
    return getattr(image, "tag_v2", {}).get(tag, default)


def oriented(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """Apply the EXIF orientation (1 to 8) of a decoded image to the first two axes."""
    # Read after decoding: Pillow turns a TIFF by itself, and then drops the tag.
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
