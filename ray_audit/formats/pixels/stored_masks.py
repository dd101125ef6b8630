"""Masks as they are stored: indices and values of every depth, undone what a reader does to them.

Pillow stretches grey of 2 and 4 bits to 8, and PGM to its depth; it inverts TIFF in which 0 is
white; it takes signed bytes for unsigned ones. All of it can be undone without loss.
`findings/where_0_is_white_depth_decides.sh` shows it.
"""

import re

import numpy as np
from PIL import ImageFile

from ray_audit.errors import SampleError
from ray_audit.formats.pixels.deep import is_deep_colour, read_deep
from ray_audit.formats.pixels.opened import native, tiff_tag

ONE_CHANNEL = ("1", "P", "L", "I;16", "I;16L", "I;16B", "I")
_COLOUR = ("RGB", "RGBA", "LA", "PA")
_STRETCH = {"2": 85, "4": 17}  # 255 / (2**bits - 1)
_LOW_DEPTH = re.compile(r"L;([24])")
_SAMPLE_FORMAT = 339
_SIGNED = 2


def as_stored(image: ImageFile.ImageFile) -> np.ndarray:
    """Values of a mask of one channel: (H, W) uint8, uint16, int8, int32 or uint32.

    Raises:
        SampleError: `mask_format`: a PBM file, whose bits nobody reads alike.
    """
    if image.format == "PPM" and image.mode == "1":
        raise SampleError(
            "mask_format",
            "a PBM mask: the bit 1 is black in such a file, and most programs give 0 for it; "
            "save masks as PNG or PGM, with the values that are meant",
        )
    # Of the file as opened: decoding drops the tiles.
    args = image.tile[0].args if image.tile else ""
    sample_format = int(tiff_tag(image, _SAMPLE_FORMAT, (1,))[0])
    values = np.asarray(image)
    values = values.astype(np.uint8) if values.dtype.kind == "b" else native(values)
    rawmode = str(args[0] if isinstance(args, tuple) and args else args)
    if image.format == "PPM" and image.mode in ("L", "I"):
        return _unscaled(values, int(args[1])) if isinstance(args, tuple) else values
    if image.format == "TIFF" and image.mode == "1":
        return 1 - values if "I" in rawmode.removeprefix("1") else values
    if image.mode == "L":
        return _unstretched(values, rawmode, sample_format)
    if image.mode == "I" and sample_format == 1 and image.format == "TIFF":
        return values.view(np.uint32)
    return values


def _unstretched(values: np.ndarray, rawmode: str, sample_format: int) -> np.ndarray:
    if sample_format == _SIGNED:
        return values.view(np.int8)
    low = _LOW_DEPTH.match(rawmode)
    if "I" in rawmode.partition(";")[2]:
        values = 255 - values
    return values // np.uint8(_STRETCH[low[1]]) if low else values


def _unscaled(values: np.ndarray, maxval: int) -> np.ndarray:
    """Undo round(stored / maxval * full), which no two values of a PGM share."""
    full = 255 if maxval <= 255 else 65535
    stored = np.rint(values.astype(np.float64) * maxval / full)
    return stored.astype(np.uint8 if maxval <= 255 else np.uint16)


def _channels(image: ImageFile.ImageFile) -> np.ndarray:
    if is_deep_colour(image):
        return read_deep(image)
    if image.mode not in _COLOUR:
        raise SampleError(
            "mask_format",
            f"the mask has mode {image.mode}; expected class indices in one channel (palette, 8- "
            "or 16-bit grey), or colours",
        )
    channels = np.asarray(image)
    # Alpha is no class; what it hides stays a value.
    return channels[:, :, : 3 if image.mode.startswith("RGB") else 1]


def of_channels(image: ImageFile.ImageFile, channel: int | None, colours: bool) -> np.ndarray:
    """Values of a mask of several channels.

    Returns:
        (H, W) of the chosen channel, or of channels that are all equal; (H, W, 3) of colours.

    Raises:
        SampleError: `mask_format`: the channels differ, and nothing says what they mean.
    """
    return chosen_channel(_channels(image), channel, colours, f"the mask of mode {image.mode}")


def chosen_channel(
    channels: np.ndarray, channel: int | None, colours: bool, where: str
) -> np.ndarray:
    """Values of a mask of one channel or several.

    Args:
        channels: (H, W, C).
        channel: that holds the classes; None where there is one, or all are equal.
        colours: whether colours are values.
        where: names the mask in messages.

    Returns:
        (H, W), or (H, W, 3) of colours.

    Raises:
        SampleError: `mask_format`: the channels differ, and nothing says what they mean.
    """
    num = channels.shape[2]
    if channel is not None:
        if channel >= num:
            raise SampleError(
                "mask_format", f"{where} has {num} channel(s); labels.channel is {channel}"
            )
        return np.ascontiguousarray(channels[:, :, channel])
    first = channels[:, :, :1]
    if (channels == first).all() and not colours:
        return np.ascontiguousarray(channels[:, :, 0])
    if colours:
        return np.ascontiguousarray(np.broadcast_to(channels, (*channels.shape[:2], 3)))
    raise SampleError(
        "mask_format",
        f"the channels of {where} differ: give the classes of its "
        "colours in dataset.labels.values, or the channel that holds them in "
        "dataset.labels.channel",
    )
