"""DICOM files as images, one label each: X-rays and the like, of which each is a sample."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ray_audit.config import LabelsConfig, VolumeConfig
from ray_audit.errors import SampleError
from ray_audit.formats.base import Format, Item
from ray_audit.formats.job import UnitContext
from ray_audit.formats.volumes.dicom_colours import COLOURS, colours_in
from ray_audit.formats.volumes.dicom_volume import GREY, frames_in, pydicom, tags_in
from ray_audit.formats.volumes.volume import VolumeHeader, windowed
from ray_audit.samples import IGNORE, Shard


class DicomImages(Format):
    """A DICOM file an image, where labels are no masks."""

    name: ClassVar[str] = "DICOM images"
    kind: ClassVar[str] = "images"
    extensions: ClassVar[tuple[str, ...]] = ("dcm",)
    forms: ClassVar[frozenset[str]] = frozenset({"folder"})
    is_small: ClassVar[bool] = True
    takes_window: ClassVar[bool] = True

    def check(self, shard: Shard, labels: LabelsConfig) -> None:
        """Say what to install."""
        pydicom()

    def read(self, shards: tuple[Shard, ...], job: UnitContext) -> Iterator[Item]:
        """Images in order, decoded; a file that cannot be read is a failure of its own."""
        for shard in shards:
            item = Item(shard.key, shard.key, class_index=shard.class_index)
            if item.class_index in (None, IGNORE):
                yield item  # it will be filtered: there is no need to read it
                continue
            try:
                with job.tally.timed():
                    item = replace(item, image=_pixels(shard.uri, job))
            except Exception as error:  # a damaged file raises whatever its library does
                item = replace(item, error=error)
            yield item


def _pixels(uri: str, job: UnitContext) -> np.ndarray:
    """(H, W, 1), or (H, W, 3) in RGB; uint8 or uint16.

    Raises:
        SampleError: it is no picture of one frame, is too large, or grey values need a window.
    """
    content = job.tally.read_bytes(uri)
    file = tags_in(uri, content, (*GREY, *COLOURS))
    num_frames, height, width = file.shape
    if num_frames > 1:
        raise SampleError(
            "image_format",
            f"{uri} has {num_frames} frames, of which none is the picture that has the label; save "
            "the one that is meant, or audit masks of all (labels.masks)",
        )
    if height * width > job.dataset.max_px:
        raise SampleError(
            "too_large",
            f"{uri} has {height} x {width} px, dataset.max_px is {job.dataset.max_px:.4g}",
        )
    if file.photometric in COLOURS:
        return colours_in(file, content)
    window = (job.dataset.volume or VolumeConfig()).window
    header = VolumeHeader(file.shape, 1, file.dtype, 0, *file.scale)
    return windowed(frames_in(file, content)[0], header, window)[:, :, None]
