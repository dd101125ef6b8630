"""Tags of a TIFF file that go along when its pixels are written anew: places, units, words."""

import struct

import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ray_audit.errors import LabelError

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339

_OF_PIXELS = frozenset(
    {255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 284, 288, 289}
    | {292, 293, 301, 317, 318, 319, 320, 322, 323, 324, 325, 330, 336, 338, 339, 340, 341, 347}
    | {*range(512, 522), 529, 530, 531, 532, 34665, 34853, 40965}
)
"""Tags that say how the pixels are stored, or where in the file something lies: sizes, depths,
compression, strips and tiles, the palette, the orientation (pixels are written upright), JPEG
tables, and the places of further directories. The writer makes its own."""

_DIRECTORIES = {330: "SubIFDs", 34665: "Exif", 34853: "GPS", 40965: "Interoperability"}


def not_kept(picture: Image.Image, is_stack: bool = False) -> str | None:
    """What an opened file holds beside a picture and its tags, and a new one would not.

    Args:
        picture: as opened; at its first page afterwards.
        is_stack: whether each page is one of the pictures that are meant.
    """
    num_pages = getattr(picture, "n_frames", 1)
    if num_pages > 1 and not is_stack:
        return f"{num_pages} pages (overviews, say), of which the first is the mask"
    found: dict[str, None] = {}
    for page in range(num_pages - 1, -1, -1):
        if num_pages > 1:
            picture.seek(page)
        stored = getattr(picture, "tag_v2", {})
        found |= dict.fromkeys(name for tag, name in _DIRECTORIES.items() if tag in stored)
    return f"further directories ({', '.join(found)})" if found else None


def kept_tags(picture: Image.Image) -> dict[int, object]:
    """The other tags of an opened TIFF file: tag -> value, text as bytes."""
    stored = getattr(picture, "tag_v2", {})
    return {
        tag: value.encode("latin-1") if isinstance(value, str) else value
        for tag, value in ((tag, stored[tag]) for tag in stored)
        if tag not in _OF_PIXELS
    }


def is_white_zero(picture: Image.Image) -> bool:
    """Whether 0 is white in an opened file."""
    return bool(getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC, 1) == 0)


def as_white_is_zero(picture: Image.Image, tags: ImageFileDirectory_v2) -> Image.Image:
    """A picture whose values are stored as they are in a file in which 0 is white.

    Pillow inverts such pictures of up to 8 bits as it writes them.
    """
    tags[_PHOTOMETRIC] = 0
    if picture.mode == "1":
        return Image.fromarray(~np.asarray(picture))
    return ImageOps.invert(picture) if picture.mode == "L" else picture


def is_unsigned(picture: Image.Image) -> bool:
    """Whether an opened file holds whole numbers of 32 bits without a sign."""
    stored = getattr(picture, "tag_v2", {})
    return picture.mode == "I" and bool(stored.get(_SAMPLE_FORMAT, (1,))[0] == 1)


def as_unsigned(content: bytes) -> bytes:
    """A TIFF file that Pillow wrote, whose numbers are said to be unsigned, on every page.

    Pillow reads numbers of 32 bits of either kind, and writes signed ones alone.
    """
    changed = bytearray(content)
    order = "<" if content.startswith(b"II") else ">"
    (at,) = struct.unpack_from(f"{order}I", content, 4)
    while at:
        (num,) = struct.unpack_from(f"{order}H", content, at)
        end = at + 2 + 12 * num
        for entry in range(at + 2, end, 12):
            if struct.unpack_from(f"{order}H", content, entry) == (_SAMPLE_FORMAT,):
                struct.pack_into(f"{order}H", changed, entry + 8, 1)
        (at,) = struct.unpack_from(f"{order}I", content, end)
    return bytes(changed)


def is_signed_16(picture: Image.Image) -> bool:
    """Whether an opened file holds signed whole numbers of 16 bits."""
    stored = getattr(picture, "tag_v2", {})
    kind = stored.get(_BITS, (1,))[0], stored.get(_SAMPLE_FORMAT, (1,))[0]
    return picture.mode == "I" and kind == (16, 2)


def as_signed_16(picture: Image.Image, tags: ImageFileDirectory_v2) -> Image.Image:
    """A picture of such numbers as Pillow can write it: by itself it would write 32 bits.

    Raises:
        LabelError: a number needs more than 16 bits.
    """
    values = np.asarray(picture)
    if (values.astype(np.int16) != values).any():
        highest = int(np.abs(values).max())
        raise LabelError(f"value {highest} does not fit a mask of 16 bits with a sign")
    tags[_SAMPLE_FORMAT] = 2
    return Image.fromarray(values.astype(np.int16).view(np.uint16))


def check_depth(picture: Image.Image) -> None:
    """Refuse grey of fewer than 8 bits, which Pillow reads and does not write, and signed bytes.

    Raises:
        LabelError: it is one of these.
    """
    tags = getattr(picture, "tag_v2", {})
    bits, sample_format = tags.get(_BITS, (1,))[0], tags.get(_SAMPLE_FORMAT, (1,))[0]
    if picture.mode in ("L", "P") and (bits < 8 or sample_format != 1):
        kind = "signed values" if sample_format == 2 else "values"
        raise LabelError(
            f"the mask is a TIFF of {kind} of {bits} bits, which are not written back as such; "
            "keep the masks as PNG"
        )


def lost_tags(tags: dict[int, object], written: Image.Image) -> list[int]:
    """Tags that a file which was written has not, or otherwise."""
    there = kept_tags(written)
    return [tag for tag, value in tags.items() if repr(there.get(tag)) != repr(value)]


def directory_of(picture: Image.Image) -> ImageFileDirectory_v2:
    """The same in the form that a writer takes, with their types."""
    directory = ImageFileDirectory_v2()
    for tag, value in kept_tags(picture).items():
        directory.tagtype[tag] = picture.tag_v2.tagtype[tag]  # type: ignore[attr-defined]
        directory[tag] = value
    return directory
