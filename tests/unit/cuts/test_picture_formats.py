"""Pictures of every kind of file that is accepted, held against what was stored or FFmpeg."""

import io
import struct

import av
import numpy as np
import pytest
from PIL import Image

from ray_audit.formats.pixels.pictures import read_image, read_mask

RNG = np.random.default_rng(0)
NO_LIMIT = 1e9
SHAPE = HEIGHT, WIDTH = 37, 53
COLOUR = RNG.integers(0, 256, (*SHAPE, 3)).astype(np.uint8)
GREY = COLOUR[:, :, 0]
INDICES = RNG.integers(0, 16, SHAPE).astype(np.uint8)
GREYS = b"".join(bytes([i, i, i, 0]) for i in range(256))
COLOURS = b"".join(bytes([i * 3 % 256, i * 7 % 256, i * 11 % 256, 0]) for i in range(256))


def written(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def image(content):
    result = read_image(content, NO_LIMIT)
    return result[:, :, 0] if result.shape[2] == 1 else result


def mask(content):
    return read_mask(content, NO_LIMIT)


def by_ffmpeg(content, codec):
    context = av.CodecContext.create(codec, "r")
    (frame,) = [*context.decode(av.Packet(content)), *context.decode(None)]
    return frame.to_ndarray(format="rgb24")


def bmp(bits, packing, data, palette=b"", fields=b"", height=HEIGHT):
    """A file that is packed here: Pillow writes few kinds."""
    start = 54 + len(fields) + len(palette)
    sizes = (len(data), 2835, 2835, len(palette) // 4, 0)
    head = struct.pack("<IiiHHIIiiII", 40, WIDTH, height, 1, bits, packing, *sizes)
    return (
        b"BM"
        + struct.pack("<IHHI", start + len(data), 0, 0, start)
        + head
        + fields
        + palette
        + data
    )


def rows(values):
    pad = -values.shape[1] * values.itemsize % 4
    return b"".join(row.tobytes() + b"\0" * pad for row in values[::-1])


def run_lengths(values):
    lines = [b"".join(bytes([1, int(v)]) for v in row) + b"\0\0" for row in values[::-1]]
    return b"".join(lines) + b"\0\1"


def nibbles(values):
    even = np.pad(values, ((0, 0), (0, values.shape[1] % 2)))
    return (even[:, ::2] << 4) | even[:, 1::2]


def palette_image():
    made = Image.fromarray(INDICES)
    made.putpalette([int(v) for v in np.random.default_rng(1).integers(0, 256, 768)])
    return made


WIDE = COLOUR.astype("<u2")
PACKED_565 = (WIDE[..., 0] >> 3 << 11) | (WIDE[..., 1] >> 2 << 5) | (WIDE[..., 2] >> 3)
PACKED_555 = (WIDE[..., 0] >> 3 << 10) | (WIDE[..., 1] >> 3 << 5) | (WIDE[..., 2] >> 3)
FIELDS_565 = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
PICTURES = {
    "bmp 24 bits": (written(Image.fromarray(COLOUR), "BMP"), COLOUR),
    "bmp grey": (written(Image.fromarray(GREY), "BMP"), GREY),
    "bmp run lengths": (bmp(8, 1, run_lengths(GREY), GREYS), GREY),
    "bmp top-down": (bmp(8, 0, rows(GREY[::-1]), GREYS, height=-HEIGHT), GREY),
    "bmp 5-6-5 bits": (bmp(16, 3, rows(PACKED_565), fields=FIELDS_565), None),
    "bmp 5-5-5 bits": (bmp(16, 0, rows(PACKED_555)), None),
    "webp": (written(Image.fromarray(COLOUR), "WEBP", lossless=True, exact=True), COLOUR),
    "webp with alpha": (
        written(Image.fromarray(np.dstack([COLOUR, GREY])), "WEBP", lossless=True, exact=True),
        COLOUR,
    ),
    "jpeg 2000": (written(Image.fromarray(COLOUR), "JPEG2000"), COLOUR),
    "jpeg 2000 grey": (written(Image.fromarray(GREY), "JPEG2000"), GREY),
    "jpeg 2000 of 16 bits": (
        written(Image.fromarray(GREY.astype(np.uint16) * 257), "JPEG2000"),
        GREY.astype(np.uint16) * 257,
    ),
    "targa": (written(Image.fromarray(COLOUR), "TGA"), COLOUR),
    "targa run lengths": (written(Image.fromarray(COLOUR), "TGA", rle=True), COLOUR),
    "png with a transparent colour": (
        written(Image.fromarray(COLOUR), "PNG", transparency=(1, 2, 3)),
        COLOUR,
    ),
    "png with a transparent grey": (written(Image.fromarray(GREY), "PNG", transparency=7), GREY),
}
MASKS = {
    "bmp palette": written(palette_image(), "BMP"),
    "bmp palette of 4 bits": bmp(4, 0, rows(nibbles(INDICES)), COLOURS[:64]),
    "bmp palette, run lengths": bmp(8, 1, run_lengths(INDICES), COLOURS),
    "gif": written(palette_image(), "GIF"),
    "gif, interlaced": written(palette_image(), "GIF", interlace=1),
    "gif with a transparent index": written(palette_image(), "GIF", transparency=3),
    "png with a transparent index": written(palette_image(), "PNG", transparency=3),
    "tiff palette": written(palette_image(), "TIFF"),
    "tiff palette, lzw": written(palette_image(), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_read_as_it_is_stored_or_as_ffmpeg_reads_it(name):
    content, stored = PICTURES[name]
    if stored is not None:
        np.testing.assert_array_equal(image(content), stored)
        return
    # 5 bits become 8 by a rule of each reader's own, which differ by 1.
    difference = image(content).astype(int) - by_ffmpeg(content, "bmp")
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_gives_the_indices_that_are_stored(name):
    np.testing.assert_array_equal(mask(MASKS[name]), INDICES)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_and_its_mask_are_turned_alike(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90,
    }
    for stored, read in ((COLOUR, image), (INDICES, mask)):
        content = written(Image.fromarray(stored), "PNG", exif=exif)
        np.testing.assert_array_equal(read(content), turns[orientation](stored))


COMPRESSIONS = ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd", "lzma")


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("stored", [GREY, GREY.astype(np.uint16) * 257, COLOUR])
def test_tiff_of_every_compression_is_read_as_it_is_stored(stored, compression):
    try:
        content = written(Image.fromarray(stored), "TIFF", compression=compression)
    except OSError:
        if compression != "zstd":
            raise
        pytest.skip("wheels of Pillow 11 have a libtiff without it")
    np.testing.assert_array_equal(image(content), stored)
    if stored.ndim == 2:
        np.testing.assert_array_equal(mask(content), stored)


@pytest.mark.parametrize("compression", ["group3", "group4", "packbits"])
def test_bilevel_tiff_is_0_and_1_as_a_mask_and_0_and_255_as_an_image(compression):
    is_on = INDICES > 7
    content = written(Image.fromarray(is_on), "TIFF", compression=compression)
    np.testing.assert_array_equal(mask(content), is_on)
    np.testing.assert_array_equal(image(content), 255 * is_on)
