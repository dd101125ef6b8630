"""Sets of masks whose structures are wrong: what the scores of regions are held to.

Structures are dropped, flipped, shifted, merged, or drawn too small or too large, as
`ray-audit inject` plants them, in one mask of four.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.correction.slices import make_slices
from benchmarks.quality.case import Case, Training
from benchmarks.quality.masks import CAMVID_CLASSES, camvid_frames, mask_case
from benchmarks.quality.recipes import DENSE, HELD_OUT, TRAINING, Recipe
from ray_audit.demo.phantoms import PHANTOM_CLASSES, make_phantoms
from ray_audit.training.noise import MaskNoise, corrupt_masks

KINDS = ("drop", "flip", "shift", "merge", "under", "over")
RATE = 0.25
CHOOSING, REPORTING = (0,), (10, 11, 12)
"""Seeds that the score of areas was chosen on, and those that it is reported on."""

Masks = dict[str, np.ndarray]
_STREET_PX = (96, 72)  # width, height


@dataclass(frozen=True)
class RegionSet:
    """Pictures with right masks, and how a network is trained on wrong ones.

    Attributes:
        name: of the set.
        about: a phrase for the page.
        draw: data folder and seed -> pictures and right masks under the names of their files.
        classes: names.
        scaling: of the pictures.
        noise: how strong errors are.
        width: of the network.
        training: how it is trained.
        every: checkpoints that are audited: each n-th.
        needs_data: whether it is read from the data folder.
    """

    name: str
    about: str
    draw: Callable[[Path, int], tuple[Masks, Masks]]
    classes: tuple[str, ...]
    scaling: dict[str, list[float]]
    noise: MaskNoise
    width: int
    training: Training
    every: int = 1
    needs_data: bool = False

    def case(self, folder: Path, data: Path, seed: int, is_held_out: bool) -> Case:
        """Plant errors; write pictures and given masks into `folder`."""
        images, true = self.draw(data, seed)
        wrong = corrupt_masks(true, RATE, KINDS, seed, self.noise)
        case = mask_case(
            *(folder, images, true, wrong.changed, wrong.truth),
            *(list(self.classes), self.scaling, 2 * is_held_out, seed, self.width),
        )
        # Of two folds one is enough.
        return replace(case, parts=case.parts[:1])


def _streets(data: Path, seed: int) -> tuple[Masks, Masks]:
    """Every second frame of CamVid, from the first or from the second on."""
    return camvid_frames(data, _STREET_PX, slice(seed % 2, None, 2))


def _phantoms(data: Path, seed: int) -> tuple[Masks, Masks]:
    drawn = {f"p{n:03d}.png": phantom for n, phantom in enumerate(make_phantoms(120, 48, seed))}
    images = {name: phantom.image[..., None] for name, phantom in drawn.items()}
    return images, {name: phantom.mask for name, phantom in drawn.items()}


def _slices(data: Path, seed: int) -> tuple[Masks, Masks]:
    drawn = make_slices(120, seed)
    names = [f"s{n:03d}.png" for n in range(120)]
    pixels = np.clip(drawn.images * 200, 0, 255).astype(np.uint8)[..., None]
    return dict(zip(names, pixels, strict=True)), dict(zip(names, drawn.masks, strict=True))


SETS = {
    region_set.name: region_set
    for region_set in (
        RegionSet(
            "camvid",
            "234 CamVid frames of 96x72, 12 classes, 12 epochs",
            _streets,
            CAMVID_CLASSES,
            {"mean": [0.4, 0.4, 0.4], "std": [0.3, 0.3, 0.3]},
            MaskNoise(
                void=CAMVID_CLASSES.index("void"), smallest_fraction=0.01, under_px=3, over_px=3
            ),
            10,
            Training(12, 3e-3, 8, is_flipped=True),
            needs_data=True,
        ),
        RegionSet(
            "phantoms",
            "120 echo-like phantoms of 48 px, 15 epochs",
            _phantoms,
            tuple(PHANTOM_CLASSES),
            {"mean": [0.2], "std": [0.2]},
            MaskNoise(under_px=2, over_px=2, shift_px=(3, 5)),
            8,
            Training(15, 3e-3, 8),
        ),
        RegionSet(
            "slices",
            "120 slices of 32 px, 40 epochs at a constant rate: memorised",
            _slices,
            ("background", "a", "b", "c"),
            {"mean": [0.5], "std": [0.2]},
            MaskNoise(under_px=2, over_px=2, shift_px=(3, 5)),
            8,
            Training(40, 2e-3, 8, one_cycle=False),
            every=2,
        ),
    )
}


def recipe(region_set: RegionSet, protocol: str) -> Recipe:
    """One set and protocol as a recipe of the benchmark."""

    def make(data: Path, folder: Path, seed: int) -> Case:
        return region_set.case(folder, data, seed, protocol == HELD_OUT)

    return Recipe(
        f"regions-{region_set.name}-{protocol}",
        f"regions-{region_set.name}",
        DENSE,
        protocol,
        region_set.about,
        make,
        region_set.training,
        (*CHOOSING, *REPORTING),
        region_set.needs_data,
        has_gradients=False,
        every=region_set.every,
    )


PROTOCOLS = (TRAINING, HELD_OUT)
