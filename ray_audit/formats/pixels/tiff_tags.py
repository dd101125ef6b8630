"""Tags of a TIFF file that go along when its pixels are written anew: places, units, words."""

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

_OF_PIXELS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 284, 288, 289}
    | {292, 293, 301, 317, 318, 319, 320, 322, 323, 324, 325, 330, 336, 338, 339, 340, 341, 347}
    | {*range(512, 522), 529, 530, 531, 532, 34665, 34853, 40965}
)
"""Tags that say how the pixels are stored, or where in the file something lies: sizes, depths,
compression, strips and tiles, the palette, the orientation (pixels are written upright), JPEG
tables, and the places of further directories. The writer makes its own."""


def kept_tags(picture: Image.Image) -> dict[int, object]:
    """The other tags of an opened TIFF file: tag -> value, text as bytes."""
    stored = getattr(picture, "tag_v2", {})
    return {
        tag: value.encode("latin-1") if isinstance(value, str) else value
        for tag, value in ((tag, stored[tag]) for tag in stored)
        if tag not in _OF_PIXELS
    }


def directory_of(picture: Image.Image) -> ImageFileDirectory_v2:
    """The same in the form that a writer takes, with their types."""
    directory = ImageFileDirectory_v2()
    for tag, value in kept_tags(picture).items():
        directory.tagtype[tag] = picture.tag_v2.tagtype[tag]  # type: ignore[attr-defined]
        directory[tag] = value
    return directory
