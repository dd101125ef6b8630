"""PNG of depths that Pillow reads and does not write, and what files say beside their pixels."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> grey, grey and alpha, RGB, RGBA
_OF_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"hIST")
_MAY_TURN = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")


def png_bytes(pixels: np.ndarray, bits: int) -> bytes:
    """Write a PNG file.

    Args:
        pixels: (H, W) or (H, W, C) of values below 2 ** bits.
        bits: 1, 2, 4, 8 or 16 a channel; fewer than 8 of one channel only.
    """
    height, width = pixels.shape[:2]
    num_channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = pixels.reshape(height, -1)
    if bits == 16:
        packed = rows.astype(">u2").view(np.uint8)
    elif bits == 8:
        packed = rows.astype(np.uint8)
    else:
        single = np.unpackbits(rows.astype(np.uint8)[:, :, None], axis=2)[:, :, 8 - bits :]
        packed = np.packbits(single.reshape(height, -1), axis=1)
    filtered = np.insert(packed, 0, 0, axis=1)  # each row begins with its filter: none
    head = struct.pack(">2I5B", width, height, bits, _COLOUR_TYPES[num_channels], 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def with_chunks_of(old: bytes, new: bytes, is_turned: bool = False) -> bytes:
    """A PNG file with what another says beside its pixels: texts, times, resolution, profiles.

    Args:
        old: the other file, of the same colour type.
        new: the pixels, and the palette.
        is_turned: whether the other says that its pixels are turned, which these are not: texts and
            Exif, any of which may say it, are left out.
    """
    places: dict[bytes, list[bytes]] = {b"PLTE": [], b"IDAT": [], b"IEND": []}
    passed: list[bytes] = []
    for kind, chunk in _chunks(old):
        passed.append(kind)
        if kind in _OF_PIXELS or (is_turned and kind in _MAY_TURN):
            continue
        before = b"IEND" if b"IDAT" in passed else b"IDAT" if b"PLTE" in passed else b"PLTE"
        places[before].append(chunk)
    written = [_SIGNATURE]
    has_palette = any(kind == b"PLTE" for kind, _ in _chunks(new))
    for kind, chunk in _chunks(new):
        if kind not in _OF_PIXELS:
            continue
        if kind == b"IDAT" and not has_palette:
            written += places.pop(b"PLTE", [])
        written += [*places.pop(kind, []), chunk]
    return b"".join(written)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a file that was read, each with its length and checksum."""
    at = len(_SIGNATURE)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        yield content[at + 4 : at + 8], content[at : at + 12 + length]
        at += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
