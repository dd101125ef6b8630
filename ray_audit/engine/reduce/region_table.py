"""Candidate regions of one unit as rows of the `regions` table."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ray_audit import rle
from ray_audit.engine.reduce.load import Samples
from ray_audit.engine.reduce.unit_scores import split_non_finite
from ray_audit.measures.regions import VOID, Region
from ray_audit.schemas import REGIONS, arrow_schema
from ray_audit.scores.segmentation import merge_components
from ray_audit.scores.void import void_evidence

LEAST_VOID_EVIDENCE = 0.5
"""Unlabelled regions with less are no candidates."""


def regions_table(samples: Samples, metadata: dict[str, str]) -> pa.Table:
    """Regions of the scored samples, in sample order; empty where labels are not dense."""
    schema = arrow_schema(list(REGIONS), metadata)
    if "regions" not in samples.values:
        return schema.empty_table()
    finite, _ = split_non_finite(samples)
    rows = [row for index in np.flatnonzero(finite) for row in _rows(samples, int(index))]
    return pa.Table.from_pylist(rows, schema=schema)


def _rows(samples: Samples, index: int) -> Iterator[dict[str, Any]]:
    """Rows of one sample; unlabelled regions that no class is seen in are left out."""
    height, width = (int(side) for side in samples.values["image_size"][index])
    described = _Described(samples, index)
    kept = [r for r in samples.values["regions"][index] if described.is_candidate(r)]
    for number, region in enumerate(kept):
        yield {
            "sample_id": samples.identity["sample_id"][index].as_py(),
            "shard": samples.identity["shard"][index].as_py(),
            "region": number,
            "given": region.given,
            "box": rle.box(region.runs, height),
            "mask_rle": rle.encode_runs(region.runs, (height, width)),
            "mask_size_px": (height, width),
            "num_px": region.num_px,
            **described.row(region, height, width),
        }


class _Described:
    """What the rows of one sample's regions need of the sample."""

    def __init__(self, samples: Samples, index: int) -> None:
        components = merge_components([samples.values["components"][index]])
        self._components = {int(row[0]): (int(row[3]), int(row[4])) for row in components}
        seen = samples.values["voids"][index]
        suggested, evidence = void_evidence(seen.top_class, seen.top_p)
        columns = (suggested.tolist(), evidence.tolist(), seen.top_p[:, -1].tolist())
        self._void = dict(zip(seen.component.tolist(), zip(*columns, strict=True), strict=True))

    def is_candidate(self, region: Region) -> bool:
        if region.given != VOID:
            return True
        return bool(self._void[region.component][1] >= LEAST_VOID_EVIDENCE)

    def row(self, region: Region, height: int, width: int) -> dict[str, Any]:
        if region.given == VOID:
            suggested, _, p_suggested = self._void[region.component]
            x, y = rle.first_pixel(region.runs, height)
            # Of labelled pixels only: loss, p_given, outline and contact.
            return {
                "suggested": suggested,
                "p_suggested": p_suggested,
                "component": f"{x},{y}",
                "component_px": region.num_px,
            }
        component_px, first = self._components[region.component]
        return {
            "suggested": region.suggested,
            "loss": region.loss / region.num_px,
            "p_given": region.p_given / region.num_px,
            "p_suggested": region.p_suggested / region.num_px,
            "component": f"{first % width},{first // width}",
            "component_px": component_px,
            "outline_px": region.outline_px,
            "contact_px": region.contact_px,
        }
