"""PNG of depths that Pillow reads and does not write: grey of 2 and 4 bits, colour of 16."""

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> grey, grey and alpha, RGB, RGBA


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


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
