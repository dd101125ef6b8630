"""Candidate regions: where the last checkpoint sees one other class than the mask says.

A region is a 4-connected piece of pixels of one given and one predicted class, found outside the
1-px band along label boundaries and then grown by 1 px into it. As a pixel's neighbours of equal
label belong to its component, a region lies within one component of the mask. Only pixels
that disagree are looked at, and all masks at once: most pixels of most masks agree.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import csgraph
from torch import Tensor

from ray_audit.measures.regions import MAX_REGIONS, REGION_COLUMNS
from ray_audit.probes.likelihood import Likelihood
from ray_audit.probes.masks import Maps, Masks
from ray_audit.samples import IGNORE
from ray_audit.scores.segmentation import smallest_region_px

_SMALLEST_PIECE_PX = 4  # of a region that may go on in the next tile
_PAD = 2
_OUTSIDE = -2  # of what is owned, in a padded map
_SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))
_CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
_NEAR = (*_SIDES, *((2 * dy, 2 * dx) for dy, dx in _SIDES))


@dataclass(frozen=True)
class _Pixels:
    """Some pixels of the masks, in the order of their places.

    Attributes:
        place: (M,) position in (N, H, W).
        region: (M,) region that they belong to, from 0; -1 where to none yet.
        values: (M,) arrays under their names.
    """

    place: np.ndarray
    region: np.ndarray
    values: dict[str, np.ndarray]

    @property
    def kind(self) -> np.ndarray:
        """Component and suggested class as one number."""
        suggested = self.values["suggested"].astype(np.int64)
        num_classes = suggested.max(initial=0) + 1
        kind: np.ndarray = self.values["component"] * num_classes + suggested
        return kind

    def take(self, kept: np.ndarray, region: np.ndarray) -> "_Pixels":
        """Some of the pixels, with the regions that they have now."""
        return _Pixels(self.place[kept], region, {k: v[kept] for k, v in self.values.items()})


def region_states(seen: Likelihood, masks: Masks, maps: Maps) -> dict[str, np.ndarray]:
    """Candidate regions of each mask, and its sizeable unlabelled components.

    Returns:
        `final/regions` (R, 1 + columns) float64: mask, then `REGION_COLUMNS`, by mask, the one
        with the largest sum of p(suggested) - p(given) first, at most `MAX_REGIONS` a mask;
        unlabelled components follow, with -1 as given and as suggested class. `final/region_runs`
        (Q, 3) int64: mask, first position and position after the last of each run, in the
        order of the regions; positions are x * height + y in the whole image.
    """
    shape = masks.labels.shape
    wrong = _disagreeing(seen, masks, maps)
    grown = _grown(wrong, shape)
    # What a tile sees but does not own has helped to find what belongs to a region.
    owned = grown.values["owned"]
    chosen = _chosen(grown.take(owned, grown.region[owned]), maps, shape)
    void = _void_pixels(maps, shape, int(chosen.region.max(initial=-1)) + 1)
    labels = masks.labels.cpu().numpy()
    table = np.concatenate([_rows(chosen, maps, labels), _void_rows(void, shape)])
    # By mask; a stable sort leaves the order within it.
    order = np.argsort(table[:, 0], kind="stable")
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    place = np.concatenate([chosen.place, void.place])
    region = position[np.concatenate([chosen.region, void.region])]
    runs, num_runs = _runs(place, region, maps, shape, len(table))
    table = np.column_stack([table[order], num_runs])
    of_mask = np.repeat(table[:, 0].astype(np.int64), num_runs)
    return {"final/regions": table, "final/region_runs": np.column_stack([of_mask, runs])}


def _disagreeing(seen: Likelihood, masks: Masks, maps: Maps) -> _Pixels:
    """Labelled pixels whose prediction is not the given class; only these leave the device."""
    labelled = masks.labels != IGNORE
    kept = labelled & (seen.predicted != masks.labels) & torch.isfinite(seen.loss)
    at = kept.flatten().nonzero().squeeze(1)

    def values(of: Tensor) -> np.ndarray:
        array: np.ndarray = of.flatten()[at].cpu().numpy()
        return array

    found = {
        "given": values(masks.labels),
        "suggested": values(seen.predicted),
        "inside": values(maps.interior),
        "owned": values(masks.counted),
        "loss": values(seen.loss),
        "p_given": values(seen.p_label),
        "p_suggested": values(seen.p_predicted),
    }
    place = at.cpu().numpy()
    found["component"] = maps.components.reshape(-1)[place]
    return _Pixels(place, np.full(len(place), -1), found)


def _grown(wrong: _Pixels, shape: torch.Size) -> _Pixels:
    """Number the regions, and give them their part of the boundary band."""
    inside = wrong.values["inside"]
    kind = wrong.kind
    core, band = (_padded_place(wrong.place[part], shape) for part in (inside, ~inside))
    numbers = _padded(shape, -1)
    region = _connected(core, kind[inside], numbers, shape)
    numbers[core] = region
    kind_of_region = np.empty(region.max(initial=-1) + 1, np.int64)
    kind_of_region[region] = kind[inside]
    kind_of_region = np.append(kind_of_region, -1)  # where there is no region
    nearest = np.full(len(band), len(region), np.int64)
    for step in (*_SIDES, *_CORNERS):
        number = numbers[band + _offset(step, shape)]
        same = kind_of_region[number] == kind[~inside]
        nearest = np.where(same, np.minimum(nearest, number), nearest)
    every = np.empty(len(wrong.place), np.int64)
    every[inside] = region
    every[~inside] = np.where(nearest < len(region), nearest, -1)
    found = every >= 0
    return wrong.take(found, every[found])


def _connected(
    place: np.ndarray, kind: np.ndarray, scratch: np.ndarray, shape: torch.Size
) -> np.ndarray:
    """Number the 4-connected pieces of equal kind, from 0; `scratch` is padded and holds -1."""
    num = len(place)
    scratch[place] = np.arange(num)
    ends = []
    for step in ((0, 1), (1, 0)):
        other = scratch[place + _offset(step, shape)]
        joined = np.flatnonzero((other >= 0) & (np.append(kind, -1)[other] == kind))
        ends.append(np.stack([joined, other[joined]]))
    first, second = np.concatenate(ends, axis=1)
    graph = sparse.coo_array((np.ones(len(first), bool), (first, second)), shape=(num, num))
    _, region = csgraph.connected_components(graph, directed=False)
    return np.asarray(region, np.int64)


def _padded(shape: torch.Size, value: int) -> np.ndarray:
    """A flat map of the masks with 2 px around each, so that a step never leaves it."""
    return np.full(shape[0] * (shape[1] + 2 * _PAD) * (shape[2] + 2 * _PAD), value, np.int32)


def _padded_place(place: np.ndarray, shape: torch.Size) -> np.ndarray:
    """Places in (N, H, W) to places in a padded map."""
    row, x = np.divmod(place, shape[2])
    mask, y = np.divmod(row, shape[1])
    width = shape[2] + 2 * _PAD
    padded: np.ndarray = (mask * (shape[1] + 2 * _PAD) + y + _PAD) * width + x + _PAD
    return padded


def _offset(step: tuple[int, int], shape: torch.Size) -> int:
    return step[0] * (shape[2] + 2 * _PAD) + step[1]


def _chosen(grown: _Pixels, maps: Maps, shape: torch.Size) -> _Pixels:
    """The regions that are large enough, of each mask those with the most evidence, renumbered."""
    _, height, width = shape
    # Some numbers may be of no pixel here.
    num_px = np.bincount(grown.region)
    mask = np.zeros(len(num_px), np.int64)
    mask[grown.region] = grown.place // (height * width)
    image_px = maps.placements[:, 2] * maps.placements[:, 3]
    smallest = np.array([smallest_region_px(int(num)) for num in image_px])[mask]
    open_ended = np.bincount(grown.region, weights=_at_seam(grown.place, maps, shape)) > 0
    large = num_px >= np.where(open_ended, np.minimum(smallest, _SMALLEST_PIECE_PX), smallest)
    gap = grown.values["p_suggested"].astype(np.float64) - grown.values["p_given"]
    evidence = np.bincount(grown.region, weights=gap)
    order = np.lexsort((-evidence, mask))
    order = order[large[order]]
    rank = np.arange(len(order)) - np.searchsorted(mask[order], mask[order])
    order = order[rank < MAX_REGIONS]
    number = np.full(len(num_px), -1)
    number[order] = np.arange(len(order))
    region = number[grown.region]
    kept = region >= 0
    return grown.take(kept, region[kept])


def _at_seam(place: np.ndarray, maps: Maps, shape: torch.Size) -> np.ndarray:
    """Whether pixels lie at an edge of what is owned that is no edge of the image."""
    _, height, width = shape
    if (maps.placements == [0, 0, height, width]).all():
        return np.zeros(len(place), bool)
    mask, y, x = place // (height * width), place // width % height, place % width
    y0, x0, y1, x1 = maps.rects[mask].T
    top, left, image_height, image_width = maps.placements[mask].T
    vertical = ((y == y0) & (y + top > 0)) | ((y == y1 - 1) & (y + top < image_height - 1))
    horizontal = ((x == x0) & (x + left > 0)) | ((x == x1 - 1) & (x + left < image_width - 1))
    seam: np.ndarray = vertical | horizontal
    return seam


def _rows(chosen: _Pixels, maps: Maps, labels: np.ndarray) -> np.ndarray:
    """A row for each region, without its runs."""
    values, region = chosen.values, chosen.region
    num = int(region.max(initial=-1)) + 1
    first = np.zeros(num, np.int64)
    first[region] = np.arange(len(region))
    outline, contact = _outline(chosen, maps, labels)

    def total(of: np.ndarray) -> np.ndarray:
        sums: np.ndarray = np.bincount(region, weights=of, minlength=num)
        return sums

    columns = [
        chosen.place[first] // labels[0].size,
        *(values[name][first] for name in ("given", "suggested", "component")),
        np.bincount(region, minlength=num),
        *(total(values[name]) for name in ("loss", "p_given", "p_suggested")),
        total(outline),
        total(outline & contact),
    ]
    return np.column_stack(columns).astype(np.float64)


def _outline(chosen: _Pixels, maps: Maps, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels with an owned neighbour outside their region; those near the suggested class.

    Near is at most 2 px up, down or aside. The picture's edge is no outline.
    """
    shape = torch.Size(labels.shape)
    place = _padded_place(chosen.place, shape)
    numbers, given = _padded(shape, _OUTSIDE), _padded(shape, _OUTSIDE)
    padded_shape = (shape[0], shape[1] + 2 * _PAD, shape[2] + 2 * _PAD)
    given.reshape(padded_shape)[:, _PAD:-_PAD, _PAD:-_PAD] = labels
    for n, (y0, x0, y1, x1) in enumerate(maps.rects + _PAD):
        numbers.reshape(padded_shape)[n, y0:y1, x0:x1] = -1
    numbers[place] = chosen.region
    outline = np.zeros(len(place), bool)
    for step in _SIDES:
        there = numbers[place + _offset(step, shape)]
        outline |= (there != chosen.region) & (there != _OUTSIDE)
    contact = np.zeros(len(place), bool)
    for step in _NEAR:
        contact |= given[place + _offset(step, shape)] == chosen.values["suggested"]
    return outline, contact


