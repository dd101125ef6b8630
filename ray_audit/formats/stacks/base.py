"""What every mask stack does."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from ray_audit.formats.closeable import Closeable

NewMask = Callable[[int], np.ndarray | None]
"""The new mask of a frame, (H, W) or (H, W, 3) as it is stored, or None where it stays. Asked once
a frame, in ascending order."""


class MaskStack(Closeable, ABC):
    """The masks of one video by frame, or of one volume by slice.

    Attributes:
        frames: (M,) int64, numbers of the frames that have a mask, ascending.
    """

    frames: np.ndarray

    @abstractmethod
    def mask(self, frame: int) -> np.ndarray:
        """A mask as it is stored: (H, W) integers, or (H, W, 3) colours. Cheapest in order.

        Raises:
            SampleError: it cannot be read.
        """

    @abstractmethod
    def write(self, new: NewMask, to_folder: str, template: str) -> None:
        """A copy with some masks replaced; everything else stays as it is.

        Args:
            new: gives the new masks.
            to_folder: of the copies, which lie below it as the originals below the fixed folder of
                the template.
            template: `labels.masks`.

        Raises:
            LabelError: a new mask does not fit the form in which masks are stored.
            StorageError: something cannot be read or written.
        """
