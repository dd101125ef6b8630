"""Decode one image or one mask, at its own depth."""

from typing import IO

import numpy as np
from PIL import Image

from ray_audit.errors import SampleError
from ray_audit.formats.pixels.deep import is_deep_colour, read_deep
from ray_audit.formats.pixels.opened import native, opened, oriented, tiff_tag
from ray_audit.formats.pixels.stored_masks import ONE_CHANNEL, as_stored, of_channels

_DEEP_GREY = ("I;16", "I;16L", "I;16B")
_KEPT = ("L", "RGB", *_DEEP_GREY)
_TO_GREY = ("1", "LA", "La")
_PHOTOMETRIC_TAG = 262
_SAMPLE_FORMAT_TAG = 339
_SAMPLES_TAG, _EXTRA_SAMPLES_TAG, _UNSPECIFIED = 277, 338, 0


def read_image(source: bytes | IO[bytes] | np.ndarray, max_px: float) -> np.ndarray:
    """Decode an image; EXIF orientation is applied, alpha dropped.

    Args:
        source: the stored bytes, or a seekable stream of them; or what was decoded already.
        max_px: a larger image is refused before it is decoded.

    Returns:
        (H, W, C): C is 1 where one channel is stored, else 3 (RGB); uint8, or uint16 where 16
        bits are stored.

    Raises:
        SampleError: `too_large`, `image_format` or `decode`.
    """
    if isinstance(source, np.ndarray):
        return source
    with opened(source, max_px) as image:
        _check_no_bands_are_lost(image)
        if is_deep_colour(image):
            pixels = read_deep(image)
        else:
            is_inverted = image.mode in _DEEP_GREY and tiff_tag(image, _PHOTOMETRIC_TAG, 1) == 0
            pixels = native(np.asarray(_plain(image)))
            # Pillow inverts TIFF in which 0 is white up to 8 bits, and not beyond:
            # findings/where_0_is_white_depth_decides.sh shows it.
            pixels = np.invert(pixels) if is_inverted else pixels
            pixels = pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels
            pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        return oriented(pixels, image)


def read_mask(
    source: bytes | IO[bytes], max_px: float, channel: int | None = None, colours: bool = False
) -> np.ndarray:
    """Decode a mask: palette indices, grey values or a channel as they are stored.

    Args:
        source: the stored bytes, or a seekable stream of them.
        max_px: a larger mask is refused before it is decoded.
        channel: which channel of a mask of several holds the classes; None where they are equal.
        colours: whether colours are values: a mask of three channels that differ comes as they are.

    Returns:
        (H, W) uint8, uint16, int8, int32 or uint32; (H, W, 3) uint8 or uint16 of colours.

    Raises:
        SampleError: `mask_format` (channels that differ), `too_large` or `decode`.
    """
    with opened(source, max_px) as image:
        if colours and image.mode == "P":
            values = np.asarray(image.convert("RGB"))
        elif image.mode in ONE_CHANNEL and not is_deep_colour(image):
            values = as_stored(image)
            if channel:
                raise SampleError(
                    "mask_format", f"the mask has one channel; labels.channel is {channel}"
                )
        else:
            values = of_channels(image, channel, colours)
        return oriented(values, image)


def _check_no_bands_are_lost(image: Image.Image) -> None:
    """Refuse bands behind grey or colour that are no alpha: Pillow leaves them out."""
    extra = tiff_tag(image, _EXTRA_SAMPLES_TAG, ())
    if any(int(kind) == _UNSPECIFIED for kind in extra):
        num = int(tiff_tag(image, _SAMPLES_TAG, 1))
        raise SampleError(
            "image_format",
            f"the TIFF has {num} channels, {len(extra)} of which are neither colour nor alpha "
            "(ExtraSamples 0); expected grey or RGB: save the channels that the model takes",
        )


def _plain(image: Image.Image) -> Image.Image:
    if image.mode == "L" and tiff_tag(image, _SAMPLE_FORMAT_TAG, (1,))[0] != 1:
        raise SampleError("image_format", "the image has signed bytes; expected unsigned ones")
    if image.mode in _KEPT or (image.format == "PPM" and image.mode == "I"):
        return image
    if image.mode in ("I", "F"):
        raise SampleError(
            "image_format",
            f"the image has mode {image.mode} (32 bits a value); expected 8 or 16 bits",
        )
    return image.convert("L" if image.mode in _TO_GREY else "RGB")