def _void_pixels(maps: Maps, shape: torch.Size, num_before: int) -> _Pixels:
    """Owned pixels of the sizeable unlabelled components, numbered from `num_before` on."""
    owned = np.zeros(tuple(shape), bool)
    for n in np.flatnonzero(maps.voids.reshape(len(maps.voids), -1).any(axis=1)):
        y0, x0, y1, x1 = maps.rects[n]
        owned[n, y0:y1, x0:x1] = maps.voids[n, y0:y1, x0:x1] > 0
    place = np.flatnonzero(owned)
    name = maps.voids.reshape(-1)[place].astype(np.int64)
    _, region = np.unique(place // (shape[1] * shape[2]) * 256 + name, return_inverse=True)
    return _Pixels(place, region + num_before, {"component": name})


def _void_rows(void: _Pixels, shape: torch.Size) -> np.ndarray:
    """A row for each unlabelled component; what only labelled pixels have is 0."""
    found, first, num_px = np.unique(void.region, return_index=True, return_counts=True)
    rows = np.zeros((len(found), len(REGION_COLUMNS)))
    rows[:, 0] = void.place[first] // (shape[1] * shape[2])
    rows[:, 1:3] = -1
    rows[:, 3] = void.values["component"][first]
    rows[:, 4] = num_px
    return rows


def _runs(
    place: np.ndarray, region: np.ndarray, maps: Maps, shape: torch.Size, num_regions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Runs of each region in the whole image, region by region, and how many each has."""
    _, height, width = shape
    top, left, image_height, _ = maps.placements[place // (height * width)].T
    at = (place % width + left) * image_height + place // width % height + top
    order = np.lexsort((at, region))
    at, region = at[order], region[order]
    starts = np.ones(len(at), bool)
    starts[1:] = (np.diff(at) != 1) | (np.diff(region) != 0)
    first = np.flatnonzero(starts)
    last = np.append(first[1:], len(at))[: len(first)] - 1
    runs = np.stack([at[first], at[last] + 1], axis=1)
    return runs, np.bincount(region[first], minlength=num_regions)
