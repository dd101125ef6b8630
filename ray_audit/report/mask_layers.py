"""The layers of one masked image, made again: picture, given mask and prediction."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from ray_audit.engine.run.predict import Predictor
from ray_audit.errors import SpecificationError
from ray_audit.report.dataset_now import index_uri, last_checkpoint, shards_now
from ray_audit.report.layers import picture
from ray_audit.report.seen_masks import SeenMask, regions_of, stored_masks
from ray_audit.samples import WorkUnit
from ray_audit.supervisor import supervised
from ray_audit.tables.run_tables import RunTables


@dataclass(frozen=True)
class MaskLayers:
    """One image.

    Attributes:
        image: (H, W) or (H, W, 3) uint8.
        given: (H, W) class indices, -1 where unlabelled.
        predicted: (H, W) class indices that the last checkpoint sees.
    """

    image: npt.NDArray[np.uint8]
    given: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]


def mask_layers(tables: RunTables, shard_key: str, sample_id: str) -> MaskLayers:
    """Decode an image and run the last checkpoint over it, where its model may be called.

    Elsewhere what is predicted is drawn from the candidate regions that the run keeps.

    Raises:
        SpecificationError: the image is not in the dataset any more, or cannot be read.
        RayAuditError: the dataset cannot be listed any more.
        CheckpointError: the checkpoint is not there any more, or cannot be read.
    """
    shards = shards_now(tables)
    found: list[SeenMask] = []
    if shard_key in shards:
        config, uri, sample_ids = tables.config, index_uri(tables), {sample_id}
        unit = WorkUnit("figure", (shards[shard_key],))
        if tables.may_call_model:
            found = supervised(
                config.engine.stall_timeout_s,
                "looking again",
                lambda: _seen_by_model(tables, uri, unit, sample_id),
            )
        else:
            regions = regions_of(tables, [shard_key], sample_ids)
            found = list(stored_masks(config, uri, unit, sample_ids, regions))
    if not found:
        raise SpecificationError(
            f"{sample_id} cannot be shown: it has gone since the run, or cannot be read"
        )
    return joined(found)


def _seen_by_model(
    tables: RunTables, index_uri: str, unit: WorkUnit, sample_id: str
) -> list[SeenMask]:
    predictor = Predictor(tables.config, (last_checkpoint(tables),), index_uri)
    return [SeenMask.of(predicted) for predicted in predictor.predict(unit, {sample_id})]


def joined(parts: list[SeenMask]) -> MaskLayers:
    """A whole image, or its tiles, each where it is the tile's own."""
    first = parts[0]
    size = first.targets.shape if first.placement is None else first.placement[2:]
    picture_of = [_picture(part) for part in parts]
    image = np.zeros((*size, *picture_of[0].shape[2:]), np.uint8)
    given, predicted = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
    for tile, pixels in zip(parts, picture_of, strict=True):
        top, left = (0, 0) if tile.placement is None else tile.placement[:2]
        y0, x0, y1, x1 = tile.owned or (0, 0, *tile.targets.shape)
        inside = np.s_[y0:y1, x0:x1]
        place = np.s_[top + y0 : top + y1, left + x0 : left + x1]
        image[place] = pixels[inside]
        given[place] = tile.targets[inside]
        predicted[place] = tile.predicted[inside]
    return MaskLayers(image, given, predicted)


def _picture(mask: SeenMask) -> npt.NDArray[np.uint8]:
    height, width = mask.targets.shape
    shown = picture(mask.pixels).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(shown, np.uint8)
