"""Pictures of chosen samples as people see them: whole, upright, 8 bits, of bounded size."""

from collections.abc import Collection, Iterator
from contextlib import closing, suppress

import av
import numpy as np
from PIL import Image

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import RayAuditError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.job import UnitContext
from ray_audit.formats.pixels.pictures import read_image
from ray_audit.formats.reading import unit_items
from ray_audit.formats.video.frames import decoded_frames
from ray_audit.formats.video.orientation import Orientation
from ray_audit.formats.video.stills import stills_in
from ray_audit.samples import Shard, WorkUnit


def show_images(
    unit: WorkUnit, job: UnitContext, names: Collection[str], max_px: int
) -> Iterator[tuple[str, Image.Image]]:
    """Images by sample id; what cannot be read is left out. Reading ends behind the last one.

    Args:
        unit: the shards that hold them.
        job: how they are read.
        names: sample ids.
        max_px: longest side; larger images are reduced.
    """
    left = set(names)
    for item in unit_items(unit, job):
        if item.sample_id in left and item.error is None:
            yield item.sample_id, reduced(read_image(item.image, job.dataset.max_px), max_px)
        left.discard(item.sample_id)
        if not left:
            return


def show_frames(
    shard: Shard, frame_numbers: Collection[int], max_px: int, orientation: Orientation
) -> Iterator[tuple[int, Image.Image]]:
    """Frames of a video by their index; decoding ends behind the last one.

    Args:
        shard: the video.
        frame_numbers: positions in decoding order.
        max_px: longest side; larger frames are reduced.
        orientation: of the pixels.
    """
    last = max(frame_numbers, default=-1)
    with (
        UnitAccounting("").open_read(shard.uri, shard.size_bytes) as stream,
        closing(decoded_frames(stream, orientation, shard)) as frames,
    ):
        for index, pixels in enumerate(frames):
            if index > last:
                return
            if index in frame_numbers:
                yield index, reduced(pixels(), max_px)


def show_stills(
    shard: Shard, dataset: DatasetConfig, frame_numbers: Collection[int], max_px: int
) -> Iterator[tuple[int, Image.Image]]:
    """As `show_frames`, of a folder of images; what cannot be read is left out."""
    with suppress(RayAuditError):
        for still in stills_in(shard.uri, dataset):
            if still.index in frame_numbers:
                with suppress(RayAuditError):
                    yield still.index, reduced(still.pixels(), max_px)


def frame_size(uri: str, size_bytes: int, orientation: Orientation) -> tuple[int, int] | None:
    """Height and width of a video's first frame; None where it cannot be read."""
    with (
        suppress(RayAuditError, OSError, av.FFmpegError),
        storage.open_read(uri, size_bytes) as stream,
        closing(decoded_frames(stream, orientation)) as frames,
    ):
        for pixels in frames:
            height, width = pixels().shape[:2]
            return height, width
    return None


def promised_frames(uri: str, size_bytes: int, by_duration: bool = False) -> int | None:
    """How many frames a video's header tells of; None where it does not.

    Args:
        uri: of the video.
        size_bytes: of its file.
        by_duration: whether its length at its rate will do, about as many (Matroska has no count).
    """
    with (
        suppress(RayAuditError, OSError, av.FFmpegError, IndexError),
        storage.open_read(uri, size_bytes) as stream,
        av.open(stream) as container,
    ):
        video = container.streams.video[0]
        if video.frames or not by_duration or not container.duration or not video.average_rate:
            return int(video.frames) or None
        return int(container.duration / av.time_base * float(video.average_rate) + 0.5)
    return None


def reduced(pixels: np.ndarray, max_px: int) -> Image.Image:
    """(H, W, C) uint8 or uint16 as a picture of at most `max_px` a side."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((max_px, max_px), Image.Resampling.BILINEAR)
    return image
