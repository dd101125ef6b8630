"""Masks as the slices of a volume."""

import numpy as np

from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.places import below, file_below
from ray_audit.formats.stacks.base import MaskStack, NewMask
from ray_audit.formats.volumes.alignment import Turn
from ray_audit.formats.volumes.volume import Volume, read_values, stored_numbers, whole_values


class VolumeMasks(MaskStack):
    """The slices of a label volume.

    Args:
        volume: opened; closed with this.
        axis: along which slices lie; None for that of the container.
        turn: gives the array in the axes of an image.

    Raises:
        SampleError: it has several channels, or its values cannot be read.
    """

    def __init__(
        self, volume: Volume, axis: int | None = None, turn: Turn = lambda values: values
    ) -> None:
        header = volume.header
        if header.num_channels != 1:
            raise SampleError(
                "mask_format",
                f"the label volume {volume.uri} has {header.num_channels} channels; labels have "
                "one",
            )
        self._volume, self._turn = volume, turn
        self._axis = header.axis if axis is None else axis
        self._values = turn(read_values(volume))
        self.frames = np.arange(self._values.shape[self._axis])

    def mask(self, frame: int) -> np.ndarray:
        """See `MaskStack.mask`."""
        stored = np.take(self._values, frame, self._axis)
        return whole_values(stored, self._volume.header)

    def write(self, new: NewMask, to_folder: str, template: str) -> None:
        """See `MaskStack.write`."""
        uri = self._volume.uri
        target = below(to_folder, file_below(template, uri))
        values: np.ndarray | None = None
        for frame in self.frames.tolist():
            mask = new(frame)
            if mask is None:
                continue
            values = self._volume.stored().copy() if values is None else values
            self._change(np.moveaxis(self._turn(values), self._axis, 0)[frame], frame, mask)
        if values is None:
            self._volume.copy(target)
            return
        self._volume.write(values, target)

    def _change(self, stored: np.ndarray, frame: int, mask: np.ndarray) -> None:
        """Change the voxels of a slice (a view) that differ from the new mask."""
        changed = mask != self.mask(frame)
        try:
            stored[changed] = stored_numbers(mask[changed], self._volume.header)
        except LabelError as error:
            raise LabelError(f"{self._volume.uri}, slice {frame}: {error}") from None

    def close(self) -> None:
        """See `MaskStack.close`."""
        self._volume.close()
