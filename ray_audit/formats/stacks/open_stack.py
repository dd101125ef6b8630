"""The mask stack of a video, whatever form it has."""

from collections.abc import Sequence

import numpy as np

from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError, SampleError, SpecificationError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.labels.timeline import FrameTimeline
from ray_audit.formats.mask_files import LOSSLESS, TIFF_ENDINGS
from ray_audit.formats.registry import format_in
from ray_audit.formats.stacks.base import MaskStack
from ray_audit.formats.stacks.folders import MaskFolder
from ray_audit.formats.stacks.pattern import has_star
from ray_audit.formats.stacks.video_masks import ENDINGS as VIDEOS
from ray_audit.formats.stacks.video_masks import VideoMasks, check_encoder
from ray_audit.formats.stacks.volume_masks import VolumeMasks
from ray_audit.formats.volumes.alignment import Turn
from ray_audit.formats.volumes.dicom_volume import is_dicom
from ray_audit.formats.volumes.volume import Volume
from ray_audit.formats.volumes.volume_files import ENDINGS, open_volume
from ray_audit.formats.volumes.volume_slices import open_slice_masks
from ray_audit.samples import Shard

ONE_VOLUME = (
    "write one label volume for each image, with a number for each structure (TotalSegmentator's "
    "--ml does; else labels[mask > 0] = number, for one structure after the other)"
)
"""What to do with label volumes of one structure each."""

_FILES = tuple(f".{extension}" for extension in LOSSLESS)


def has_stacks(dataset: DatasetConfig, shard: Shard) -> bool:
    """Whether labels are mask stacks: masks of the frames of videos, or of the slices of volumes.

    Args:
        dataset: what labels it has.
        shard: any of its files.
    """
    is_several = dataset.kind == "video" or format_in(dataset, shard.key).is_volume
    return is_several and dataset.labels.masks is not None


def open_stack(shard: Shard, dataset: DatasetConfig, tally: UnitAccounting) -> MaskStack:
    """Open the masks of a video that has some.

    Raises:
        SampleError: they cannot be read, or do not tell their frames.
        StorageError: the store does not give them.
    """
    assert shard.label_uri is not None
    if format_in(dataset, shard.key).is_volume:
        return open_slice_masks(shard, dataset, tally)
    if has_star(shard.label_uri):
        return MaskFolder(shard.label_uri, dataset, tally)
    if shard.label_uri.lower().endswith(VIDEOS):
        return VideoMasks(shard.label_uri, dataset, tally)
    volume = open_volume(shard.label_uri, None, tally)
    return VolumeMasks(volume, turn=_upright(volume))


def _upright(volume: Volume) -> Turn:
    """What makes slices of frames: NIfTI has the width first, and then the height.

    Raises:
        SampleError: `mask_format`: of square frames that could be either way, since programs write
            both.
    """
    if volume.header.axis == 0:
        return lambda values: values
    if volume.header.shape[0] == volume.header.shape[1]:
        raise SampleError(
            "mask_format",
            f"{volume.uri} holds square masks, and whether its first axis is their width (as NIfTI "
            "has it) or their height cannot be told; save the masks as npy (frames, height, width)",
        )
    return lambda values: values.transpose(1, 0, 2)


class MaskedFrames(FrameTimeline):
    """Which frames of a video have a mask, for its accounting: each under class 0."""

    def __init__(self, frames: Sequence[int] | np.ndarray) -> None:
        super().__init__(np.asarray(frames, np.int64), np.zeros(len(frames), np.int32))

    def check_clock(self, num_frames: int, frame_s: float) -> None:
        """See `Timeline.check_clock`."""
        try:
            super().check_clock(num_frames, frame_s)
        except SampleError as error:
            raise SampleError(
                "label_clock",
                f"its last mask is that of frame {int(self.frames[-1])}, and it has about "
                f"{num_frames} frames, as many seconds: masks seem to be numbered by seconds. "
                "Number their files by the frames of the video",
            ) from error


def check_template(template: str, kind: str, is_volume: bool = False) -> None:
    """Refuse masks in a form that does not go with the data.

    Args:
        template: `labels.masks`.
        kind: of the dataset.
        is_volume: whether its files are volumes.

    Raises:
        SpecificationError: says what does.
    """
    name = template.lower()
    if is_volume and has_star(template):
        raise SpecificationError(
            f"labels.masks: {template} names several files for each volume, which are not put "
            f"together: {ONE_VOLUME}"
        )
    single = (*ENDINGS, *TIFF_ENDINGS, *VIDEOS)
    if kind == "video" and not name.endswith(_FILES if has_star(template) else single):
        raise SpecificationError(
            f"labels.masks: {template} names no masks of frames; expected image files that keep "
            f"class indices, such as masks/{{stem}}/*.png ({', '.join(_FILES)}), or a file for "
            f"each video ({', '.join(single)})"
        )


def check_stack_writable(shard: Shard, dataset: DatasetConfig) -> None:
    """Refuse, before any work, masks that could be read and not written.

    Raises:
        SpecificationError: they are a video whose codec cannot be encoded here, or DICOM.
    """
    uri = shard.label_uri or ""
    if is_dicom(uri):
        raise SpecificationError(
            f"labels.masks: {uri} lies in DICOM, whose labels are not written back (other objects "
            "refer to them by their UID); save the labels as NIfTI or NRRD, and audit these"
        )
    if dataset.kind != "video" or not uri.lower().endswith(VIDEOS):
        return
    try:
        with VideoMasks(uri, dataset, UnitAccounting("labels")) as masks:
            check_encoder(uri, masks.codec)
    except LabelError as error:
        raise SpecificationError(f"labels.masks: {error}") from None
    except (SampleError, OSError, ValueError):
        return  # it cannot be read either, and is left out of the copy
