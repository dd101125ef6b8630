"""The display matrix of a video: how players turn or mirror its pictures."""

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from av.sidedata.sidedata import Type

from ray_audit.errors import SampleError

Orientation = Literal["stored", "display"]
_ONE = 65536  # 16.16 fixed point


@dataclass(frozen=True)
class Turn:
    """Quarter turns and mirrors: rows and columns are exchanged first, then reversed.

    Attributes:
        transposes: rows become columns.
        flips_rows: the last row of the outcome comes first.
        flips_columns: the last column of the outcome comes first.
    """

    transposes: bool
    flips_rows: bool
    flips_columns: bool

    @classmethod
    def of(cls, frame: Any) -> Self | None:
        """Of a decoded frame; None where it is shown as it is stored.

        The matrix [[a, b, .], [c, d, .], ...] shows a stored pixel (x, y) at (ax + cy, bx + dy).
        It is read itself, because a rotation says nothing of mirrors.

        Raises:
            SampleError: the matrix turns pictures by other than quarter turns.
        """
        matrix = frame.side_data.get(Type.DISPLAYMATRIX)
        if matrix is None:
            return None
        (a, b), (c, d) = np.frombuffer(matrix, np.int32).reshape(3, 3)[:2, :2].tolist()
        if not b and not c and a and d:
            turn = cls(transposes=False, flips_rows=d < 0, flips_columns=a < 0)
            return turn if turn.flips_rows or turn.flips_columns else None
        if not a and not d and b and c:
            return cls(transposes=True, flips_rows=b < 0, flips_columns=c < 0)
        shown = ", ".join(f"{value / _ONE:g}" for value in (a, b, c, d))
        raise SampleError(
            "orientation",
            f"the display matrix ({shown}) is neither a quarter turn nor a mirror; set "
            "dataset.orientation: stored",
        )

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, C) as it is shown: (W, H, C) after an odd number of quarter turns."""
        if self.transposes:
            pixels = pixels.swapaxes(0, 1)
        if self.flips_rows:
            pixels = pixels[::-1]
        if self.flips_columns:
            pixels = pixels[:, ::-1]
        return pixels


def turns(frame: Any) -> bool:
    """Whether a frame is shown otherwise than it is stored."""
    try:
        return Turn.of(frame) is not None
    except SampleError:
        return True


def oriented(pixels: np.ndarray, frame: Any, orientation: Orientation) -> np.ndarray:
    """The pixels (H, W, C) of a frame as they are stored, or as players show them.

    Raises:
        SampleError: the display matrix cannot be applied.
    """
    turn = Turn.of(frame) if orientation == "display" else None
    return pixels if turn is None else np.ascontiguousarray(turn.apply(pixels))
