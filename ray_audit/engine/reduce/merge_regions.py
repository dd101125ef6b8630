"""Candidate regions of one unit's records: pieces in tiles put together, image by image."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from scipy import sparse
from scipy.sparse import csgraph

from ray_audit import rle
from ray_audit.probes.trajectories import MOST_REGIONS, REGION_COLUMNS
from ray_audit.scores.segmentation import smallest_region_px

VOID = -1
"""Given class of an unlabelled region."""


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


@dataclass(frozen=True)
class VoidSeen:
    """What the checkpoints see in the unlabelled components of one image.

    Attributes:
        component: (V,) numbers as in the records.
        top_class: (V, E) class with the largest mean probability.
        top_p: (V, E) that mean.
    """

    component: np.ndarray
    top_class: np.ndarray
    top_p: np.ndarray

    def at(self, checkpoints: np.ndarray) -> "VoidSeen":
        """The same at some of the checkpoints, (E,) bool."""
        return VoidSeen(self.component, self.top_class[:, checkpoints], self.top_p[:, checkpoints])


def merged_regions(rows: pa.Table, group: np.ndarray, num: int) -> list[tuple[Region, ...]]:
    """Regions of each sample, the largest first; of more than the limit, those with most evidence.

    Args:
        rows: records with `final/regions`, `final/region_runs` and `final/image_size`.
        group: (R,) sample of each row.
        num: number of samples.
    """
    tables, runs = rows["final/regions"].to_pylist(), rows["final/region_runs"].to_pylist()
    sizes = rows["final/image_size"].to_pylist()
    pieces: list[list[Region]] = [[] for _ in range(num)]
    size_of = [(0, 0)] * num
    for row, sample in enumerate(group.tolist()):
        pieces[sample] += _pieces(tables[row], runs[row])
        size_of[sample] = (sizes[row][0], sizes[row][1])
    return [_put_together(of_one, size) for of_one, size in zip(pieces, size_of, strict=True)]


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


def _put_together(pieces: list[Region], size: tuple[int, int]) -> tuple[Region, ...]:
    by_kind: dict[tuple[int, int, int], list[Region]] = defaultdict(list)
    for piece in pieces:
        by_kind[piece.kind].append(piece)
    regions = []
    for (given, _, _), alike in by_kind.items():
        # An unlabelled component is one, though a tile without labels was never looked at.
        regions += [Region.union(alike)] if given == VOID else _touching(alike, size[0])
    smallest = smallest_region_px(size[0] * size[1])
    void = [region for region in regions if region.given == VOID]
    seen = [r for r in regions if r.given != VOID and r.num_px >= smallest]
    seen = sorted(seen, key=lambda r: (-r.evidence, r.runs[0, 0]))[:MOST_REGIONS]
    return tuple(sorted([*seen, *void], key=lambda r: (-r.num_px, r.runs[0, 0])))


def _touching(pieces: list[Region], height: int) -> list[Region]:
    """Unite the pieces that touch."""
    if len(pieces) == 1:
        return pieces
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
    united: dict[int, list[Region]] = defaultdict(list)
    for piece, one in zip(pieces, number.tolist(), strict=True):
        united[one].append(piece)
    return [Region.union(alike) for alike in united.values()]


def merged_voids(
    rows: pa.Table, group: np.ndarray, num: int, num_checkpoints: int
) -> list[VoidSeen]:
    """What is seen in the unlabelled components of each sample.

    Args:
        rows: records with `void/index`, `void_class` and `void_sum`.
        group: (R,) sample of each row.
        num: number of samples.
        num_checkpoints: E of these records.
    """
    columns = [rows[name].to_pylist() for name in ("void/index", "void_class", "void_sum")]
    of_sample: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(num)]
    for sample, index, classes, sums in zip(group.tolist(), *columns, strict=True):
        if index:
            numbers = np.reshape(np.asarray(index, np.int64), (-1, 2))
            shape = (len(numbers), -1, num_checkpoints)
            table = np.reshape(np.asarray(classes, np.int64), shape)
            of_sample[sample].append((numbers, table, np.reshape(np.asarray(sums), shape)))
    return [_top_classes(tiles, num_checkpoints) for tiles in of_sample]


def _top_classes(tiles: list[tuple[np.ndarray, ...]], num_checkpoints: int) -> VoidSeen:
    """Add up the sums of tiles, and take the largest of each component and checkpoint."""
    if not tiles:
        empty = np.zeros((0, num_checkpoints))
        return VoidSeen(np.zeros(0, np.int64), empty.astype(np.int64), empty)
    index = np.concatenate([tile[0] for tile in tiles])
    classes, sums = (np.concatenate([tile[i] for tile in tiles]) for i in (1, 2))
    component, place = np.unique(index[:, 0], return_inverse=True)
    num_px = np.bincount(place, weights=index[:, 1])
    totals = np.zeros((len(component), int(classes.max()) + 1, num_checkpoints))
    checkpoint = np.arange(num_checkpoints)
    np.add.at(totals, (place[:, None, None], classes, checkpoint), sums)
    return VoidSeen(component, totals.argmax(axis=1), totals.max(axis=1) / num_px[:, None])


def joined_voids(
    sets: list[list[VoidSeen]], source: list[tuple[int, int]], num: int
) -> list[VoidSeen]:
    """Put the checkpoints of several sets side by side: `source` names set and column of each."""
    joined = []
    for sample in range(num):
        of_sets = [one[sample] for one in sets]
        top_class = np.stack([of_sets[s].top_class[:, e] for s, e in source], axis=1)
        top_p = np.stack([of_sets[s].top_p[:, e] for s, e in source], axis=1)
        joined.append(VoidSeen(of_sets[0].component, top_class, top_p))
    return joined
