"""Every pixel format that is accepted, held against a second reader: tifffile, or FFmpeg."""

import io
import itertools
import struct
import zlib

import av
import numpy as np
import pytest
import tifffile
from PIL import Image

from ray_audit.errors import SampleError
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.pixels.encoding import targets_of
from ray_audit.formats.pixels.pictures import read_image, read_mask
from ray_audit.samples import IGNORE

RNG = np.random.default_rng(0)
NO_LIMIT = 1e9
SHAPE = (50, 70)


def tiff(values, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, metadata=None, **options)
    return stream.getvalue()


def whole(dtype, *channels):
    info = np.iinfo(dtype)
    return RNG.integers(info.min, int(info.max) + 1, (*SHAPE, *channels)).astype(dtype)


def colour_tiffs():
    for depth, planes, tile, compression, predictor, order, large, num in itertools.product(
        (np.uint8, np.uint16),
        ("contig", "separate"),
        (None, (16, 32)),
        (None, "zlib"),
        (None, 2),
        "<>",
        (False, True),
        (3, 4),
    ):
        if predictor and not compression:
            continue
        options = {"photometric": "rgb", "planarconfig": planes, "compression": compression}
        options |= {"byteorder": order, "bigtiff": large, "predictor": predictor}
        if num == 4:
            options["extrasamples"] = ["unassalpha"]
        yield depth, num, options | ({"tile": tile} if tile else {"rowsperstrip": 7})


@pytest.mark.filterwarnings("ignore:.*EXIF data:UserWarning")  # of what Pillow refuses
def test_colour_tiff_of_every_layout_is_read_as_tifffile_reads_it_or_refused():
    # Tiles too: findings/tiff_tiles_of_colour_come_out_black.sh shows what FFmpeg does to them.
    num_read = num_refused = 0
    for depth, num, options in colour_tiffs():
        pixels = whole(depth, num)
        stored = np.moveaxis(pixels, 2, 0) if options["planarconfig"] == "separate" else pixels
        content = tiff(stored, **options)
        second = tifffile.imread(io.BytesIO(content))
        second = np.moveaxis(second, 0, 2) if second.shape[0] == num else second
        assert np.array_equal(second, pixels)
        try:
            result = read_image(content, NO_LIMIT)
        except SampleError:
            assert options["bigtiff"], options
            num_refused += 1
            continue
        num_read += 1
        assert np.array_equal(result, pixels[:, :, :3]), options
    # What Pillow does not know (BigTIFF of big-endian bytes) is refused, and nothing else.
    assert num_refused <= num_read / 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tile", [None, (32, 16)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_grey_tiff_is_read_as_tifffile_reads_it(dtype, tile, order):
    pixels = whole(dtype)
    content = tiff(pixels, tile=tile, byteorder=order)
    assert np.array_equal(read_image(content, NO_LIMIT)[:, :, 0], pixels)
    assert np.array_equal(read_mask(content, NO_LIMIT), pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_where_0_is_white_an_image_is_inverted_and_a_mask_is_not(dtype):
    # findings/where_0_is_white_depth_decides.sh shows what Pillow does.
    pixels = whole(dtype)
    content = tiff(pixels, photometric="miniswhite")
    assert np.array_equal(tifffile.imread(io.BytesIO(content)), pixels)
    assert np.array_equal(read_mask(content, NO_LIMIT), pixels)
    assert np.array_equal(read_image(content, NO_LIMIT)[:, :, 0], np.invert(pixels))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32])
def test_signed_and_wide_masks_are_read_as_tifffile_reads_them_and_such_images_refused(dtype):
    values = whole(dtype)
    content = tiff(values)
    result = read_mask(content, NO_LIMIT)
    assert np.array_equal(result.astype(np.int64), values.astype(np.int64))
    with pytest.raises(SampleError) as caught:
        read_image(content, NO_LIMIT)
    assert caught.value.error_class == "image_format"


@pytest.mark.parametrize("photometric", ["separated", "cielab"])
def test_deep_colour_that_is_no_rgb_is_refused(photometric):
    num = 4 if photometric == "separated" else 3
    content = tiff(whole(np.uint16, num), photometric=photometric)
    with pytest.raises(SampleError):
        read_image(content, NO_LIMIT)


def raw_png(values, bits, colour=0):
    """A PNG of rows that are packed here."""
    rows = values.reshape(len(values), -1)
    if bits == 16:
        packed = rows.astype(">u2").view(np.uint8).reshape(len(rows), -1)
    else:
        planes = np.unpackbits(rows.astype(np.uint8)[:, :, None], axis=2)[:, :, 8 - bits :]
        packed = np.packbits(planes.reshape(len(rows), -1), axis=1)
    body = b"".join(b"\0" + row.tobytes() for row in packed)
    head = struct.pack(">2I5B", values.shape[1], values.shape[0], bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    if colour == 3:
        chunks.insert(1, (b"PLTE", bytes(range(48))))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(item)) + kind + item + struct.pack(">I", zlib.crc32(kind + item))
        for kind, item in chunks
    )


