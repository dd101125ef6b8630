"""Areas that seem wrong: connected pixels that the last checkpoint sees as any other class.

Unlike a region, an area may hold several given and several predicted classes, and the band along
label boundaries: a structure that was moved, or drawn too small, is one area.
"""

import numpy as np
import torch

from ray_audit.measures.areas import MAX_AREAS
from ray_audit.probes.disagreement import (
    NumberedPixels,
    connected,
    mask_of,
    most_evident,
    padded,
    padded_place,
    runs_of_pieces,
)
from ray_audit.probes.masks import Maps


def area_states(wrong: NumberedPixels, maps: Maps, shape: torch.Size) -> dict[str, np.ndarray]:
    """Areas of each mask.

    Args:
        wrong: pixels that disagree.
        maps: of the masks.
        shape: (N, H, W) of the masks.

    Returns:
        `final/areas` (A, 1 + columns) float64: mask, then `AREA_COLUMNS`, by mask, the one with
        the largest sum of 1 - p(given) first, at most `MAX_AREAS` a mask. `final/area_runs`
        (Q, 3) int64 as `final/region_runs`.
    """
    owned = wrong.values["owned"]
    pixels = wrong.take(owned, wrong.region[owned])
    place = padded_place(pixels.place, shape)
    number = connected(place, np.zeros(len(place), np.int64), padded(shape, -1), shape)
    numbered = pixels.take(np.ones(len(place), bool), number)
    doubt = 1.0 - numbered.values["p_given"].astype(np.float64)
    evidence = np.bincount(number, weights=doubt)
    chosen = most_evident(numbered, maps, shape, evidence, MAX_AREAS)
    num = int(chosen.region.max(initial=-1)) + 1
    sums = [
        np.bincount(chosen.region, weights=chosen.values[name], minlength=num)
        for name in ("loss", "p_given")
    ]
    num_px = np.bincount(chosen.region, minlength=num)
    runs, num_runs = runs_of_pieces(chosen.place, chosen.region, maps, shape, num)
    mask = mask_of(chosen, shape)
    table = np.column_stack([mask, num_px, *sums, num_runs]).astype(np.float64)
    of_mask = np.repeat(mask, num_runs)
    return {"final/areas": table, "final/area_runs": np.column_stack([of_mask, runs])}
