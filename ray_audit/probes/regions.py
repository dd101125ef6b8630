"""Candidate regions: where the last checkpoint sees one other class than the mask says.

A region is a 4-connected piece of pixels of one given and one predicted class, found outside the
1-px band along label boundaries and then grown by 1 px into it. As a pixel's neighbours of equal
label belong to its component, a region lies within one component of the mask. Only pixels
that disagree are looked at, and all masks at once: most pixels of most masks agree.
"""

import numpy as np
import torch

from ray_audit.measures.regions import MAX_REGIONS, REGION_COLUMNS
from ray_audit.probes.disagreement import (
    PAD,
    SIDES,
    NumberedPixels,
    connected,
    most_evident,
    offset,
    padded,
    padded_place,
    runs_of_pieces,
)
from ray_audit.probes.masks import Maps, Masks

_OUTSIDE = -2  # of what is owned, in a padded map
_CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
_NEAR = (*SIDES, *((2 * dy, 2 * dx) for dy, dx in SIDES))


def region_states(wrong: NumberedPixels, masks: Masks, maps: Maps) -> dict[str, np.ndarray]:
    """Candidate regions of each mask, and its sizeable unlabelled components.

    Returns:
        `final/regions` (R, 1 + columns) float64: mask, then `REGION_COLUMNS`, by mask, the one
        with the largest sum of p(suggested) - p(given) first, at most `MAX_REGIONS` a mask;
        unlabelled components follow, with -1 as given and as suggested class. `final/region_runs`
        (Q, 3) int64: mask, first position and position after the last of each run, in the
        order of the regions; positions are x * height + y in the whole image.
    """
    shape = masks.labels.shape
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
    runs, num_runs = runs_of_pieces(place, region, maps, shape, len(table))
    table = np.column_stack([table[order], num_runs])
    of_mask = np.repeat(table[:, 0].astype(np.int64), num_runs)
    return {"final/regions": table, "final/region_runs": np.column_stack([of_mask, runs])}


def _grown(wrong: NumberedPixels, shape: torch.Size) -> NumberedPixels:
    """Number the regions, and give them their part of the boundary band."""
    inside = wrong.values["inside"]
    kind = wrong.kind
    core, band = (padded_place(wrong.place[part], shape) for part in (inside, ~inside))
    numbers = padded(shape, -1)
    region = connected(core, kind[inside], numbers, shape)
    numbers[core] = region
    kind_of_region = np.empty(region.max(initial=-1) + 1, np.int64)
    kind_of_region[region] = kind[inside]
    kind_of_region = np.append(kind_of_region, -1)  # where there is no region
    nearest = np.full(len(band), len(region), np.int64)
    for step in (*SIDES, *_CORNERS):
        number = numbers[band + offset(step, shape)]
        same = kind_of_region[number] == kind[~inside]
        nearest = np.where(same, np.minimum(nearest, number), nearest)
    every = np.empty(len(wrong.place), np.int64)
    every[inside] = region
    every[~inside] = np.where(nearest < len(region), nearest, -1)
    found = every >= 0
    return wrong.take(found, every[found])


def _chosen(grown: NumberedPixels, maps: Maps, shape: torch.Size) -> NumberedPixels:
    """The regions that are large enough, of each mask those with the most evidence, renumbered."""
    gap = grown.values["p_suggested"].astype(np.float64) - grown.values["p_given"]
    evidence = np.bincount(grown.region, weights=gap)
    return most_evident(grown, maps, shape, evidence, MAX_REGIONS)


def _rows(chosen: NumberedPixels, maps: Maps, labels: np.ndarray) -> np.ndarray:
    """A row for each region, without its runs."""
    values, region = chosen.values, chosen.region
    num = int(region.max(initial=-1)) + 1
    first = np.zeros(num, np.int64)
    first[region] = np.arange(len(region))
    outline, contacts = _outline(chosen, maps, labels)

    def total(of: np.ndarray) -> np.ndarray:
        sums: np.ndarray = np.bincount(region, weights=of, minlength=num)
        return sums

    columns = [
        chosen.place[first] // labels[0].size,
        *(values[name][first] for name in ("given", "suggested", "component")),
        np.bincount(region, minlength=num),
        *(total(values[name]) for name in ("loss", "p_given", "p_suggested")),
        total(outline),
        np.bincount(region[contacts], minlength=num),
    ]
    return np.column_stack(columns).astype(np.float64)


def _outline(
    chosen: NumberedPixels, maps: Maps, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether pixels have an owned neighbour outside, and which of those touch the suggested class.

    Outside is in no or another region; to touch is to be within 2 px up, down or aside. The
    picture's edge is no outline.
    """
    shape = torch.Size(labels.shape)
    place = padded_place(chosen.place, shape)
    numbers, given = padded(shape, _OUTSIDE), padded(shape, _OUTSIDE)
    padded_shape = (shape[0], shape[1] + 2 * PAD, shape[2] + 2 * PAD)
    given.reshape(padded_shape)[:, PAD:-PAD, PAD:-PAD] = labels
    for n, (y0, x0, y1, x1) in enumerate(maps.rects + PAD):
        numbers.reshape(padded_shape)[n, y0:y1, x0:x1] = -1
    numbers[place] = chosen.region
    outline = np.zeros(len(place), bool)
    for step in SIDES:
        there = numbers[place + offset(step, shape)]
        outline |= (there != chosen.region) & (there != _OUTSIDE)
    at = np.flatnonzero(outline)
    near, suggested = place[at], chosen.values["suggested"][at]
    contact = np.zeros(len(at), bool)
    for step in _NEAR:
        contact |= given[near + offset(step, shape)] == suggested
    return outline, at[contact]


def _void_pixels(maps: Maps, shape: torch.Size, num_before: int) -> NumberedPixels:
    """Owned pixels of the sizeable unlabelled components, numbered from `num_before` on."""
    owned = np.zeros(tuple(shape), bool)
    for n in np.flatnonzero(maps.voids.reshape(len(maps.voids), -1).any(axis=1)):
        y0, x0, y1, x1 = maps.rects[n]
        owned[n, y0:y1, x0:x1] = maps.voids[n, y0:y1, x0:x1] > 0
    place = np.flatnonzero(owned)
    name = maps.voids.reshape(-1)[place].astype(np.int64)
    _, region = np.unique(place // (shape[1] * shape[2]) * 256 + name, return_inverse=True)
    return NumberedPixels(place, region + num_before, {"component": name})


def _void_rows(void: NumberedPixels, shape: torch.Size) -> np.ndarray:
    """A row for each unlabelled component; what only labelled pixels have is 0."""
    found, first, num_px = np.unique(void.region, return_index=True, return_counts=True)
    rows = np.zeros((len(found), len(REGION_COLUMNS)))
    rows[:, 0] = void.place[first] // (shape[1] * shape[2])
    rows[:, 1:3] = -1
    rows[:, 3] = void.values["component"][first]
    rows[:, 4] = num_px
    return rows
