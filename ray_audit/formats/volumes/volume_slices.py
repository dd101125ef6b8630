"""Volumes with their label volumes, slice by slice."""

from contextlib import ExitStack, suppress
from functools import partial

import numpy as np

from ray_audit.config import DatasetConfig, VolumeConfig
from ray_audit.errors import SampleError
from ray_audit.formats.accounting import UnitAccounting, of_labels
from ray_audit.formats.closeable import Closeable
from ray_audit.formats.job import UnitContext
from ray_audit.formats.stacks.volume_masks import VolumeMasks
from ray_audit.formats.volumes.alignment import turn_between
from ray_audit.formats.volumes.dicom_volume import is_dicom, num_slices_of_rest
from ray_audit.formats.volumes.page_stack import PageStack
from ray_audit.formats.volumes.volume import Volume, check_window, read_values, windowed
from ray_audit.formats.volumes.volume_files import open_dicom_labels, open_volume
from ray_audit.samples import Shard


class Slices(Closeable):
    """The slices of one volume as images, with their masks.

    Args:
        shard: the volume; `label_uri` its label volume.
        job: the dataset, and the tally.
        sizes: takes the number of slices, once a header tells it.

    Attributes:
        masks: of the slices; None where the volume has no labels, and its values are not read.
        num_slices: along the axis.

    Raises:
        SampleError: a file is no volume, is too large, or the two do not belong together.
    """

    def __init__(self, shard: Shard, job: UnitContext, sizes: list[int]) -> None:
        config = job.dataset.volume or VolumeConfig()
        self._window = config.window
        self.masks: VolumeMasks | None = None
        with ExitStack() as stack:
            labels = None
            if shard.label_uri is not None and not is_dicom(shard.label_uri):
                with of_labels(f" (labels {shard.label_uri})"):
                    labels = stack.enter_context(open_volume(shard.label_uri, None, job.tally))
                sizes.append(_num_slices(labels, config))
            volume = stack.enter_context(open_volume(shard.uri, shard.size_bytes, job.tally))
            header = volume.header
            self._axis = header.axis if config.axis is None else config.axis
            self.num_slices = _num_slices(volume, config)
            if type(labels) is not type(volume):  # whose axes may be others
                sizes.clear()
            sizes.append(self.num_slices)
            if shard.label_uri is not None and labels is None:
                with of_labels(f" (labels {shard.label_uri})"):
                    labels = open_dicom_labels(shard.label_uri, volume, job.tally)
            if labels is not None:
                _check_px(volume, self._axis, job.dataset.max_px)
                with of_labels():
                    turn = turn_between(volume, labels)
                channel = _channel(volume, config.channel)
                check_window(header, self._window)
                _check_is_picture(volume)
                self._values = read_values(volume, channel)
                with of_labels(f" (labels {shard.label_uri})"):
                    self.masks = VolumeMasks(labels, self._axis, turn)
            self._volume, self._open = volume, stack.pop_all()

    def pixels(self, index: int) -> np.ndarray:
        """(H, W) uint8 or uint16."""
        return windowed(np.take(self._values, index, self._axis), self._volume.header, self._window)

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of a slice."""
        shape = self._volume.header.shape
        return tuple(size for at, size in enumerate(shape) if at != self._axis)

    def close(self) -> None:
        """Let go of the files."""
        self._open.close()


def num_lost(shard: Shard, job: UnitContext, sizes: list[int]) -> int | None:
    """How many slices are lost with a volume that could not be opened; None where nothing tells.

    Args:
        shard: the volume.
        job: the dataset.
        sizes: what `Slices` has learnt of it: the header of the volume, or that of its labels.
    """
    if sizes:
        return max(sizes)
    config, tally = job.dataset.volume or VolumeConfig(), UnitAccounting("lost")
    opened = partial(open_volume, shard.uri, shard.size_bytes, tally)
    with suppress(Exception), opened() as volume:  # it is damaged, or its labels are
        return _num_slices(volume, config)
    if is_dicom(shard.uri):
        with suppress(Exception):
            return num_slices_of_rest(shard.uri, config.axis or 0, tally)
    return None


def open_slice_masks(shard: Shard, dataset: DatasetConfig, tally: UnitAccounting) -> VolumeMasks:
    """The masks of a volume that has some; of the volume itself only the header is read."""
    axis = dataset.volume.axis if dataset.volume is not None else None
    with ExitStack() as stack:
        volume = stack.enter_context(open_volume(shard.uri, shard.size_bytes, tally))
        uri = str(shard.label_uri)
        labels = (
            open_dicom_labels(uri, volume, tally)
            if is_dicom(uri)
            else stack.enter_context(open_volume(uri, None, tally))
        )
        axis = volume.header.axis if axis is None else axis
        masks = VolumeMasks(labels, axis, turn_between(volume, labels))
        stack.pop_all()
        volume.close()
        return masks


def _num_slices(volume: Volume, config: VolumeConfig) -> int:
    return volume.header.shape[volume.header.axis if config.axis is None else config.axis]


def _check_is_picture(volume: Volume) -> None:
    if isinstance(volume, PageStack) and volume.is_palette:
        raise SampleError(
            "image_format",
            f"the pages of {volume.uri} are palette indices, which are no grey values; save the "
            "pages in grey",
        )


def _check_px(volume: Volume, axis: int, max_px: float) -> None:
    height, width = (size for at, size in enumerate(volume.header.shape) if at != axis)
    if height * width > max_px:
        raise SampleError(
            "too_large",
            f"the slices of {volume.uri} have {height} x {width} px, dataset.max_px is "
            f"{max_px:.4g}",
        )


def _channel(volume: Volume, channel: int | None) -> int:
    num = volume.header.num_channels
    if channel is None and num > 1:
        raise SampleError(
            "image_format",
            f"the volume has shape {volume.header.shape} and {num} channels: give "
            "dataset.volume.channel, which of the volumes along the fourth axis is read",
        )
    if channel is not None and channel >= num:
        raise SampleError(
            "image_format", f"the volume has {num} channel(s); dataset.volume.channel is {channel}"
        )
    return channel or 0
