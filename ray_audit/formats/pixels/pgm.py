"""PGM files with other values: header and comments stay, and so does whether they are text."""

import re

import numpy as np

from ray_audit.errors import LabelError

_BLANK = rb"(?:[ \t\r\n]|#[^\n]*\n)+"
_HEADER = re.compile(rb"(P[25])" + (_BLANK + rb"(\d+)") * 3 + rb"(?:[ \t]*#[^\n]*)?[ \t\r\n]")


def pgm_like(stored: bytes, values: np.ndarray) -> bytes:
    """Other values behind the header of a file.

    Args:
        stored: the file, plain (P2) or packed (P5).
        values: (H, W) integers, as they are stored.

    Raises:
        LabelError: one is above the file's maximum, or it is no PGM.
    """
    header = _HEADER.match(stored)
    if header is None:
        raise LabelError("the mask is no PGM of one picture; keep the masks as PNG")
    maximum = int(header[4])
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high > maximum:
        raise LabelError(
            f"value {high if high > maximum else low} does not fit a PGM whose highest value is "
            f"{maximum}; keep the masks as PNG"
        )
    if header[1] == b"P2":
        rows = (" ".join(map(str, row)) for row in values.tolist())
        return header[0] + "".join(f"{row}\n" for row in rows).encode()
    return header[0] + values.astype(np.uint8 if maximum < 256 else ">u2").tobytes()
