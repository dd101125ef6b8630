"""Small slices that a network memorises: easier pictures than their label errors.

Three structures, each of its own grey, on a smooth background, with crisp edges and pixel noise. A
small network learns their outlines within a few epochs, and fits the errors of the given masks
later: the regime in which correcting labels can pay, and plain training needs to be stopped early.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

NUM_CLASSES = 4
"""Background and three structures."""
SIZE_PX = 32
Kind = Literal["signed", "under", "over", "other"]

_GREYS = (0.35, 0.55, 0.75, 0.95)
_PIXEL_NOISE = 0.10
_CROSS = ndimage.generate_binary_structure(2, 1)

Masks = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Slices:
    """Pictures with their right masks.

    Attributes:
        images: (N, H, W) float32, about 0 to 1.
        masks: (N, H, W) uint8, 0 is background.
    """

    images: npt.NDArray[np.float32]
    masks: Masks


def make_slices(num: int, seed: int, size_px: int = SIZE_PX) -> Slices:
    """Draw slices; the same for the same seed."""
    rng = np.random.default_rng([seed, 20])
    drawn = [_slice(rng, size_px) for _ in range(num)]
    images, masks = zip(*drawn, strict=True)
    return Slices(np.stack(images), np.stack(masks))


def _slice(rng: np.random.Generator, size_px: int) -> tuple[npt.NDArray[np.float32], Masks]:
    y, x = np.mgrid[:size_px, :size_px] / size_px
    mask = np.zeros((size_px, size_px), np.uint8)
    angle = rng.uniform(0, 2 * np.pi)
    for index in range(1, NUM_CLASSES):
        turn = angle + 2 * np.pi * index / (NUM_CLASSES - 1) + rng.uniform(-0.25, 0.25)
        distance = rng.uniform(0.25, 0.29)
        centre_y, centre_x = 0.5 + distance * np.sin(turn), 0.5 + distance * np.cos(turn)
        radius = rng.uniform(0.13, 0.18)
        bearing = np.arctan2(y - centre_y, x - centre_x)
        outline = radius * (1 + 0.15 * np.sin(rng.integers(2, 4) * bearing + rng.uniform(0, 6)))
        mask[np.hypot(y - centre_y, x - centre_x) < outline] = index
    slope = rng.uniform(-0.08, 0.08, 2)
    image = np.asarray(_GREYS)[mask] + slope[0] * (y - 0.5) + slope[1] * (x - 0.5)
    image += rng.normal(0, _PIXEL_NOISE, image.shape)
    return image.astype(np.float32), mask


def corrupt_slices(masks: Masks, kind: Kind, share: float, seed: int) -> Masks:
    """Masks of which a share is wrong.

    Args:
        masks: (N, H, W) right ones.
        kind: `signed`: every structure of a mask is too small, or every one too large, by chance,
            by 1 or 2 px; `under`, `over`: by 3 and 2 px; `other`: two structures change names.
        share: of the masks, 0-1.
        seed: of the choice.
    """
    rng = np.random.default_rng([seed, 21])
    wrong = np.sort(rng.permutation(len(masks))[: round(share * len(masks))])
    given = masks.copy()
    for index in wrong.tolist():
        if kind == "other":
            first, other = rng.choice(np.arange(1, NUM_CLASSES), 2, replace=False)
            swapped = np.arange(NUM_CLASSES, dtype=np.uint8)
            swapped[[first, other]] = other, first
            given[index] = swapped[masks[index]]
            continue
        grows = kind == "over" or (kind == "signed" and rng.random() < 0.5)
        px = int(rng.integers(1, 3)) if kind == "signed" else 2 if grows else 3
        given[index] = _resized(masks[index], px, grows)
    return given


def _resized(mask: Masks, px: int, grows: bool) -> Masks:
    """Each structure dilated over the background, or eroded."""
    resized = np.zeros_like(mask)
    for index in range(1, NUM_CLASSES):
        change = ndimage.binary_dilation if grows else ndimage.binary_erosion
        region = change(mask == index, _CROSS, iterations=px)
        resized[region & ((mask == index) | (mask == 0)) & (resized == 0)] = index
    return resized
