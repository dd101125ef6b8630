"""Volumes with their label volumes, slice by slice."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import ClassVar, Self

import numpy as np

from ray_audit.config import DatasetConfig, LabelsConfig, VolumeConfig
from ray_audit.errors import SampleError, SpecificationError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.base import Format, Item
from ray_audit.formats.job import UnitContext
from ray_audit.formats.stacks.volume_masks import VolumeMasks
from ray_audit.formats.volumes.alignment import turn_between
from ray_audit.formats.volumes.nifti_volume import nibabel
from ray_audit.formats.volumes.volume import Volume, check_window, read_values, windowed
from ray_audit.formats.volumes.volume_files import ENDINGS, open_volume
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard


class Slices:
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
            if shard.label_uri is not None:
                labels = stack.enter_context(open_volume(shard.label_uri, None, job.tally))
                sizes.append(_num_slices(labels, config))
            volume = stack.enter_context(open_volume(shard.uri, shard.size_bytes, job.tally))
            header = volume.header
            self._axis = header.axis if config.axis is None else config.axis
            self.num_slices = _num_slices(volume, config)
            sizes[:] = [self.num_slices]
            if labels is not None:
                _check_px(volume, self._axis, job.dataset.max_px)
                turn = turn_between(volume, labels)
                channel = _channel(volume, config.channel)
                check_window(header, self._window)
                self._values = read_values(volume, channel)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_slice_masks(shard: Shard, dataset: DatasetConfig, tally: UnitAccounting) -> VolumeMasks:
    """The masks of a volume that has some; of the volume itself only the header is read."""
    axis = dataset.volume.axis if dataset.volume is not None else None
    with ExitStack() as stack:
        volume = stack.enter_context(open_volume(shard.uri, shard.size_bytes, tally))
        labels = stack.enter_context(open_volume(str(shard.label_uri), None, tally))
        axis = volume.header.axis if axis is None else axis
        masks = VolumeMasks(labels, axis, turn_between(volume, labels))
        stack.pop_all()
        volume.close()
        return masks


def _num_slices(volume: Volume, config: VolumeConfig) -> int:
    return volume.header.shape[volume.header.axis if config.axis is None else config.axis]


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


class VolumeFiles(Format):
    """A volume a file, each slice along one axis a sample."""

    kind = "images"
    is_volume = True

    def check(self, shard: Shard, labels: LabelsConfig) -> None:
        """Refuse labels that are no volumes; say what to install."""
        if labels.form != "masks" or not str(labels.masks).lower().endswith(ENDINGS):
            given = f"labels.{labels.form}" + (f" {labels.masks}" if labels.masks else "")
            raise SpecificationError(
                f"{given} does not go with {shard.key}: slices of volumes have masks; give "
                "labels.masks, a template of label volumes such as labels/{stem}.nii.gz "
                f"({', '.join(ENDINGS)})"
            )
        if str(labels.masks).lower().endswith((".nii", ".nii.gz")):
            nibabel()

    def read(self, shards: tuple[Shard, ...], job: UnitContext) -> Iterator[Item]:
        """Slices in order; a volume that cannot be read is a failure of all its slices."""
        for shard in shards:
            sizes: list[int] = []  # numbers of slices, by the headers that were read
            try:
                slices = Slices(shard, job, sizes)
            except Exception as error:
                job.tally.fail(shard.key, error, stage="read", num_samples=max(sizes, default=None))
                continue
            with slices:
                for index in range(slices.num_slices):
                    yield _item(shard, slices, index)


def _item(shard: Shard, slices: Slices, index: int) -> Item:
    name = Owner(shard.key).frame(index)
    if slices.masks is None:
        return Item(name, shard.key)
    try:
        image, mask = slices.pixels(index)[:, :, None], slices.masks.mask(index)
    except Exception as error:  # of this slice alone
        return Item(name, shard.key, mask_uri=shard.label_uri, error=error)
    return Item(name, shard.key, image=image, mask=mask, mask_uri=shard.label_uri)


class NiftiFiles(VolumeFiles):
    """NIfTI, 1 and 2, compressed or not."""

    name: ClassVar[str] = "NIfTI"
    extensions: ClassVar[tuple[str, ...]] = ("nii", "nii.gz")

    def check(self, shard: Shard, labels: LabelsConfig) -> None:
        """See `VolumeFiles.check`."""
        nibabel()
        super().check(shard, labels)


class MetaImageFiles(VolumeFiles):
    """MetaImage: one file, or a header with its values beside it."""

    name: ClassVar[str] = "MetaImage"
    extensions: ClassVar[tuple[str, ...]] = ("mha", "mhd")
