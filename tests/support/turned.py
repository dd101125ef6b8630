"""Videos that players turn or mirror: display matrices, and the same turns in numpy."""

import struct

import numpy as np

ONE = 65536
# a, b, c, d: a stored pixel (x, y) is shown at (ax + cy, bx + dy); and the same in numpy.
MATRICES = {
    "identity": ((1, 0, 0, 1), lambda p: p),
    "half turn": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "mirrored left to right": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "mirrored top to bottom": ((1, 0, 0, -1), lambda p: p[::-1]),
    "quarter turn clockwise": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "quarter turn anticlockwise": ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
    "transposed": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
    "transposed the other way": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1)),
}


def put_matrix(path, matrix, size):
    """Write a display matrix into the header of an mp4 or mov file whose frames have that size."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d = (ONE * value for value in matrix)
    width = size[1] << 16 if min(a, c) < 0 else 0
    height = size[0] << 16 if min(b, d) < 0 else 0
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, width, height, 1 << 30)
    path.write_bytes(content)
    return path
