"""Colour of 16 bits a channel, which Pillow would cut down to 8: through FFmpeg's decoders."""

import re
import struct
from typing import Any

import av
import numpy as np
from PIL import ImageFile

from ray_audit.errors import SampleError

_CODECS = {"PNG": "png", "TIFF": "tiff", "PPM": "ppm"}
_TARGETS = {1: "gray16le", 2: "gray16le", 3: "rgb48le", 4: "rgba64le"}
_FULL_DEPTH = 65535
_DEEP_RAWMODE = re.compile(r";16[BLN]")

# Tags of TIFF 6.0.
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 277, 278, 279
_PLANAR, _PREDICTOR, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 284, 317, 338, 339
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_RGB = 2
_SHORT, _LONG = 3, 4
_MAX_OFFSET = 2**32 - 2**20  # of a TIFF whose offsets have 32 bits


def is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether it has more than 8 bits in several channels."""
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(_BITS, (8,))
        return len(bits) > 1 and max(bits) > 8
    args = image.tile[0].args if image.tile else ""
    if image.format == "PPM":
        return image.mode == "RGB" and isinstance(args, tuple) and int(args[1]) > 255
    rawmode = args[0] if isinstance(args, tuple) else args
    # 16 bits a channel come with an order of bytes; "BGR;16" are 5, 6 and 5 bits of a BMP.
    is_deep = _DEEP_RAWMODE.search(str(rawmode)) is not None
    return is_deep and not image.mode.startswith("I;16")


def read_deep(image: ImageFile.ImageFile) -> np.ndarray:
    """Decode 16 bits a channel, as they are stored: (H, W, 1 or 3) uint16, alpha dropped.

    Raises:
        SampleError: `image_format`: a layout that no reader here is known to get right.
    """
    codec = _CODECS.get(image.format or "")
    if codec is None or image.fp is None:
        raise SampleError("image_format", f"16-bit colour in {image.format} is not supported")
    image.fp.seek(0)
    content = image.fp.read()
    if image.format == "TIFF":
        return _from_tiff(content, image.tag_v2, image.size)  # type: ignore[attr-defined]
    if image.format == "PPM" and int(image.tile[0].args[1]) != _FULL_DEPTH:  # type: ignore[index]
        raise SampleError(
            "image_format", "a PPM of more than 8 bits is read with maxval 65535 only"
        )
    return _decoded(codec, content)


def _decoded(codec: str, content: bytes) -> np.ndarray:
    context = av.CodecContext.create(codec, "r")
    frames = [*context.decode(av.Packet(content)), *context.decode(None)]
    if not frames:
        raise SampleError("decode", "no image in the file")
    frame = frames[0]
    pixels = frame.to_ndarray(format=_TARGETS[len(frame.format.components)])
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels[:, :, :3]
    return np.ascontiguousarray(pixels, dtype=np.uint16)


def _from_tiff(content: bytes, tags: Any, size: tuple[int, int]) -> np.ndarray:
    """Decode the first page of a TIFF of 16-bit colour: strips or tiles, classic or BigTIFF.

    FFmpeg's reader knows neither tiles (it gives zeros) nor BigTIFF. Tiles below one another are
    strips of an image as wide as a tile: it is given that one, and the tiles are put in place here.
    `findings/tiff_tiles_of_colour_come_out_black.sh` shows it.
    """
    _check_tiff(content, tags)
    if _TILE_OFFSETS not in tags:
        offsets, lengths = tags[_STRIP_OFFSETS], tags[_STRIP_BYTES]
        rows = min(int(tags.get(_ROWS_PER_STRIP, size[1])), size[1])
        return _decoded("tiff", _one_page(content, tags, size, rows, offsets, lengths))
    width, height = size
    across, down = int(tags[_TILE_WIDTH]), int(tags[_TILE_LENGTH])
    num_x, num_y = -(-width // across), -(-height // down)
    column = (across, down * num_x * num_y)
    strips = _one_page(content, tags, column, down, tags[_TILE_OFFSETS], tags[_TILE_BYTES])
    grid = _decoded("tiff", strips).reshape(num_y, num_x, down, across, -1)
    whole = grid.transpose(0, 2, 1, 3, 4).reshape(num_y * down, num_x * across, -1)
    return np.ascontiguousarray(whole[:height, :width])


def _check_tiff(content: bytes, tags: Any) -> None:
    bits, formats = set(tags[_BITS]), set(tags.get(_SAMPLE_FORMAT, (1,)))
    photometric, samples = tags.get(_PHOTOMETRIC), int(tags.get(_SAMPLES, 1))
    if bits != {16} or formats != {1} or photometric != _RGB or samples not in (3, 4):
        raise SampleError(
            "image_format",
            f"a TIFF of {samples} channels with {sorted(bits)} bits, sample format "
            f"{sorted(formats)} and photometric {photometric}; expected RGB (2) of 16 unsigned "
            "bits, with or without alpha",
        )
    if len(content) > _MAX_OFFSET:
        raise SampleError("image_format", "a TIFF of 16-bit colour above 4 GiB is not supported")


def _one_page(
    content: bytes,
    tags: Any,
    size: tuple[int, int],
    rows_per_strip: int,
    offsets: tuple[int, ...],
    lengths: tuple[int, ...],
) -> bytes:
    """The same file with one classic directory, of strips, behind its data."""
    order = "<" if content[:2] == b"II" else ">"
    entries: list[tuple[int, int, tuple[int, ...]]] = [
        (_WIDTH, _LONG, (size[0],)),
        (_LENGTH, _LONG, (size[1],)),
        (_BITS, _SHORT, tuple(tags[_BITS])),
        (_COMPRESSION, _SHORT, (int(tags.get(_COMPRESSION, 1)),)),
        (_PHOTOMETRIC, _SHORT, (_RGB,)),
        (_STRIP_OFFSETS, _LONG, tuple(offsets)),
        (_SAMPLES, _SHORT, (int(tags[_SAMPLES]),)),
        (_ROWS_PER_STRIP, _LONG, (rows_per_strip,)),
        (_STRIP_BYTES, _LONG, tuple(lengths)),
        (_PLANAR, _SHORT, (int(tags.get(_PLANAR, 1)),)),
        (_PREDICTOR, _SHORT, (int(tags.get(_PREDICTOR, 1)),)),
    ]
    if _EXTRA_SAMPLES in tags:
        entries.append((_EXTRA_SAMPLES, _SHORT, tuple(tags[_EXTRA_SAMPLES])))
    start = len(content) + len(content) % 2
    directory = struct.pack(f"{order}H", len(entries))
    values_at = start + 2 + 12 * len(entries) + 4
    values = b""
    for tag, kind, numbers in entries:
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == _SHORT else 'I'}", *numbers)
        directory += struct.pack(f"{order}HHI", tag, kind, len(numbers))
        if len(packed) > 4:
            directory += struct.pack(f"{order}I", values_at + len(values))
            values += packed + bytes(len(packed) % 2)
        else:
            directory += packed.ljust(4, b"\0")
    # The first 8 bytes of either kind of TIFF are its header: no pixels lie there.
    head = content[:2] + struct.pack(f"{order}HI", 42, start)
    return head + content[8:].ljust(start - 8, b"\0") + directory + bytes(4) + values
