"""Mask files are written with all that they held, or refused before any is."""

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, TiffTags
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ray_audit.corrections.write_labels import check_masks, write_labels
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.formats.mask_files import encode_mask
from tests.support import label_sets
from tests.support.label_sets import listed
from tests.support.media import write_parquet, write_tar
from tests.support.small_sets import picture


@pytest.mark.parametrize(
    ("mode", "dtype", "suffix"),
    [
        ("L", np.uint8, "png"),
        ("P", np.uint8, "png"),
        ("P4", np.uint8, "png"),
        ("1", np.bool_, "png"),
        ("I;16", np.uint16, "png"),
        ("I;16", np.uint16, "tiff"),
        ("I", np.int32, "tiff"),
        ("P", np.uint8, "tiff"),
        ("L", np.uint8, "bmp"),
    ],
)
def test_a_new_mask_keeps_mode_palette_and_depth(tmp_path, mode, dtype, suffix):
    pixels = (np.arange(12).reshape(3, 4) % 2).astype(dtype)
    picture = Image.fromarray(pixels)
    options = {"compression": "tiff_lzw"} if suffix == "tiff" else {}
    if mode.startswith("P"):
        picture.putpalette([9, 8, 7, 1, 2, 3, 4, 5, 6])
        options |= {"bits": 4} if mode == "P4" else {}
    path = tmp_path / f"m.{suffix}"
    picture.save(path, **options)
    new = pixels[:, ::-1].copy()
    if mode not in ("1", "P4"):
        new[0, 0] = 2
    (tmp_path / f"n.{suffix}").write_bytes(encode_mask(path.read_bytes(), new))
    with Image.open(path) as old, Image.open(tmp_path / f"n.{suffix}") as copy:
        assert copy.mode == old.mode
        assert np.array_equal(np.asarray(copy), new)
        assert copy.info.get("compression") == old.info.get("compression")
        if mode.startswith("P"):
            assert copy.getpalette()[:9] == old.getpalette()[:9]
    if suffix == "png":  # the byte of the bit depth
        assert (tmp_path / "n.png").read_bytes()[24] == path.read_bytes()[24]


def test_a_new_mask_keeps_what_a_png_says_beside_its_pixels(tmp_path):
    palette = np.arange(12, dtype=np.uint8).tolist()
    for mode in ("P", "L"):
        picture = Image.fromarray(np.eye(3, 4, dtype=np.uint8), mode)
        if mode == "P":
            picture.putpalette(palette)
        texts = PngInfo()
        texts.add_text("Software", "by hand")
        texts.add_itxt("Title", "méd", lang="fr")
        texts.add(b"tIME", struct.pack(">HBBBBB", 2020, 1, 2, 3, 4, 5), after_idat=True)
        exif = Image.Exif()
        exif[0x010E] = "a mask"
        options = {"transparency": 0} if mode == "P" else {}
        picture.save(
            tmp_path / "m.png", pnginfo=texts, dpi=(72, 72), exif=exif, icc_profile=b"p", **options
        )
        stored = (tmp_path / "m.png").read_bytes()
        new = encode_mask(stored, np.eye(3, 4, k=1, dtype=np.uint8))
        assert [kind for kind, _ in chunks(new)] == [kind for kind, _ in chunks(stored)]
        differing = [a[0] for a, b in zip(chunks(stored), chunks(new), strict=True) if a != b]
        assert differing == [b"IDAT"]


def chunks(content):
    at, found = 8, []
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 12 + length]))
        at += 12 + length
    return found


def further_pages(path):
    pages = [Image.fromarray(np.eye(n, dtype=np.uint8)) for n in (8, 4)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def further_directory(tag):
    def save(path):
        tags = ImageFileDirectory_v2()
        tags.tagtype[tag] = TiffTags.LONG
        tags[tag] = {1 if tag == 0x8825 else 0x9003: "N"}
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(path, tiffinfo=tags)

    return save


def sub_directories(path):
    """As OME-TIFF has its overviews: out of the list of pages."""
    page = np.eye(8, dtype=np.uint8)
    with tifffile.TiffWriter(path) as file:
        file.write(page, subifds=1)
        file.write(page[::2, ::2], subfiletype=1)


@pytest.mark.parametrize(
    ("save", "said"),
    [
        (further_pages, r"2 pages \(overviews, say\)"),
        (further_directory(0x8769), r"further directories \(Exif\)"),
        (further_directory(0x8825), r"further directories \(GPS\)"),
        (sub_directories, r"further directories \(SubIFDs\)"),
    ],
)
def test_a_mask_file_that_holds_more_is_refused_before_any_is_written(tmp_path, save, said):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.tif")
        picture(tmp_path / f"images/{name}.png", 1, size=(8, 8))
    labels = {"masks": str(tmp_path / "{stem}.tif")}
    config = label_sets.dataset("images", tmp_path / "images/*.png", labels)
    listing, _ = listed(config)
    with pytest.raises(SpecificationError, match=rf"a\.tif: the file holds {said}"):
        check_masks(config, listing.shards)
    check_masks(config, [])
    # Where none changes, each is copied as it is.
    write_labels(config, listing, LabelChanges(), str(tmp_path / "to"))
    assert (tmp_path / "to/labels/b.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_a_mask_within_a_container_that_holds_more_is_refused_before_any_is_written(tmp_path, form):
    """The second one, of which the mask may change; not where it stays."""
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "plain.tif")
    further_pages(tmp_path / "more.tif")
    stored = [(tmp_path / f"{name}.tif").read_bytes() for name in ("plain", "more")]
    if form == "tar":
        pairs = [[(f"{at}.jpg", b"x"), (f"{at}.tif", mask)] for at, mask in enumerate(stored)]
        write_tar(tmp_path / "x.tar", [member for pair in pairs for member in pair])
    else:
        write_parquet(tmp_path / "x.parquet", image=[b"x"] * 2, mask=stored)
    labels = {"masks": "{key}.tif" if form == "tar" else "mask"}
    config = label_sets.dataset("images", tmp_path / f"x.{form}", labels)
    listing, _ = listed(config)
    with pytest.raises(SpecificationError, match=rf"x\.{form}#1: the file holds 2 pages"):
        check_masks(config, listing.shards)
    check_masks(config, listing.shards, {f"x.{form}#0"})


@pytest.mark.parametrize(
    ("mask", "message"),
    [(np.full((3, 4), 300), "300 does not fit"), (np.zeros((4, 3)), r"is \(4, 3\), the old one")],
)
def test_a_mask_that_does_not_fit_is_refused(tmp_path, mask, message):
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(LabelError, match=message):
        encode_mask((tmp_path / "m.png").read_bytes(), mask)
