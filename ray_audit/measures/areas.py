"""Areas of a mask that seem wrong: pieces in its tiles put together, image by image."""

from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from ray_audit import rle
from ray_audit.measures.base import DENSE, Cuts, Family, Quantity
from ray_audit.measures.regions import by_image, touching
from ray_audit.scores.segmentation import smallest_region_px

MAX_AREAS = 32
"""Areas of one mask."""

AREA_COLUMNS = ("num_px", "loss", "p_given", "num_runs")
"""A row of `final/areas` after the number of its mask; loss and p are sums over its pixels."""


@dataclass(frozen=True)
class Area:
    """Connected pixels that the last checkpoint sees as other classes than they are given.

    Attributes:
        num_px: its pixels.
        loss: sum over them, in nats.
        p_given: sum over them.
        runs: where it is in the whole image.
    """

    num_px: int
    loss: float
    p_given: float
    runs: rle.Runs

    @property
    def doubt(self) -> float:
        """Sum over its pixels of 1 - p(given)."""
        return self.num_px - self.p_given

    @classmethod
    def union(cls, pieces: list[Self]) -> Self:
        """One area of touching pieces."""
        if len(pieces) == 1:
            return pieces[0]
        return cls(
            sum(p.num_px for p in pieces),
            sum(p.loss for p in pieces),
            sum(p.p_given for p in pieces),
            rle.union([p.runs for p in pieces]),
        )


def _merged(cuts: Cuts, name: str) -> list[tuple[Area, ...]]:
    """The one with most doubt first."""
    return by_image(cuts, name, "final/area_runs", _pieces, _put_together)


def _pieces(table: list[float], runs: list[int]) -> list[Area]:
    values = np.reshape(np.asarray(table, np.float64), (-1, len(AREA_COLUMNS)))
    every = np.reshape(np.asarray(runs, np.int64), (-1, 2))
    each = np.split(every, np.cumsum(values[:, -1]).astype(np.int64)[:-1])
    return [
        Area(int(num_px), loss, p_given, own)
        for (num_px, loss, p_given, _), own in zip(values.tolist(), each, strict=False)
    ]


def _put_together(pieces: list[Area], height: int, width: int) -> tuple[Area, ...]:
    smallest = smallest_region_px(height * width)
    areas = [Area.union(alike) for alike in touching(pieces, height)]
    large = [area for area in areas if area.num_px >= smallest]
    return tuple(sorted(large, key=lambda area: (-area.doubt, area.runs[0, 0]))[:MAX_AREAS])


_final = partial(Quantity, axis="pieces", when="last", tasks=DENSE)

FAMILY = Family(
    "Areas of a mask that seem wrong: the `areas` table",
    (
        _final("final/areas", "areas that seem wrong: see `AREA_COLUMNS`", merge=_merged),
        _final("final/area_runs", "their runs of pixels in the whole image", merge=None),
    ),
)
