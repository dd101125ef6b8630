"""Decode one image or one index mask, at its own depth."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import av
import numpy as np
from PIL import Image, ImageFile

from ray_audit.errors import SampleError

_KEPT = ("L", "RGB", "I;16", "I;16L", "I;16B")
_TO_GREY = ("1", "LA", "La")
_ORIENTATION_TAG = 0x0112
_BITS_PER_SAMPLE_TAG = 258
_PILLOW_LIMIT = threading.Lock()


def read_image(source: bytes | IO[bytes], max_px: float) -> np.ndarray:
    """Decode an image; EXIF orientation is applied, alpha dropped.

    Args:
        source: the stored bytes, or a seekable stream of them.
        max_px: a larger image is refused before it is decoded.

    Returns:
        (H, W, C): C is 1 where one channel is stored, else 3 (RGB); uint8, or uint16 where 16
        bits are stored.

    Raises:
        SampleError: `too_large`, `image_format` or `decode`.
    """
    with _opened(source, max_px) as image:
        if _is_deep_colour(image):
            pixels = _read_deep(image)
        else:
            pixels = _native(np.asarray(_plain(image)))
            pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        # Read after decoding: Pillow turns a TIFF by itself, and then drops the tag.
        return _upright(pixels, image.getexif().get(_ORIENTATION_TAG, 1))


def read_mask(source: bytes | IO[bytes], max_px: float) -> np.ndarray:
    """Decode an index mask: palette indices or grey values as they are stored.

    Returns:
        (H, W) uint8, uint16 or int32.

    Raises:
        SampleError: `mask_format` (an RGB mask), `too_large` or `decode`.
    """
    with _opened(source, max_px) as image:
        if image.mode not in ("1", "P", "L", "I;16", "I;16L", "I;16B", "I"):
            raise SampleError(
                "mask_format",
                f"the mask has mode {image.mode}; expected class indices in one channel "
                "(palette, 8- or 16-bit grey). Convert colours to indices first",
            )
        values = np.asarray(image)
        values = values.astype(np.uint8) if values.dtype.kind == "b" else _native(values)
        return _upright(values, image.getexif().get(_ORIENTATION_TAG, 1))


@contextmanager
def _opened(source: bytes | IO[bytes], max_px: float) -> Iterator[ImageFile.ImageFile]:
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        image = _open_unlimited(stream)
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleError("decode", f"no readable image: {error}") from error
    with image:
        num_px = image.width * image.height
        if num_px > max_px:
            raise SampleError(
                "too_large",
                f"the image has {image.width} x {image.height} = {num_px} px, "
                f"dataset.max_px is {max_px:.4g}",
            )
        try:
            yield image
        except SampleError:
            raise
        except (OSError, ValueError, SyntaxError, EOFError, av.error.FFmpegError) as error:
            raise SampleError("decode", f"the image cannot be decoded: {error}") from error


def _open_unlimited(stream: IO[bytes]) -> ImageFile.ImageFile:
    # `max_px` is the limit here; Pillow's own, which is process-wide, would come first.
    with _PILLOW_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(stream)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _plain(image: Image.Image) -> Image.Image:
    if image.mode in _KEPT:
        return image
    if image.mode in ("I", "F"):
        raise SampleError(
            "image_format",
            f"the image has mode {image.mode} (32 bits a value); expected 8 or 16 bits",
        )
    return image.convert("L" if image.mode in _TO_GREY else "RGB")


def _is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether it has 16 bits in several channels, which Pillow would cut down to 8."""
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE_TAG, (8,))
        return len(bits) > 1 and max(bits) > 8
    rawmode = image.tile[0].args if image.tile else ""
    rawmode = rawmode[0] if isinstance(rawmode, tuple) else rawmode
    return ";16" in str(rawmode) and not image.mode.startswith("I;16")


def _read_deep(image: ImageFile.ImageFile) -> np.ndarray:
    """Decode 16 bits a channel through FFmpeg's PNG or TIFF decoder."""
    codec = {"PNG": "png", "TIFF": "tiff"}.get(image.format or "")
    if codec is None or image.fp is None:
        raise SampleError("image_format", f"16-bit colour in {image.format} is not supported")
    image.fp.seek(0)
    context = av.CodecContext.create(codec, "r")
    packet = av.Packet(image.fp.read())
    frames = [*context.decode(packet), *context.decode(None)]
    if not frames:
        raise SampleError("decode", "no image in the file")
    frame = frames[0]
    components = len(frame.format.components)
    target = {1: "gray16le", 2: "gray16le", 3: "rgb48le", 4: "rgba64le"}[components]
    pixels = frame.to_ndarray(format=target)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels[:, :, :3]
    return np.ascontiguousarray(pixels, dtype=np.uint16)


def _native(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (1 to 8) to the first two axes."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
