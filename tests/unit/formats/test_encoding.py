"""Masks in the encodings that datasets have: read as classes, and written back as they came."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.mask_files import encode_mask
from ray_audit.formats.pixels.encoding import read_labels, stored_values, targets_of
from ray_audit.formats.pixels.png import png_bytes
from ray_audit.samples import IGNORE
from tests.support.media import cut, dataset, noise, png

CLASSES = ["bg", "road", "car"]
TARGETS = np.array([[0, 1, 2, 0], [1, 1, -1, 2], [2, 0, 0, 1]], np.int8)
RED = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 142], [255, 255, 255]], np.uint8)


def saved(picture, form):
    stream = io.BytesIO()
    picture.save(stream, form)
    return stream.getvalue()


def tiff(values, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def with_palette(values):
    picture = Image.fromarray(values)
    picture.putpalette(RED.tobytes())
    return picture


STORED = np.where(TARGETS == IGNORE, 3, TARGETS).astype(np.uint8)
IDS = np.array([0, 50, 11, 255], np.uint8)[STORED]
BY_ID = {"values": {0: "bg", 50: "road", 11: "car", 255: "void"}}
BY_COLOUR = {"values": {"#000000": "bg", "#804080": "road", "0 0 142": "car", "#ffffff": "void"}}
DEEP = STORED.astype(np.uint16)[:, :, None] * np.array([1, 7, 900], np.uint16)
ENCODINGS = {
    "grey of 2 bits": (png_bytes(STORED, 2), {}, [3]),
    "PGM of maxval 3": (b"P5\n4 3\n3\n" + STORED.tobytes(), {}, [3]),
    "white is zero": (tiff(STORED, photometric="miniswhite"), {}, [3]),
    "signed": (tiff(TARGETS.astype(np.int16)), {}, [-1]),
    "ids": (saved(Image.fromarray(IDS), "PNG"), BY_ID, []),
    "three equal channels": (saved(Image.fromarray(np.dstack([IDS] * 3)), "PNG"), BY_ID, []),
    "16-bit red channel": (png_bytes(DEEP, 16), {"channel": 0}, [3]),
    "blue channel": (
        saved(Image.fromarray(np.dstack([STORED * 9, STORED * 5, STORED])), "PNG"),
        {"channel": 2},
        [3],
    ),
    "colours": (saved(Image.fromarray(RED[STORED]), "PNG"), BY_COLOUR, []),
    "colours of a palette": (saved(with_palette(STORED), "PNG"), BY_COLOUR, []),
    "indices from 1": (saved(Image.fromarray(STORED + 1), "PNG"), {"first_value": 1}, [4]),
    "ranges": (
        saved(Image.fromarray(IDS), "PNG"),
        {"values": {"0..5": "bg", "40..60": "road", "6..39": "car", 255: "void"}},
        [],
    ),
}


def specified(labels, void):
    return DatasetConfig.model_validate(
        {
            "kind": "images",
            "uri": "x/*.png",
            "classes": CLASSES,
            "void": void,
            "labels": {"masks": "m/{stem}.png", **labels},
        }
    )


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_is_read_and_written_back_bit_for_bit_where_nothing_changed(name):
    content, labels, void = ENCODINGS[name]
    section = specified(labels, void)
    classes = ClassNames.of(section)
    mask = read_labels(content, section, classes)
    assert np.array_equal(targets_of(mask, classes), TARGETS)

    after = TARGETS.copy()
    after[0, 0], after[2, 3] = 2, 0
    new = stored_values(mask, after, classes)
    assert np.array_equal(new[after == TARGETS], mask[after == TARGETS])
    written = encode_mask(content, new, labels.get("channel"))
    again = read_labels(written, section, classes)
    assert np.array_equal(again, new)
    assert np.array_equal(targets_of(again, classes), after)


def test_other_channels_keep_their_values():
    content, labels, void = ENCODINGS["blue channel"]
    section = specified(labels, void)
    mask = read_labels(content, section, ClassNames.of(section))
    with Image.open(io.BytesIO(encode_mask(content, mask, 2))) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(Image.open(io.BytesIO(content))))


def test_a_16_bit_colour_mask_keeps_its_depth_and_other_channels():
    content, labels, void = ENCODINGS["16-bit red channel"]
    section = specified(labels, void)
    mask = read_labels(content, section, ClassNames.of(section))
    assert encode_mask(content, mask, 0) == content


@pytest.mark.parametrize("content", [b"P4\n4 3\n\x60\xd0\x10", b"P1\n4 1\n0 1 1 0\n"])
def test_bits_of_pbm_files_are_refused(content):
    section = specified({}, [])
    with pytest.raises(SampleError, match=r"the bit 1 is black .*save masks as PNG or PGM"):
        read_labels(content, section, ClassNames.of(section))


def test_grey_of_2_bits_keeps_its_depth():
    content = ENCODINGS["grey of 2 bits"][0]
    assert encode_mask(content, STORED) == content


def test_a_value_that_is_not_listed_is_an_error_with_its_count_and_the_file(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "images/a.png").write_bytes(png(noise(3, 4)))
    (tmp_path / "masks/a.png").write_bytes(png(np.where(IDS == 11, 12, IDS)))
    labels = {"masks": f"{tmp_path}/masks/{{stem}}.png", **BY_ID}
    result = cut(dataset("images", tmp_path / "images/*.png", labels, classes=CLASSES), tmp_path)
    (failure,) = result.failures
    assert failure.error_class == "label_outside"
    assert "mask value 12 (3 px) is not listed in dataset.labels.values" in failure.message
    assert "masks/a.png" in failure.message


def test_a_colour_that_is_not_listed_is_named_as_a_colour():
    section = specified(BY_COLOUR, [])
    classes = ClassNames.of(section)
    with pytest.raises(SampleError, match=r"mask value #010203 \(1 px\)"):
        targets_of(np.array([[[1, 2, 3], [0, 0, 0]]], np.uint8), classes)


def test_a_class_that_no_value_means_cannot_be_written():
    classes = ClassNames.of(specified({"values": {0: "bg", 50: "road"}}, []))
    mask = np.array([[0, 50]], np.uint8)
    with pytest.raises(LabelError, match="no stored value means 'car'"):
        stored_values(mask, np.array([[0, 2]]), classes)


GEO_TAGS = [  # (tag, type, count, value, once): pixel scale, tie point, keys, text, no-data value
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 4e5, 5e6, 0.0), True),
    (34735, 3, 4, (1, 1, 0, 0), True),
    (34737, 2, 0, "WGS 84|", True),
    (42113, 2, 0, "255", True),
]


@pytest.mark.parametrize(
    ("dtype", "colours", "options"),
    [
        (np.uint8, (), {"compression": "zlib", "predictor": True, "tile": (16, 16)}),
        (np.uint16, (), {"byteorder": ">"}),
        (np.int32, (), {}),
        (np.uint8, (3,), {"photometric": "rgb"}),
    ],
)
def test_a_changed_tiff_mask_keeps_its_place_on_earth_and_its_words(dtype, colours, options):
    old, mask = io.BytesIO(), np.eye(9, dtype=np.uint8)
    # One description: of two, as tifffile may write them, older versions of Pillow read the last.
    words = {"description": "plots of 2024", "metadata": None}
    words |= {"resolution": (300, 200), "resolutionunit": 3}
    pixels = np.zeros((9, 9, *colours), dtype)
    tifffile.imwrite(old, pixels, extratags=GEO_TAGS, **words, **options)
    new = encode_mask(old.getvalue(), mask)
    kept = [33550, 33922, 34735, 34737, 42113, 270, 282, 283, 296, 305]
    old.seek(0)
    with tifffile.TiffFile(old) as before, tifffile.TiffFile(io.BytesIO(new)) as after:
        for tag in kept:
            assert after.pages[0].tags[tag].value == before.pages[0].tags[tag].value
        written = after.asarray()
    np.testing.assert_array_equal(written[..., 0] if colours else written, mask)


def test_a_mask_file_of_several_pages_is_refused_and_not_cut_to_one():
    old = io.BytesIO()
    tifffile.imwrite(old, np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    with pytest.raises(LabelError, match="holds 3 pages"):
        encode_mask(old.getvalue(), np.ones((8, 8), np.uint8))
