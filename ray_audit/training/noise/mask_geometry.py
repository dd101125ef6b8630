"""Geometry of regions of an index mask. All masks are (H, W); lengths are in pixels."""

import numpy as np
from PIL import Image
from scipy import ndimage

_SCALED_AREA_PX = 1000  # the size at which `scaled_noise` erodes and dilates
_WAVE_PX = 4.0  # width of the bumps of `waved`
_SQUARE = np.ones((3, 3), dtype=bool)


def fill_from_nearest(
    mask: np.ndarray, hole: np.ndarray, ignored: tuple[int, ...] = ()
) -> np.ndarray | None:
    """Give each pixel of `hole` the index of the nearest pixel outside it.

    Returns:
        The filled mask, or None where nothing lies outside.
    """
    not_a_source = hole | np.isin(mask, ignored)
    if not_a_source.all():
        return None
    nearest = ndimage.distance_transform_edt(
        not_a_source, return_distances=False, return_indices=True
    )
    return np.where(hole, mask[tuple(nearest)], mask)


def replace_region(
    mask: np.ndarray, label: int, region: np.ndarray, ignored: tuple[int, ...] = ()
) -> np.ndarray | None:
    """Let `label` lie exactly on `region`; what it leaves gets the nearest other index."""
    hole = (mask == label) & ~region
    filled = mask
    if hole.any():
        # The label itself is no source: it leaves the hole.
        without = fill_from_nearest(mask, mask == label, ignored)
        if without is None:
            return None
        filled = np.where(hole, without, mask)
    return np.where(region, label, filled)


def random_offset(
    shape: tuple[int, ...], length_px: tuple[int, int] | None, rng: np.random.Generator
) -> tuple[int, int]:
    """Draw (dy, dx) whose |dy| + |dx| is within `length_px`.

    Without `length_px`: |dy| up to a tenth of H, |dx| up to an eighth of W, together at least
    a thirty-fifth of H + W (12, 20 and 8 px at 160 x 120).
    """
    height, width = shape
    if length_px is None:
        max_y, max_x = max(1, height // 10), max(1, width // 8)
        shortest, longest = min(max(1, (height + width) // 35), max_y + max_x), max_y + max_x
    else:
        shortest, longest = length_px
        max_y = max_x = longest
    dy, dx = np.mgrid[-max_y : max_y + 1, -max_x : max_x + 1]
    lengths = np.abs(dy) + np.abs(dx)
    allowed = np.flatnonzero((lengths >= shortest) & (lengths <= longest))
    index = rng.choice(allowed)
    return int(dy.flat[index]), int(dx.flat[index])


def translated(region: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    """Move a region by (dy, dx); what leaves the picture is lost.

    >>> translated(np.array([[True, False, False]]), (0, 2)).tolist()
    [[False, False, True]]
    """
    moved = np.zeros_like(region)
    (height, width), (dy, dx) = region.shape, offset
    to = (
        slice(max(0, dy), max(0, min(height, height + dy))),
        slice(max(0, dx), max(0, min(width, width + dx))),
    )
    taken_from = (
        slice(max(0, -dy), max(0, min(height, height - dy))),
        slice(max(0, -dx), max(0, min(width, width - dx))),
    )
    moved[to] = region[taken_from]
    return moved


def eroded(region: np.ndarray, radius_px: int) -> np.ndarray:
    """Take the band of `radius_px` inside the boundary away; the picture's edge is none."""
    if region.all():
        return region.copy()
    inside: np.ndarray = ndimage.distance_transform_edt(region) > radius_px
    return inside


def dilated(region: np.ndarray, radius_px: int) -> np.ndarray:
    """Add the band of `radius_px` outside the boundary."""
    if not region.any():
        return region.copy()
    near: np.ndarray = ndimage.distance_transform_edt(~region) <= radius_px
    return near


def waved(mask: np.ndarray, spread_px: float, rng: np.random.Generator) -> np.ndarray:
    """Displace pixels along a smooth random field of `spread_px` (root mean square)."""
    noise = rng.normal(size=(2, *mask.shape))
    field = ndimage.gaussian_filter(noise, sigma=(0, _WAVE_PX, _WAVE_PX))
    field *= spread_px / max(float(np.sqrt((field**2).mean())), 1e-12)
    points = np.rint(np.indices(mask.shape) + field).astype(np.int64)
    rows = points[0].clip(0, mask.shape[0] - 1)
    columns = points[1].clip(0, mask.shape[1] - 1)
    displaced: np.ndarray = mask[rows, columns]
    return displaced


def scaled_noise(
    mask: np.ndarray, classes: np.ndarray, background: int, grows: bool, num_steps: int
) -> np.ndarray:
    """Erode or dilate every class as if its area were 1000 px (Liu et al. 2022, ADELE).

    Each region is rescaled to about that area, eroded or dilated `num_steps` times with a 3 x 3
    square and scaled back, so that small regions are hurt as much as large ones. Erosion leaves
    background, dilation writes on background only. Our reading: scaling back cuts the cubic
    interpolation at one half, so that rescaling alone moves no boundary.
    """
    changed = mask.copy()
    for label in classes.tolist():
        region = mask == label
        resized = _resized(region, _scaled_shape(region))
        if grows:
            noisy = ndimage.binary_dilation(resized, _SQUARE, num_steps)
        else:
            noisy = ndimage.binary_erosion(resized, _SQUARE, num_steps, border_value=True)
        noisy = _resized(noisy, mask.shape)
        if grows:
            changed[noisy & (changed == background)] = label
        else:
            changed[region & ~noisy] = background
    return changed


def _scaled_shape(region: np.ndarray) -> tuple[int, int]:
    scale = np.sqrt(_SCALED_AREA_PX / max(1, int(region.sum())))
    # A speck of a few pixels would blow the picture up without end.
    scale = min(scale, 8.0)
    return max(1, round(region.shape[0] * scale)), max(1, round(region.shape[1] * scale))


def _resized(region: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    picture = Image.fromarray(region.astype(np.float32))
    resized = picture.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    above: np.ndarray = np.asarray(resized) > 0.5
    return above
