"""Colours in DICOM files: the pixels that were made come back as RGB."""

import io

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space
from pydicom.uid import ExplicitVRBigEndian, JPEGBaseline8Bit

from ray_audit.errors import SampleError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.volumes.dicom_colours import COLOURS, colours_in
from ray_audit.formats.volumes.dicom_volume import GREY, tags_in
from ray_audit.formats.volumes.volume_files import open_dicom_labels
from tests.support.media import cut, dataset
from tests.support.published.built import put_text
from tests.unit.formats.test_dicom import opened, write_slice

RGB = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
INDICES = np.random.default_rng(1).integers(0, 5, (6, 4)).astype(np.uint8)
COLOUR = {"RescaleSlope": None, "RescaleIntercept": None, "PixelRepresentation": 0}
BYTES = COLOUR | {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
PALETTE = np.random.default_rng(2).integers(0, 256, (4, 3), np.uint8)
NAMES = ("Red", "Green", "Blue")
FACTORS = {8: 1, 16: 257}


def palette(entries, bits, first=0):
    """Tags of a palette: (N, 3) entries, of which the first is of the value `first`."""
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, column in zip(NAMES, np.asarray(entries).T, strict=True):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [len(column) % 65536, first, bits]
        data = column.astype(f"<u{bits // 8}").tobytes()
        tags[f"{name}PaletteColorLookupTableData"] = data
    return tags


def channels(path, pixels, photometric="RGB", **tags):
    bits = pixels.dtype.itemsize * 8
    tags = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1} | tags
    tags = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PixelData": pixels.tobytes()} | tags
    tags["PhotometricInterpretation"] = photometric
    return write_slice(path, pixels[:, :, 0], 0, **COLOUR | tags)


def indexed(path, indices, tags):
    words = BYTES | {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    data = {"PixelData": indices.tobytes()}
    return write_slice(
        path, indices, 0, **(BYTES if indices.itemsize == 1 else words) | data | tags
    )


def colours(path):
    content = path.read_bytes()
    return colours_in(tags_in(str(path), content, (*GREY, *COLOURS)), content)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("first", [0, 1])
def test_a_palette_gives_its_colours_and_its_ends_to_what_lies_beyond(tmp_path, bits, first):
    tags = palette(PALETTE.astype(int) * FACTORS[bits], bits, first)
    found = colours(indexed(tmp_path / "a.dcm", INDICES, tags))
    assert found.dtype == np.uint8
    expected = PALETTE[np.clip(INDICES.astype(int) - first, 0, 3)]
    assert np.array_equal(found, expected)


def test_words_far_beyond_a_palette_of_bytes_have_its_last_colour(tmp_path):
    indices = np.array([[0, 3], [257, 60000]], "<u2")
    found = colours(indexed(tmp_path / "a.dcm", indices, palette(PALETTE, 8)))
    assert np.array_equal(found, PALETTE[[[0, 3], [3, 3]]])


def test_8_bit_colours_in_high_bytes_come_back(tmp_path):
    tags = palette(PALETTE.astype(int) * 256, 16)
    indices = np.minimum(INDICES, 3)
    assert np.array_equal(colours(indexed(tmp_path / "a.dcm", indices, tags)), PALETTE[indices])


def test_a_palette_of_bytes_that_claims_words_is_taken_as_it_is(tmp_path):
    tags = palette(PALETTE, 8)
    for name in NAMES:
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, 16]
    indices = np.minimum(INDICES, 3)
    assert np.array_equal(colours(indexed(tmp_path / "a.dcm", indices, tags)), PALETTE[indices])


def test_palettes_that_would_be_misread_are_refused(tmp_path):
    long = indexed(tmp_path / "a.dcm", INDICES, palette(np.zeros((300, 3), np.uint8), 8))
    with pytest.raises(SampleError, match="300 entries of 8 bits"):
        colours(long)
    tags = palette(PALETTE.astype(int) * 257, 16)
    for name in NAMES:
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, 8]
    with pytest.raises(SampleError, match="colours above its 8 bits"):
        colours(indexed(tmp_path / "b.dcm", INDICES, tags))
    path = indexed(tmp_path / "c.dcm", INDICES, palette(PALETTE, 8))
    tags = dcmread(path)
    tags.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dcmwrite(path, tags, implicit_vr=False, little_endian=False, force_encoding=True)
    with pytest.raises(SampleError, match="big-endian"):
        colours(path)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("dtype", ["u1", "<u2"])
