"""DICOM files of one image each, as seeds."""

import numpy as np

from tests.unit.formats.test_dicom import write_slice
from tests.unit.formats.test_dicom_colours import channels, indexed, palette

INDICES = np.arange(20, dtype=np.uint8).reshape(4, 5) % 3
COLOURS = np.array([[0, 128, 255], [7, 9, 11], [250, 3, 99]], np.uint8)


def grey_images(folder):
    """Of 12 bits, with signs and without."""
    pixels = np.arange(20).reshape(4, 5)
    files = [{}, {"PixelRepresentation": 0, "RescaleSlope": 0.5}]
    return [write_slice(folder / "good", pixels, 0, **tags).read_bytes() for tags in files]


def colour_images(folder):
    """By palettes of 8 and 16 bits, RGB, and luma with chroma in planes."""
    path, pixels = folder / "good", COLOURS[INDICES]
    return [
        indexed(path, INDICES, palette(COLOURS, 8)).read_bytes(),
        indexed(path, INDICES, palette(COLOURS, 16)).read_bytes(),
        channels(path, pixels).read_bytes(),
        channels(path, pixels, "YBR_FULL", PlanarConfiguration=1).read_bytes(),
    ]