def by_ffmpeg(content, codec, form):
    context = av.CodecContext.create(codec, "r")
    (frame,) = [*context.decode(av.Packet(content)), *context.decode(None)]
    return frame.to_ndarray(format=form)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_png_of_every_depth(bits):
    values = RNG.integers(0, 2**bits, SHAPE)
    content = raw_png(values, bits)
    assert np.array_equal(read_mask(content, NO_LIMIT), values)
    result = read_image(content, NO_LIMIT)[:, :, 0]
    second = by_ffmpeg(content, "png", "gray16le" if bits == 16 else "gray")
    if bits == 1:  # a bilevel image is 0 and 255 for both
        assert set(np.unique(result)) == {0, 255}
    assert np.array_equal(result, second)


@pytest.mark.parametrize("bits", [8, 16])
def test_colour_png_of_every_depth(bits):
    pixels = RNG.integers(0, 2**bits, (*SHAPE, 3))
    content = raw_png(pixels, bits, colour=2)
    second = by_ffmpeg(content, "png", "rgb48le" if bits == 16 else "rgb24")
    assert np.array_equal(read_image(content, NO_LIMIT), second)
    assert np.array_equal(second, pixels)


@pytest.mark.parametrize("maxval", [*range(1, 256), 256, 1000, 4095, 65534, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_pgm_of_every_maxval_gives_the_values_that_are_stored(maxval, plain):
    values = np.arange(maxval + 1) if maxval < 256 else np.linspace(0, maxval, 300).astype(int)
    values = values[None].astype(">u2" if maxval > 255 else np.uint8)
    head = f"P{2 if plain else 5}\n{values.shape[1]} 1\n{maxval}\n".encode()
    body = " ".join(map(str, values[0].tolist())).encode() if plain else values.tobytes()
    assert np.array_equal(read_mask(head + body, NO_LIMIT), values)


def test_a_deep_ppm_keeps_its_depth_or_is_refused():
    pixels = whole(np.uint16, 3)
    body = pixels.astype(">u2").tobytes()
    head = f"P6\n{SHAPE[1]} {SHAPE[0]}\n".encode()
    assert np.array_equal(read_image(head + b"65535\n" + body, NO_LIMIT), pixels)
    with pytest.raises(SampleError, match="maxval 65535"):
        read_image(head + b"4095\n" + (pixels // 16).astype(">u2").tobytes(), NO_LIMIT)


def test_index_255_of_a_palette_of_16_stays_255():
    values = np.array([[0, 15, 255]], np.uint8)
    assert np.array_equal(read_mask(raw_png(values, 8, colour=3), NO_LIMIT), values)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_png_of_every_depth_gives_indices(bits):
    values = RNG.integers(0, min(2**bits, 16), SHAPE)
    assert np.array_equal(read_mask(raw_png(values, bits, colour=3), NO_LIMIT), values)


def test_three_equal_channels_are_read_as_grey_and_others_refused_with_the_remedy():
    values = RNG.integers(0, 50, SHAPE).astype(np.uint8)
    equal = raw_png(np.dstack([values] * 3), 8, colour=2)
    assert np.array_equal(read_mask(equal, NO_LIMIT), values)
    other = raw_png(np.dstack([values, values, values + 1]), 8, colour=2)
    with pytest.raises(SampleError, match=r"labels\.values.*labels\.channel"):
        read_mask(other, NO_LIMIT)
    assert np.array_equal(read_mask(other, NO_LIMIT, channel=2), values + 1)
    assert read_mask(other, NO_LIMIT, colours=True).shape == (*SHAPE, 3)


def test_one_channel_of_a_16_bit_colour_mask_is_read_at_its_depth():
    pixels = RNG.integers(0, 65536, (*SHAPE, 3))
    content = raw_png(pixels, 16, colour=2)
    result = read_mask(content, NO_LIMIT, channel=0)
    assert result.dtype == np.uint16
    assert np.array_equal(result, pixels[:, :, 0])


def test_a_negative_value_may_mean_not_labelled():
    mask = read_mask(tiff(np.array([[-1, 0, 1], [70000, 1, -1]], np.int32)), NO_LIMIT)
    targets = targets_of(mask, ClassNames(["a", "b"], [-1, 70000]))
    assert targets.tolist() == [[IGNORE, 0, 1], [IGNORE, 1, IGNORE]]
    with pytest.raises(SampleError, match=r"mask value -1 \(2 px\)"):
        targets_of(mask, ClassNames(["a", "b"], [70000]))


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_a_small_file_of_very_many_pixels_is_refused_before_it_is_decoded(read):
    stream = io.BytesIO()
    Image.new("L", (17_000, 17_000)).save(stream, "PNG")
    with pytest.raises(SampleError, match=r"would inflate to 289000000") as caught:
        read(stream.getvalue(), NO_LIMIT)
    assert caught.value.error_class == "too_large"
