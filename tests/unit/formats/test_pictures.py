import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from ray_audit.errors import SampleError
from ray_audit.formats.pixels.pictures import read_image, read_mask
from tests.support.media import deep_image, noise, png

NO_LIMIT = 1e12


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(form, orientation):
    image = Image.fromarray(noise(5, 8))
    exif = image.getexif()
    exif[0x0112] = orientation
    content = encoded(image, form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert np.array_equal(read_image(content, NO_LIMIT), expected)
    assert expected.shape[:2] == ((8, 5) if orientation > 4 else (5, 8))


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "channels"),
    [
        ("png", "rgb48be", 3),
        ("tiff", "rgb48le", 3),
        ("png", "rgba64be", 4),
        ("tiff", "rgba64le", 4),
    ],
)
def test_16_bit_colour_keeps_its_depth(codec, pix_fmt, channels):
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 9, channels), np.uint16)
    result = read_image(deep_image(pixels, codec, pix_fmt), NO_LIMIT)
    assert result.dtype == np.uint16
    assert np.array_equal(result, pixels[:, :, :3])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_depth(form):
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 9), np.uint16)
    result = read_image(encoded(Image.fromarray(pixels), form), NO_LIMIT)
    assert result.dtype == np.uint16
    assert np.array_equal(result, pixels[:, :, None])


@pytest.mark.parametrize(
    ("mode", "form", "channels"),
    [
        ("L", "PNG", 1),
        ("1", "PNG", 1),
        ("LA", "PNG", 1),
        ("P", "PNG", 3),
        ("RGBA", "PNG", 3),
        ("CMYK", "JPEG", 3),
        ("CMYK", "TIFF", 3),
        ("P", "GIF", 3),
    ],
)
def test_channels_of_each_mode(mode, form, channels):
    image = Image.fromarray(noise(16, 24)).convert(mode)
    result = read_image(encoded(image, form), NO_LIMIT)
    assert result.shape == (16, 24, channels)
    assert result.dtype == np.uint8


def test_alpha_is_dropped_and_not_blended():
    pixels = np.dstack([noise(4, 4), np.zeros((4, 4), np.uint8)])
    assert np.array_equal(read_image(png(pixels), NO_LIMIT), pixels[:, :, :3])


def test_16_bit_grey_drops_its_alpha():
    grey = np.array([[0, 1], [300, 65535]], ">u2")
    rows = b"".join(b"\0" + np.stack([row, row * 0 + 7], 1).astype(">u2").tobytes() for row in grey)
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack(">2I5B", 2, 2, 16, 4, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        )
    )
    result = read_image(content, NO_LIMIT)
    assert result.dtype == np.uint16
    assert result[:, :, 0].tolist() == grey.tolist()


def test_palette_becomes_its_colours():
    indices = np.array([[0, 1], [2, 3]], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    result = read_image(encoded(image, "PNG"), NO_LIMIT)
    assert result[:, :, 0].tolist() == [[255, 0], [0, 9]]


def test_tiff_in_strips_is_read():
    pixels = noise(70, 50)
    content = encoded(Image.fromarray(pixels), "TIFF", compression="tiff_lzw", strip_size=1200)
    assert len(Image.open(io.BytesIO(content)).tag_v2[273]) == 9  # strips
    assert np.array_equal(read_image(content, NO_LIMIT), pixels)


def tiled_tiff(pixels, side=16):
    """An uncompressed 8-bit RGB TIFF in square tiles: Pillow reads these but writes none."""
    height, width, _ = pixels.shape
    across, down = -(-width // side), -(-height // side)
    padded = np.zeros((down * side, across * side, 3), np.uint8)
    padded[:height, :width] = pixels
    grid = padded.reshape(down, side, across, side, 3).transpose(0, 2, 1, 3, 4)
    num_tiles, tile_bytes = down * across, side * side * 3
    offsets = [8 + i * tile_bytes for i in range(num_tiles)]
    lists_at = 8 + num_tiles * tile_bytes
    lists = struct.pack(f"<3H{2 * num_tiles}I", 8, 8, 8, *offsets, *[tile_bytes] * num_tiles)
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, lists_at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (277, 3, 1, 3),
        (322, 4, 1, side),
        (323, 4, 1, side),
        (324, 4, num_tiles, lists_at + 6),
        (325, 4, num_tiles, lists_at + 6 + 4 * num_tiles),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<2H2I", *t) for t in tags)
    head = struct.pack("<2sHI", b"II", 42, lists_at + len(lists))
    return head + grid.tobytes() + lists + directory + bytes(4)


def test_tiff_in_tiles_is_read():
    pixels = noise(70, 50)
    assert np.array_equal(read_image(tiled_tiff(pixels), NO_LIMIT), pixels)


def test_too_large_is_refused_before_decoding():
    content = png(np.zeros((3000, 4000), np.uint8))
    tracemalloc.start()
    with pytest.raises(SampleError, match="4000 x 3000 = 12000000 px") as caught:
        read_image(content, 1e6)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.error_class == "too_large"
    assert peak_bytes < 2e6


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG"])
def test_max_px_and_not_pillows_own_limit_decides(monkeypatch, form):
    stream = io.BytesIO()
    Image.fromarray(noise(20, 20)).save(stream, form)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_image(stream.getvalue(), 400).shape == (20, 20, 3)
    with pytest.raises(SampleError, match="max_px"):
        read_image(stream.getvalue(), 399)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("content", [b"", b"no image", png(noise(64, 64))[:2000]])
def test_damaged_image_is_a_sample_error(content):
    with pytest.raises(SampleError) as caught:
        read_image(content, NO_LIMIT)
    assert caught.value.error_class == "decode"


def test_32_bit_image_is_refused():
    content = encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")
    with pytest.raises(SampleError, match="expected 8 or 16 bits"):
        read_image(content, NO_LIMIT)


INDICES = np.array([[0, 1, 2], [2, 1, 255]], np.uint8)


def test_palette_mask_gives_indices():
    content = png(INDICES, palette=True)
    assert Image.open(io.BytesIO(content)).mode == "P"
    assert np.array_equal(read_mask(content, NO_LIMIT), INDICES)


def test_grey_and_16_bit_and_bilevel_masks():
    assert np.array_equal(read_mask(png(INDICES), NO_LIMIT), INDICES)
    deep = INDICES.astype(np.uint16) * 200
    assert np.array_equal(read_mask(png(deep), NO_LIMIT), deep)
    bits = encoded(Image.fromarray(INDICES == 1), "PNG")
    assert read_mask(bits, NO_LIMIT).tolist() == [[0, 1, 0], [0, 1, 0]]


def test_colour_mask_is_refused():
    with pytest.raises(SampleError, match="mode RGB") as caught:
        read_mask(png(noise(4, 4)), NO_LIMIT)
    assert caught.value.error_class == "mask_format"
