"""Candidate regions of a mask: pieces in its tiles put together, image by image."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self, TypeVar

import numpy as np

from ray_audit import rle
from ray_audit.measures.base import DENSE, Cuts, Family, Quantity
from ray_audit.scores.segmentation import smallest_region_px


class _HasRuns(Protocol):
    @property
    def runs(self) -> rle.Runs: ...


Piece = TypeVar("Piece", bound=_HasRuns)

VOID = -1
"""Given class of an unlabelled region."""

MAX_REGIONS = 32
"""Candidate regions of one mask."""

REGION_COLUMNS = (
    "given",
    "suggested",
    "component",
    "num_px",
    "loss",
    "p_given",
    "p_suggested",
    "outline_px",
    "contact_px",
    "num_runs",
)
"""A row of `final/regions` after the number of its mask; loss and p are sums over its pixels."""


@dataclass(frozen=True)
class Region:
    """Connected pixels of one given class that the last checkpoint sees as one other class.

    Attributes:
        given: class index, or `VOID`.
        suggested: class index; `VOID` for unlabelled regions, of which `VoidSeen` tells it.
        component: component of the mask that holds it, numbered as in the records.
        num_px: its pixels.
        loss: sum over them, in nats; 0 for unlabelled regions, like the sums of p.
        p_given: sum over them.
        p_suggested: sum over them.
        outline_px: pixels beside one that is not of the region.
        contact_px: those of them near a pixel given the suggested class.
        runs: where it is in the whole image.
    """

    given: int
    suggested: int
    component: int
    num_px: int
    loss: float
    p_given: float
    p_suggested: float
    outline_px: int
    contact_px: int
    runs: rle.Runs

    @property
    def kind(self) -> tuple[int, int, int]:
        """Pieces of one region are of one kind."""
        return self.given, self.suggested, self.component

    @property
    def evidence(self) -> float:
        """Sum over its pixels of p(suggested) - p(given)."""
        return self.p_suggested - self.p_given

    @classmethod
    def union(cls, pieces: list[Self]) -> Self:
        """One region of touching pieces; what neighbours at a seam see of the outline is lost."""
        if len(pieces) == 1:
            return pieces[0]
        return cls(
            *pieces[0].kind,
            sum(p.num_px for p in pieces),
            sum(p.loss for p in pieces),
            sum(p.p_given for p in pieces),
            sum(p.p_suggested for p in pieces),
            sum(p.outline_px for p in pieces),
            sum(p.contact_px for p in pieces),
            rle.union([p.runs for p in pieces]),
        )


def _merged(cuts: Cuts, name: str) -> list[tuple[Region, ...]]:
    """The largest first; of more than the limit, those with most evidence."""
    return by_image(cuts, name, "final/region_runs", _pieces, _put_together)


def by_image(
    cuts: Cuts,
    name: str,
    runs_name: str,
    pieces_of: Callable[[list[float], list[int]], list[Piece]],
    put_together: Callable[[list[Piece], int, int], tuple[Piece, ...]],
) -> list[tuple[Piece, ...]]:
    """Pieces in the tiles of each image, put together.

    Args:
        cuts: the tiles.
        name: quantity with a table of pieces for each tile.
        runs_name: quantity with their runs of pixels.
        pieces_of: the pieces of a tile, of its table and its runs.
        put_together: those of an image, of its pieces, its height and its width.
    """
    tables, runs = cuts.rows[name].to_pylist(), cuts.rows[runs_name].to_pylist()
    sizes = cuts.array("final/image_size")[cuts.first].tolist()
    return [
        put_together([piece for r in rows for piece in pieces_of(tables[r], runs[r])], *size)
        for rows, size in zip(cuts.rows_of, sizes, strict=True)
    ]


def _pieces(table: list[float], runs: list[int]) -> list[Region]:
    values = np.reshape(np.asarray(table, np.float64), (-1, len(REGION_COLUMNS)))
    every = np.reshape(np.asarray(runs, np.int64), (-1, 2))
    stops = np.cumsum(values[:, -1]).astype(np.int64)
    pieces = []
    for row, stop in zip(values.tolist(), stops.tolist(), strict=True):
        given, suggested, component, num_px, loss, p_given, p_suggested, outline, contact, n = row
        pieces.append(
            Region(
                int(given),
                int(suggested),
                int(component),
                int(num_px),
                loss,
                p_given,
                p_suggested,
                int(outline),
                int(contact),
                every[stop - int(n) : stop],
            )
        )
    return pieces


def _put_together(pieces: list[Region], height: int, width: int) -> tuple[Region, ...]:
    by_kind: dict[tuple[int, int, int], list[Region]] = defaultdict(list)
    for piece in pieces:
        by_kind[piece.kind].append(piece)
    regions = []
    for (given, _, _), alike in by_kind.items():
        # An unlabelled component is one, though a tile without labels was never looked at.
        together = [alike] if given == VOID else touching(alike, height)
        regions += [Region.union(pieces) for pieces in together]
    smallest = smallest_region_px(height * width)
    void = [region for region in regions if region.given == VOID]
    seen = [r for r in regions if r.given != VOID and r.num_px >= smallest]
    seen = sorted(seen, key=lambda r: (-r.evidence, r.runs[0, 0]))[:MAX_REGIONS]
    return tuple(sorted([*seen, *void], key=lambda r: (-r.num_px, r.runs[0, 0])))


def touching(pieces: list[Piece], height: int) -> list[list[Piece]]:
    """Pieces of an image of this height that touch, together."""
    if len(pieces) < 2:
        return [[piece] for piece in pieces]
    from scipy import sparse  # here: who only opens a run need not wait for it
    from scipy.sparse import csgraph

    boxes = np.array([rle.box(piece.runs, height) for piece in pieces])
    x0, y0, x1, y1 = (boxes[:, i, None] for i in range(4))
    near = (x0 <= x1.T) & (x1 >= x0.T) & (y0 <= y1.T) & (y1 >= y0.T)
    pairs = [
        (first, second)
        for first, second in np.argwhere(np.triu(near, 1)).tolist()
        if rle.touch(pieces[first].runs, pieces[second].runs, height)
    ]
    ends = np.array(pairs, np.int64).reshape(-1, 2).T
    shape = (len(pieces), len(pieces))
    graph = sparse.coo_array((np.ones(ends.shape[1], bool), (ends[0], ends[1])), shape=shape)
    _, number = csgraph.connected_components(graph, directed=False)
    united: dict[int, list[Piece]] = defaultdict(list)
    for piece, region in zip(pieces, number.tolist(), strict=True):
        united[region].append(piece)
    return list(united.values())


_final = partial(Quantity, axis="pieces", when="last", tasks=DENSE)

FAMILY = Family(
    "Candidate regions of a mask: the `regions` table",
    (
        _final("final/regions", "candidate regions: see `REGION_COLUMNS`", merge=_merged),
        _final("final/region_runs", "their runs of pixels in the whole image", merge=None),
    ),
)
