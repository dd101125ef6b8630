"""Areas that seem wrong of one unit as rows of the `areas` table."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ray_audit import rle
from ray_audit.engine.reduce.load import Samples
from ray_audit.measures.areas import Area
from ray_audit.schemas import AREAS, arrow_schema
from ray_audit.scores.segmentation import area_suspicion


def areas_table(
    samples: Samples, suspicion: np.ndarray, finite: np.ndarray, metadata: dict[str, str]
) -> pa.Table:
    """Areas of the scored samples, in sample order, each image's most suspicious first.

    Args:
        samples: of the unit.
        suspicion: (N,) of the samples, NaN where unknown.
        finite: (N,) bool: samples that are scored.
        metadata: of the file.
    """
    schema = arrow_schema(list(AREAS), metadata)
    if "areas" not in samples.values:
        return schema.empty_table()
    rows = [
        row
        for index in np.flatnonzero(finite).tolist()
        for row in _rows(samples, index, float(np.nan_to_num(suspicion[index])))
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def _rows(samples: Samples, index: int, suspicion: float) -> Iterator[dict[str, Any]]:
    height, width = (int(side) for side in samples.values["image_size"][index])
    areas: tuple[Area, ...] = samples.values["areas"][index]
    found = [
        (area_suspicion(suspicion, area.doubt / area.num_px, area.num_px / (height * width)), area)
        for area in areas
    ]
    for number, (own, area) in enumerate(sorted(found, key=lambda item: -item[0])):
        yield {
            "sample_id": samples.identity["sample_id"][index].as_py(),
            "shard": samples.identity["shard"][index].as_py(),
            "area": number,
            "suspicion": own,
            "box": rle.box(area.runs, height),
            "mask_rle": rle.encode_runs(area.runs, (height, width)),
            "mask_size_px": (height, width),
            "num_px": area.num_px,
            "loss": area.loss / area.num_px,
            "p_given": area.p_given / area.num_px,
        }
