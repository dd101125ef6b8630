"""Masks as image files, a file a frame."""

import numpy as np

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.mask_files import mask_like
from ray_audit.formats.pixels.encoding import read_labels
from ray_audit.formats.places import below, file_below
from ray_audit.formats.stacks.base import MaskStack, NewMask
from ray_audit.formats.stacks.pattern import frames_of, listed_files


class MaskFolder(MaskStack):
    """The files of a pattern.

    Args:
        pattern: `labels.masks` with its fields filled in.
        dataset: says how masks are stored.
        tally: counts what is read.

    Raises:
        SampleError: which frame a file stands for cannot be told.
        StorageError: the folder cannot be listed.
    """

    def __init__(self, pattern: str, dataset: DatasetConfig, tally: UnitAccounting) -> None:
        files = listed_files(pattern)
        frames = frames_of(files, dataset.labels.first_frame)
        self._uris = {
            frame: file.stored.uri
            for frame, file in sorted(zip(frames, files, strict=True), key=lambda pair: pair[0])
        }
        self.frames = np.array([*self._uris], np.int64)
        self._dataset, self._tally = dataset, tally
        self._classes = ClassNames.of(dataset)

    def mask(self, frame: int) -> np.ndarray:
        """See `MaskStack.mask`."""
        uri = self._uris[frame]
        try:
            return read_labels(self._tally.read_bytes(uri), self._dataset, self._classes)
        except SampleError as error:
            raise SampleError(error.error_class, f"{error} (mask {uri})") from error

    def write(self, new: NewMask, to_folder: str, template: str) -> None:
        """See `MaskStack.write`."""
        for frame, uri in self._uris.items():
            target, mask = below(to_folder, file_below(template, uri)), new(frame)
            if mask is None:
                storage.copy(uri, target)
                continue
            try:
                stored = storage.read_bytes(uri)
                content = mask_like(stored, mask, self._dataset.labels)
            except LabelError as error:
                raise LabelError(f"{uri}: {error}") from None
            storage.write_bytes(target, content)
