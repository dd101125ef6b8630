"""Medical volumes as slices: NIfTI images beside NIfTI label volumes."""

import io
import os
from collections.abc import Iterator

import numpy as np
from PIL import Image

from ray_audit.config import LabelsConfig, VolumeConfig
from ray_audit.errors import SampleError, SpecificationError
from ray_audit.formats.base import Format, Item
from ray_audit.formats.job import UnitContext
from ray_audit.formats.nifti_files import (
    VolumeHeader,
    check_size,
    inflated,
    nibabel,
    read_header,
    read_stored,
    whole_values,
    windowed,
)
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

_APART_MM = 1e-2


class NiftiVolumes(Format):
    """A volume a file, each slice along one axis a sample."""

    name = "NIfTI"
    kind = "images"
    extensions = ("nii", "nii.gz")
    is_volume = True

    def check(self, shard: Shard, labels: LabelsConfig) -> None:
        """Refuse labels that are no volumes; say what to install."""
        nibabel()
        if labels.form != "masks":
            raise SpecificationError(
                f"labels.{labels.form} does not go with {shard.key}: slices of volumes have masks; "
                "give labels.masks, a template of label volumes such as labels/{stem}.nii.gz"
            )

    def read(self, shards: tuple[Shard, ...], job: UnitContext) -> Iterator[Item]:
        """Slices in order; a volume that cannot be read is a failure of all its slices."""
        for shard in shards:
            sizes: list[int] = []  # numbers of slices, by the headers that were read
            try:
                yield from _slices(shard, job, sizes)
            except Exception as error:
                job.tally.fail(shard.key, error, stage="read", num_samples=max(sizes, default=None))


def _slices(shard: Shard, job: UnitContext, sizes: list[int]) -> Iterator[Item]:
    volume = job.dataset.volume or VolumeConfig()
    if shard.label_uri is None:
        yield from _unlabelled(shard, job, volume, sizes)
        return
    with job.tally.timed():
        labels, stored_labels = _read(shard.label_uri, None, job, volume, sizes, None)
        header, stored = _read(shard.uri, shard.size_bytes, job, volume, sizes, volume.channel)
    _check_pair(header, labels, shard.label_uri)
    for index in range(header.shape[volume.axis]):
        yield _item(
            shard,
            index,
            (header, np.take(stored, index, volume.axis)),
            (labels, np.take(stored_labels, index, volume.axis)),
            volume,
        )


def _unlabelled(
    shard: Shard, job: UnitContext, volume: VolumeConfig, sizes: list[int]
) -> Iterator[Item]:
    """Slices without content: they are counted, and filtered."""
    with job.tally.open_read(shard.uri, shard.size_bytes) as stream:
        header = read_header(inflated(stream, shard.uri))
    check_size(header, shard.size_bytes, shard.uri)
    sizes.append(header.shape[volume.axis])
    for index in range(sizes[0]):
        yield Item(Owner(shard.key).frame(index), shard.key)


def _read(
    uri: str,
    size_bytes: int | None,
    job: UnitContext,
    volume: VolumeConfig,
    sizes: list[int],
    channel: int | None,
) -> tuple[VolumeHeader, np.ndarray]:
    """A header and its stored values, bounded by the header before anything else is read."""
    try:
        with job.tally.open_read(uri, size_bytes) as stream:
            if size_bytes is None:
                size_bytes = stream.seek(0, os.SEEK_END)
                stream.seek(0)
            opened = inflated(stream, uri)
            header = read_header(opened)
            check_size(header, size_bytes, uri)
            sizes.append(header.shape[volume.axis])
            _check_px(header, volume.axis, job.dataset.max_px)
            return header, read_stored(opened, header, _channel(header, channel))
    except SampleError as error:
        raise SampleError(error.error_class, f"{uri}: {error}") from error


def _check_px(header: VolumeHeader, axis: int, max_px: float) -> None:
    height, width = (size for at, size in enumerate(header.shape[:3]) if at != axis)
    if height * width > max_px:
        raise SampleError(
            "too_large",
            f"its slices have {height} x {width} px, dataset.max_px is {max_px:.4g}",
        )


def _channel(header: VolumeHeader, channel: int | None) -> int:
    num = header.shape[3] if len(header.shape) == 4 else 1
    if channel is None and num > 1:
        raise SampleError(
            "image_format",
            f"the volume has shape {header.shape}: give dataset.volume.channel, which of the "
            f"{num} volumes along the fourth axis is read (labels have one)",
        )
    if channel is not None and channel >= num:
        raise SampleError(
            "image_format", f"the volume has {num} channel(s); dataset.volume.channel is {channel}"
        )
    return channel or 0


def _check_pair(header: VolumeHeader, labels: VolumeHeader, label_uri: str) -> None:
    """A label volume lies where its image does, or its labels are somewhere else's."""
    if header.shape[:3] != labels.shape[:3]:
        raise SampleError(
            "mask_size",
            f"the label volume {label_uri} has shape {labels.shape}, its image {header.shape}; "
            "expected the same",
        )
    if not np.allclose(header.affine, labels.affine, rtol=0, atol=_APART_MM):
        raise SampleError(
            "mask_size",
            f"the label volume {label_uri} has another affine than its image: "
            f"{_shown(labels)} and {_shown(header)}, so that voxels of one number lie at different "
            "places; resample the labels to the image, or save them with its affine",
        )


def _shown(header: VolumeHeader) -> str:
    return str(np.round(header.affine[:3], 3).tolist())


def _item(
    shard: Shard,
    index: int,
    image: tuple[VolumeHeader, np.ndarray],
    labels: tuple[VolumeHeader, np.ndarray],
    volume: VolumeConfig,
) -> Item:
    item = Item(Owner(shard.key).frame(index), shard.key, mask_uri=shard.label_uri)
    try:
        mask = _tiff(whole_values(labels[1], labels[0]))
        pixels = _tiff(windowed(image[1], image[0], volume.window))
    except Exception as error:  # of this slice alone
        return Item(item.sample_id, shard.key, mask_uri=shard.label_uri, error=error)
    return Item(item.sample_id, shard.key, image=pixels, mask=mask, mask_uri=shard.label_uri)


def _tiff(values: np.ndarray) -> bytes:
    """(H, W) as TIFF that is not compressed, which costs next to nothing to write and to read."""
    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(sink, format="TIFF")
    return sink.getvalue()
