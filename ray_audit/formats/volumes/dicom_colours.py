"""Colours of a DICOM file of one frame: by a palette, as luma and chroma, or as they are."""

import io
from typing import Any

import numpy as np

from ray_audit.errors import RayAuditError, SampleError
from ray_audit.formats.volumes.dicom_volume import PALETTE, DicomFile, frames_in, pydicom

COLOURS = (PALETTE, "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
"""Photometric interpretations that are read as colours."""
_CHANNELS = 3
_BYTE = 256


def colours_in(file: DicomFile, content: bytes) -> np.ndarray:
    """(H, W, 3) in RGB: uint8, or uint16 where RGB is stored in 16 bits.

    Args:
        file: of one frame, its photometric interpretation one of `COLOURS`.
        content: of the file.

    Raises:
        SampleError: the pixels or the palette cannot be decoded, or are others than the tags say.
    """
    try:
        tags = pydicom().dcmread(io.BytesIO(content))
        if file.photometric == PALETTE:
            return _of_palette(file, frames_in(file, content)[0], tags)
        return _of_channels(file, tags)
    except (RayAuditError, MemoryError):
        raise
    except Exception as error:  # pydicom and its plug-ins raise many kinds
        raise SampleError("decode", f"{file.uri}: its pixels cannot be read: {error}") from error


def _of_palette(file: DicomFile, indices: np.ndarray, tags: Any) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    num, first, depth = (int(number) for number in tags.RedPaletteColorLookupTableDescriptor)
    num = num or 1 << 16
    if not tags.file_meta.TransferSyntaxUID.is_little_endian:
        # pydicom takes the tables for little-endian ones.
        raise SampleError("image_format", f"{file.uri} has a palette in big-endian order")
    # pydicom counts entries in the type of the colours: beyond 255 it would begin again at 0.
    inside = np.clip(indices.astype(np.int64), first, first + num - 1)
    colours = apply_color_lut(inside, tags)[..., :_CHANNELS]
    if colours.itemsize == 1 and num > _BYTE:
        raise SampleError("image_format", f"{file.uri} has a palette of {num} entries of 8 bits")
    if depth == 16 and colours.itemsize == 2:
        # The high byte gives 8-bit colours back, multiplied by 256 or by 257.
        colours = colours >> 8
    if colours.max() >= _BYTE:
        raise SampleError("decode", f"{file.uri}: its palette has colours above its {depth} bits")
    pixels: np.ndarray = colours.astype(np.uint8)
    return pixels


def _of_channels(file: DicomFile, tags: Any) -> np.ndarray:
    if file.dtype.kind != "u" or file.bits != 8 * file.dtype.itemsize or file.bits > 16:
        raise SampleError(
            "image_format",
            f"{file.uri} has colours in {file.bits} bits of {file.dtype}; expected unsigned ones "
            "of 8 or 16 bits",
        )
    tags.pixel_array_options(as_rgb=True)
    pixels: np.ndarray = np.asarray(tags.pixel_array).reshape(*file.shape[1:], _CHANNELS)
    return pixels.astype(file.dtype)