def test_rgb_is_as_it_is_stored(tmp_path, planar, dtype):
    pixels = RGB.astype(dtype) * (1 if dtype == "u1" else 255)
    data = (pixels.transpose(2, 0, 1) if planar else pixels).tobytes()
    found = colours(
        channels(tmp_path / "a.dcm", pixels, PlanarConfiguration=planar, PixelData=data)
    )
    assert found.dtype == dtype
    assert np.array_equal(found, pixels)


def test_luma_and_chroma_become_rgb(tmp_path):
    full = convert_color_space(RGB, "RGB", "YBR_FULL")
    found = colours(channels(tmp_path / "a.dcm", full, "YBR_FULL"))
    assert np.abs(found.astype(int) - RGB).max() <= 1
    # Two pixels of a row share their chroma: Y Y Cb Cr.
    full = convert_color_space(np.repeat(RGB[:, ::2], 2, axis=1), "RGB", "YBR_FULL")
    pairs = np.stack([full[:, ::2, 0], full[:, 1::2, 0], full[:, ::2, 1], full[:, ::2, 2]], axis=2)
    found = colours(channels(tmp_path / "b.dcm", full, "YBR_FULL_422", PixelData=pairs.tobytes()))
    assert np.abs(found.astype(int) - np.repeat(RGB[:, ::2], 2, axis=1)).max() <= 1


def test_a_jpeg_has_the_colours_that_pillow_gives(tmp_path):
    pixels, stream = np.kron(RGB, np.ones((8, 8, 1), np.uint8)), io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    path = channels(tmp_path / "a.dcm", pixels, "YBR_FULL_422")
    tags = dcmread(path)
    tags.PixelData = encapsulate([stream.getvalue()])
    tags["PixelData"].VR = "OB"
    tags.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    tags.save_as(path, enforce_file_format=True)
    expected = np.asarray(Image.open(stream)).astype(int)
    assert np.abs(colours(path).astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("photometric", "tags", "said"),
    [
        ("YBR_PARTIAL_422", {}, "expected MONOCHROME1, .*YBR_RCT"),
        ("RGB", {"BitsStored": 7, "HighBit": 6}, "in 7 bits"),
        ("RGB", {"SamplesPerPixel": 1}, "cannot be read"),
        ("PALETTE COLOR", {"SamplesPerPixel": 1}, "cannot be read"),
    ],
)
def test_other_colours_are_refused(tmp_path, photometric, tags, said):
    path = channels(tmp_path / "a.dcm", RGB, photometric, **tags)
    with pytest.raises(SampleError, match=said):
        colours(path)


def test_labels_are_the_indices_of_a_palette_and_images_have_no_such_slices(tmp_path):
    path = indexed(tmp_path / "a.dcm", INDICES, palette(PALETTE, 8))
    labels = open_dicom_labels(str(path), None, UnitAccounting("test"))
    assert np.array_equal(labels.stored()[0], INDICES)
    with pytest.raises(SampleError, match=r"PALETTE COLOR.*image files or as a video"):
        opened(path)


def test_images_in_colour_with_a_label_each_are_cut_beside_grey_ones(tmp_path):
    grey = RGB[:, :, 0]
    indices = np.minimum(INDICES, 3)
    indexed(tmp_path / "images/a.dcm", indices, palette(PALETTE, 8))
    channels(tmp_path / "images/b.dcm", RGB)
    indexed(tmp_path / "images/c.dcm", grey, {})
    put_text(tmp_path / "t.csv", "image,label", "a,none", "b,finding", "c,none")
    labels, classes = {"images": str(tmp_path / "t.csv")}, ["finding", "none"]
    config = dataset("images", tmp_path / "images/*.dcm", labels, classes=classes)
    result = cut(config, tmp_path / "index")
    assert result.failures == []
    assert result.labels == {"a.dcm": 1, "b.dcm": 0, "c.dcm": 1}
    found = {
        name: batch.arrays["inputs"][at]
        for batch in result.batches
        for at, name in enumerate(batch.samples["sample_id"].to_pylist())
    }
    for name, pixels in {"a": PALETTE[indices], "b": RGB, "c": grey[:, :, None]}.items():
        assert np.array_equal(found[f"{name}.dcm"], pixels.transpose(2, 0, 1))
