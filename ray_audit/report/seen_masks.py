"""What the last checkpoint sees in masks: by the model, or as the run's tables keep it.

A run keeps the candidate regions of each mask: where the last checkpoint sees another class, which,
and how surely. They are enough to look at findings without the model.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ray_audit import rle
from ray_audit.config import AuditConfig
from ray_audit.engine.run.predict import Predicted, chosen_images, placed
from ray_audit.samples import IGNORE, WorkUnit
from ray_audit.tables.run_tables import RunTables

_COLUMNS = ("sample_id", "suggested", "mask_rle", "mask_size_px", "p_given")

Regions = dict[str, list[dict[str, Any]]]
"""Sample id -> rows of the run's `regions` table."""


@dataclass(frozen=True)
class SeenMask:
    """An image, or a tile of one, with what the last checkpoint sees there.

    Attributes:
        sample_id: the image.
        pixels: (C, H, W) of the picture as the cut holds it.
        targets: (H, W) given classes with `IGNORE`.
        predicted: (H, W) class indices; `IGNORE` where nothing is known.
        doubt: (H, W) uint8: 255 times 1 - p(given class); 0 where unlabelled.
        owned: y0, x0, y1, x1 within the cut that a tile owns.
        placement: y and x of a tile, height and width of the whole image; None for whole images.
    """

    sample_id: str
    pixels: npt.NDArray[Any]
    targets: npt.NDArray[np.integer]
    predicted: npt.NDArray[np.integer]
    doubt: npt.NDArray[np.uint8]
    owned: tuple[int, int, int, int] | None = None
    placement: tuple[int, int, int, int] | None = None

    @classmethod
    def of(cls, predicted: Predicted) -> "SeenMask":
        """From probabilities of the model."""
        labelled = predicted.targets != IGNORE
        given = np.where(labelled, predicted.targets, 0).astype(np.int64)
        p_given = np.take_along_axis(predicted.p, given[None], axis=0)[0]
        doubt = np.where(labelled, 255 * (1 - p_given), 0).round().astype(np.uint8)
        return cls(
            predicted.sample_id,
            predicted.pixels,
            predicted.targets,
            predicted.p.argmax(axis=0),
            doubt,
            predicted.owned,
            predicted.placement,
        )


def stored_masks(
    config: AuditConfig,
    index_uri: str,
    unit: WorkUnit,
    sample_ids: Collection[str],
    regions: Regions,
) -> Iterator[SeenMask]:
    """Decode a unit; of its wanted masks the given classes, changed where the run has regions.

    No model is called. Pixels outside of the candidate regions are shown as they are given.
    """
    for batch, rows in chosen_images(config, index_uri, unit, sample_ids):
        for row in rows.tolist():
            sample_id = batch.samples["sample_id"][row].as_py()
            cut = batch.samples["cut"][row].as_py()
            owned, placement = placed(batch, cut)
            targets = batch.arrays["targets"][cut]
            predicted, doubt = _drawn(targets, placement, regions.get(sample_id, ()))
            pixels = batch.arrays["inputs"][cut]
            yield SeenMask(sample_id, pixels, targets, predicted, doubt, owned, placement)


def _drawn(
    targets: npt.NDArray[np.integer],
    placement: tuple[int, int, int, int] | None,
    regions: Iterable[dict[str, Any]],
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.uint8]]:
    top, left = (0, 0) if placement is None else placement[:2]
    height, width = targets.shape
    predicted, doubt = targets.astype(np.int64), np.zeros(targets.shape, np.uint8)
    for region in regions:
        whole = rle.decode(region["mask_rle"], tuple(region["mask_size_px"]))
        inside = whole[top : top + height, left : left + width]
        predicted[inside] = region["suggested"]
        if region["p_given"] is not None:
            doubt[inside] = round(255 * (1 - region["p_given"]))
    return predicted, doubt


def regions_of(tables: RunTables, shards: Collection[str], sample_ids: Collection[str]) -> Regions:
    """Candidate regions of some images of some shards, as the run keeps them."""
    found: Regions = defaultdict(list)
    files = [file for (file,) in tables.parts("regions")]
    numbers = {i for shard in shards for i in tables.parts_by_shard.get(shard, ())}
    ids = pa.array(sorted(sample_ids), pa.string())
    for number in sorted(numbers) if files else ():
        rows = tables.read(files[number], list(_COLUMNS))
        for row in rows.filter(pc.is_in(rows["sample_id"], value_set=ids)).to_pylist():
            found[row["sample_id"]].append(row)
    return dict(found)
