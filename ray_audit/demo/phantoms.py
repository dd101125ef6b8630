"""Echo-like phantoms: an apical four-chamber view with its index mask, drawn from a seed.

A left ventricle in its myocardium above an atrium, all of varying size, tilt and place, under
speckle, in a fan, with drop-out of the walls that are parallel to the beam.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

PHANTOM_CLASSES = ("background", "left_ventricle", "myocardium", "atrium")
"""Names in index order."""

_FAN_HALF_ANGLE = 0.72  # radians on either side of the axis
_BRIGHTNESS = np.array([0.30, 0.10, 0.55, 0.14])  # of each class, before gain


@dataclass(frozen=True)
class Phantom:
    """One picture and its true mask.

    Attributes:
        image: (H, W) uint8, grey.
        mask: (H, W) uint8, indices into `PHANTOM_CLASSES`.
    """

    image: np.ndarray
    mask: np.ndarray


def make_phantoms(num_images: int, size_px: int, seed: int) -> list[Phantom]:
    """Draw phantoms of `size_px` x `size_px`; image i depends on the seed and i only."""
    return [
        make_phantom(np.random.default_rng([seed, index]), size_px) for index in range(num_images)
    ]


def make_phantom(rng: np.random.Generator, size_px: int) -> Phantom:
    """Draw one phantom of `size_px` x `size_px`."""
    axes = (np.arange(size_px) + 0.5) / size_px
    y, x = np.meshgrid(axes, axes, indexing="ij")  # 0 to 1, downwards and to the right
    mask = _heart(rng, y, x)
    fan, depth, beam = _fan(y, x)
    image = _BRIGHTNESS[mask] * _wall_gain(rng, beam, mask) * _gain(rng, y, x, depth)
    image = _speckled(rng, image, size_px) * fan
    mask = np.where(fan, mask, 0)
    scaled = np.clip(image * 255 * rng.uniform(0.85, 1.25), 0, 255)
    return Phantom(scaled.astype(np.uint8), mask.astype(np.uint8))


def _heart(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Index mask of myocardium, ventricle and atrium; (H, W)."""
    tilt = rng.uniform(-0.35, 0.35)
    centre_y, centre_x = rng.uniform(0.40, 0.48), rng.uniform(0.43, 0.57)
    long, short = rng.uniform(0.18, 0.24), rng.uniform(0.10, 0.145)
    wall = rng.uniform(0.045, 0.075)
    # Along the ventricle's long axis (towards the atrium) and across it.
    along = (y - centre_y) * np.cos(tilt) + (x - centre_x) * np.sin(tilt)
    across = -(y - centre_y) * np.sin(tilt) + (x - centre_x) * np.cos(tilt)
    bulge = across * (1 + rng.uniform(-0.5, 0.5) * along / long)
    valve = long * rng.uniform(0.72, 0.85)
    ventricle = ((along / long) ** 2 + (bulge / short) ** 2 < 1) & (along < valve)
    outer = (along / (long + wall)) ** 2 + (bulge / (short + wall)) ** 2 < 1
    atrium_long, atrium_short = rng.uniform(0.10, 0.15), rng.uniform(0.09, 0.13)
    atrium_at = valve + atrium_long * 0.9
    atrium = ((along - atrium_at) / atrium_long) ** 2 + (across / atrium_short) ** 2 < 1
    mask = np.zeros(y.shape, dtype=np.int64)
    mask[atrium & (along >= valve)] = 3
    mask[outer & (along < valve)] = 2
    mask[ventricle] = 1
    return mask


def _fan(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the probe sees, the depth below it and the angle of the beam; (H, W) each."""
    depth = np.hypot(y + 0.02, x - 0.5)
    beam = np.arctan2(x - 0.5, y + 0.02)
    return (np.abs(beam) < _FAN_HALF_ANGLE) & (depth < 0.99), depth, beam


def _wall_gain(rng: np.random.Generator, beam: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Drop-out: one sector of the beam loses most of the walls' echo."""
    sector = rng.uniform(-0.4, 0.4)
    lost = np.exp(-(((beam - sector) / rng.uniform(0.08, 0.18)) ** 2)) * rng.uniform(0.3, 0.8)
    return np.where(mask == 2, 1 - lost, 1.0)


def _gain(rng: np.random.Generator, y: np.ndarray, x: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Attenuation with depth and a slow drift of brightness."""
    attenuation = np.exp(-rng.uniform(0.2, 0.9) * depth)
    phase, turns = rng.uniform(0, 2 * np.pi), rng.uniform(2, 5)
    drift = 1 + 0.2 * np.sin(turns * (x + y) + phase)
    gain: np.ndarray = attenuation * drift
    return gain


def _speckled(rng: np.random.Generator, image: np.ndarray, size_px: int) -> np.ndarray:
    """Blur and multiply with speckle: the length of a smoothed complex random field."""
    grain = 0.011 * size_px
    parts = ndimage.gaussian_filter(
        rng.normal(size=(2, *image.shape)), sigma=(0, grain * 0.7, grain * 1.3)
    )
    speckle = np.hypot(parts[0], parts[1])
    blurred = ndimage.gaussian_filter(image, sigma=0.008 * size_px)
    noisy: np.ndarray = blurred * (0.25 + 0.75 * speckle / speckle.mean())
    return noisy + rng.normal(scale=0.015, size=image.shape)
