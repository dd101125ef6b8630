"""Labelled pixels that the last checkpoint sees as another class, and their connected pieces.

Only these leave the device: most pixels of most masks agree. All masks of a batch are looked at at
once, in padded flat maps, so that a step to a neighbour never leaves one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ray_audit.probes.likelihood import Likelihood
from ray_audit.probes.masks import Maps, Masks
from ray_audit.samples import IGNORE
from ray_audit.scores.components import joined
from ray_audit.scores.segmentation import smallest_region_px

SMALLEST_PIECE_PX = 4
"""Of a piece that may go on in the next tile."""
PAD = 2
SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))


@dataclass(frozen=True)
class NumberedPixels:
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

    def take(self, kept: np.ndarray, region: np.ndarray) -> "NumberedPixels":
        """Some of the pixels, with the regions that they have now."""
        return NumberedPixels(
            self.place[kept], region, {k: v[kept] for k, v in self.values.items()}
        )


def disagreeing(seen: Likelihood, masks: Masks, maps: Maps) -> NumberedPixels:
    """Labelled pixels whose prediction is not the given class; only these leave the device."""
    kept = (masks.labels != IGNORE) & seen.prefers_other & seen.is_finite
    at = kept.flatten().nonzero().squeeze(1)

    def values(of: Tensor) -> np.ndarray:
        array: np.ndarray = of.flatten().index_select(0, at).cpu().numpy()
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
    return NumberedPixels(place, np.full(len(place), -1), found)


def connected(
    place: np.ndarray, kind: np.ndarray, scratch: np.ndarray, shape: torch.Size
) -> np.ndarray:
    """Number the 4-connected pieces of equal kind, from 0 by their first pixels.

    Args:
        place: (M,) places in a padded map, ascending.
        kind: (M,) not negative.
        scratch: a padded map of -1.
        shape: (N, H, W) of the masks.

    Returns:
        (M,) int64 piece of each pixel.
    """
    num = len(place)
    scratch[place] = np.arange(num)
    # Runs along the rows are joined, of which there are a tenth of the pixels.
    is_start = np.ones(num, bool)
    is_start[1:] = (np.diff(place) != 1) | (kind[1:] != kind[:-1])
    run_of = np.cumsum(is_start) - 1
    below = scratch[place + offset((1, 0), shape)]
    # Where two runs touch, one of them starts at one of the places where they do.
    touching = (below >= 0) & (kind[below] == kind) & (is_start | is_start[below])
    at = np.flatnonzero(touching)
    piece_of_run = joined(run_of[at], run_of[below[at]], int(np.count_nonzero(is_start)))
    pieces: np.ndarray = piece_of_run.astype(np.int64)[run_of]
    return pieces


def padded(shape: torch.Size, value: int) -> np.ndarray:
    """A flat map of the masks with 2 px around each, so that a step never leaves it."""
    return np.full(shape[0] * (shape[1] + 2 * PAD) * (shape[2] + 2 * PAD), value, np.int32)


def padded_place(place: np.ndarray, shape: torch.Size) -> np.ndarray:
    """Places in (N, H, W) to places in a padded map."""
    row, x = np.divmod(place, shape[2])
    mask, y = np.divmod(row, shape[1])
    width = shape[2] + 2 * PAD
    padded: np.ndarray = (mask * (shape[1] + 2 * PAD) + y + PAD) * width + x + PAD
    return padded


def offset(step: tuple[int, int], shape: torch.Size) -> int:
    """Places from a pixel to that neighbour, in a padded map."""
    return step[0] * (shape[2] + 2 * PAD) + step[1]


def large_enough(pixels: NumberedPixels, maps: Maps, shape: torch.Size) -> np.ndarray:
    """Whether each numbered piece is to be looked at; less is enough where a tile cuts it off."""
    num_px = np.bincount(pixels.region)
    # Some numbers may be of no pixel here.
    mask = mask_of(pixels, shape)
    image_px = maps.placements[:, 2] * maps.placements[:, 3]
    smallest = np.array([smallest_region_px(int(num)) for num in image_px])[mask]
    open_ended = np.bincount(pixels.region, weights=at_seam(pixels.place, maps, shape)) > 0
    large: np.ndarray = num_px >= np.where(
        open_ended, np.minimum(smallest, SMALLEST_PIECE_PX), smallest
    )
    return large


def mask_of(pixels: NumberedPixels, shape: torch.Size) -> np.ndarray:
    """Mask of each numbered piece."""
    mask = np.zeros(pixels.region.max(initial=-1) + 1, np.int64)
    mask[pixels.region] = pixels.place // (shape[1] * shape[2])
    return mask


def most_evident(
    pixels: NumberedPixels, maps: Maps, shape: torch.Size, evidence: np.ndarray, max_pieces: int
) -> NumberedPixels:
    """Of the pieces that are large enough those with most evidence, renumbered by mask.

    Args:
        pixels: numbered.
        maps: of their masks.
        shape: (N, H, W) of the masks.
        evidence: of each piece.
        max_pieces: pieces of one mask.
    """
    mask = mask_of(pixels, shape)
    order = np.lexsort((-evidence, mask))
    order = order[large_enough(pixels, maps, shape)[order]]
    rank = np.arange(len(order)) - np.searchsorted(mask[order], mask[order])
    order = order[rank < max_pieces]
    number = np.full(len(mask), -1)
    number[order] = np.arange(len(order))
    region = number[pixels.region]
    kept = region >= 0
    return pixels.take(kept, region[kept])


def at_seam(place: np.ndarray, maps: Maps, shape: torch.Size) -> np.ndarray:
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


def runs_of_pieces(
    place: np.ndarray, region: np.ndarray, maps: Maps, shape: torch.Size, num_regions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Runs of each region in the whole image, region by region, and how many each has."""
    _, height, width = shape
    top, left, image_height, image_width = maps.placements.T
    row, x = np.divmod(place, width)
    mask, y = np.divmod(row, height)
    at = (x + left[mask]) * image_height[mask] + y + top[mask]
    # One number for region and place sorts four times as fast as the two. Between the last place
    # of a region and the first of the next one lies another, so that no run goes on there.
    num_places = int((image_height * image_width).max(initial=0)) + 1
    keys = np.sort(region * num_places + at)
    first = np.flatnonzero(np.diff(keys, prepend=-2) != 1)
    last = np.append(first[1:], len(keys))[: len(first)] - 1
    of_run, begin = np.divmod(keys[first], num_places)
    runs = np.stack([begin, begin + keys[last] - keys[first] + 1], axis=1)
    return runs, np.bincount(of_run, minlength=num_regions)
