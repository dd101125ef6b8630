"""The mask stack of a video, whatever form it has."""

from collections.abc import Sequence

import numpy as np

from ray_audit.config import DatasetConfig
from ray_audit.errors import SampleError, SpecificationError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.labels.timeline import FrameTimeline
from ray_audit.formats.mask_files import LOSSLESS
from ray_audit.formats.stacks.base import MaskStack
from ray_audit.formats.stacks.folders import MaskFolder
from ray_audit.formats.stacks.pattern import has_star
from ray_audit.samples import Shard

_FILES = tuple(f".{extension}" for extension in LOSSLESS)


def has_stacks(dataset: DatasetConfig) -> bool:
    """Whether labels are mask stacks: a mask for each frame of videos."""
    return dataset.kind == "video" and dataset.labels.masks is not None


def open_stack(shard: Shard, dataset: DatasetConfig, tally: UnitAccounting) -> MaskStack:
    """Open the masks of a video that has some.

    Raises:
        SampleError: they cannot be read, or do not tell their frames.
        StorageError: the store does not give them.
    """
    assert shard.label_uri is not None
    return MaskFolder(shard.label_uri, dataset, tally)


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


def check_template(template: str, kind: str) -> None:
    """Refuse masks in a form that does not go with the data.

    Raises:
        SpecificationError: says what does.
    """
    name = template.lower()
    if kind != "video" and has_star(template):
        raise SpecificationError(
            f"labels.masks: {template} names several files for each of the dataset's; that goes "
            "with kind video, whose frames have a mask each"
        )
    if kind == "video" and not (has_star(template) and name.endswith(_FILES)):
        raise SpecificationError(
            f"labels.masks: {template} names no masks of frames; expected image files that keep "
            f"class indices, such as masks/{{stem}}/*.png ({', '.join(_FILES)})"
        )
