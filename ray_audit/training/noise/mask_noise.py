"""Planted errors in index masks: which image gets which error."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ray_audit.errors import SampleError
from ray_audit.scores.components import connected_components
from ray_audit.training.noise import mask_geometry
from ray_audit.training.noise.planted_truth import TruthRow, plant_in_turn

_NUM_TRIES = 20
LEAST_STRUCTURE_PX = 16
"""Pixels of a component that `flip` and `merge` change."""


@dataclass(frozen=True)
class MaskNoise:
    """How strong errors in masks are. Lengths that are not given follow the size of the mask.

    Attributes:
        void: index that stands for "no class": `drop` writes it in turn with the nearest other
            class; it is never the class that is changed. None where masks have no such index.
        ignored: values that are no class (such as 255) and stay as they are.
        background: index that `scaled` lets regions grow into and shrink from.
        systematic_class: the class that `under` and `over` change; where None, or where the mask
            lacks it, a random one.
        under_px: radius of the erosion.
        over_px: radius of the dilation.
        shift_px: shortest and longest displacement of `shift` (in |dy| + |dx|).
        boundary_px: spread of the random displacement of boundaries.
        smallest_fraction: of the mask; `drop` and `swap` leave smaller classes alone.
    """

    void: int | None = None
    ignored: tuple[int, ...] = ()
    background: int = 0
    systematic_class: int | None = None
    under_px: int = 5
    over_px: int = 4
    shift_px: tuple[int, int] | None = None
    boundary_px: float = 2.0
    smallest_fraction: float = 0.0


@dataclass(frozen=True)
class CorruptedMasks:
    """Masks with planted errors.

    Attributes:
        changed: key -> mask, for the masks with an error only.
        kinds: key of each changed mask -> kind of its error.
        truth: one row per mask.
    """

    changed: dict[str, np.ndarray]
    kinds: dict[str, str]
    truth: list[TruthRow] = field(repr=False)


Change = Callable[["_GivenMasks"], np.ndarray | None]


@dataclass(frozen=True)
class _GivenMasks:
    """What a kind of error works on."""

    mask: np.ndarray
    other_mask: Callable[[], np.ndarray]
    noise: MaskNoise
    rng: np.random.Generator

    def classes(self, besides: int | None = None) -> np.ndarray:
        """Classes in the mask that may be changed."""
        left_out = [*self.noise.ignored, self.noise.void, besides]
        return np.setdiff1d(np.unique(self.mask), [v for v in left_out if v is not None])

    def large_classes(self) -> np.ndarray:
        """Those of them that take at least `smallest_fraction` of the mask."""
        smallest_px = self.noise.smallest_fraction * self.mask.size
        classes = self.classes()
        return classes[[int((self.mask == label).sum()) >= smallest_px for label in classes]]

    def random_class(self, besides: int | None = None) -> int | None:
        classes = self.classes(besides)
        return int(self.rng.choice(classes)) if len(classes) else None

    def random_structure(self) -> np.ndarray | None:
        """A component of `LEAST_STRUCTURE_PX` or more, of a class besides the background."""
        label = self.random_class(besides=self.noise.background)
        if label is None:
            return None
        numbers = connected_components(np.where(self.mask == label, 0, -1))
        large = np.flatnonzero(np.bincount(numbers[numbers >= 0]) >= LEAST_STRUCTURE_PX)
        return numbers == self.rng.choice(large) if len(large) else None

    def systematic_class(self) -> int | None:
        class_index = self.noise.systematic_class
        if class_index is not None and class_index in self.classes():
            return class_index
        return self.random_class(besides=self.noise.background)


class PlantedMasks:
    """Which masks carry which error; each changed mask is made when it is asked for.

    Args:
        masks: key -> (H, W) integer index mask; may load lazily.
        noise: how strong the errors are.
        chosen: key -> kind, and the state of the generator before the error was drawn.
    """

    def __init__(
        self,
        masks: Mapping[str, np.ndarray],
        noise: MaskNoise,
        chosen: Mapping[str, tuple[str, dict[str, Any]]],
    ) -> None:
        self._masks = masks
        self._keys = list(masks)
        self._index = {key: index for index, key in enumerate(self._keys)}
        self._noise = noise
        self._chosen = chosen

    @property
    def kinds(self) -> dict[str, str]:
        """Key of each mask with an error -> its kind, in the order of the masks."""
        return {key: self._chosen[key][0] for key in self._keys if key in self._chosen}

    def mask(self, key: str) -> np.ndarray | None:
        """The mask with its error, the same on every call; None where it has none."""
        if key not in self._chosen:
            return None
        kind, state = self._chosen[key]
        rng = np.random.default_rng()
        rng.bit_generator.state = state
        return _attempt(kind, self._index[key], self._masks, self._keys, self._noise, rng)


def _attempt(
    kind: str,
    item_index: int,
    masks: Mapping[str, np.ndarray],
    keys: Sequence[str],
    noise: MaskNoise,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Plant one error in one mask; None where this kind would change nothing."""

    def other_mask() -> np.ndarray:
        other_index = (item_index + int(rng.integers(1, max(2, len(keys))))) % len(keys)
        return np.asarray(masks[keys[other_index]])

    try:
        mask = np.asarray(masks[keys[item_index]])
        return _changed(MASK_KINDS[kind], _GivenMasks(mask, other_mask, noise, rng))
    except SampleError:  # a mask that cannot be read carries no error; the audit reports it
        return None


def plant_masks(
    masks: Mapping[str, np.ndarray],
    rate: float,
    kinds: Sequence[str],
    seed: int,
    noise: MaskNoise | None = None,
) -> PlantedMasks:
    """Plant one error in each of int(rate * N) masks, the kinds taking turns.

    No more than two masks are in memory at a time.

    Args:
        masks: key -> (H, W) integer index mask; may load lazily, only chosen masks are read.
        rate: fraction of masks with an error.
        kinds: some of `MASK_KINDS`. `drop`: a class becomes void or the nearest other class.
            `flip`: one connected component gets another class of the mask. `merge`: one gets the
            class of a structure that it touches, so that both are one.
            `swap`: two classes exchange their indices. `shift`: a class is moved. `boundary`:
            boundaries wave at random. `under`, `over`: a class is eroded or dilated. `scaled`:
            every class at once, in proportion to its size (Liu et al. 2022, ADELE). `random`: the
            mask of another image of the same size.
        seed: of the errors.
        noise: how strong they are.

    Raises:
        SpecificationError: an unknown kind, a rate outside [0, 1], or too few masks that the kinds
            can change.
    """
    keys = list(masks)
    rng = np.random.default_rng(seed)
    settings = noise or MaskNoise()

    def attempt(kind: str, item_index: int) -> dict[str, Any] | None:
        state = dict(rng.bit_generator.state)
        changed = _attempt(kind, item_index, masks, keys, settings, rng)
        return None if changed is None else state

    attempts = {kind: partial(attempt, kind) for kind in MASK_KINDS}
    planted = plant_in_turn(attempts, kinds, len(keys), rate, rng)
    return PlantedMasks(masks, settings, {keys[i]: found for i, found in planted.items()})


def corrupt_masks(
    masks: Mapping[str, np.ndarray],
    rate: float,
    kinds: Sequence[str],
    seed: int,
    noise: MaskNoise | None = None,
) -> CorruptedMasks:
    """`plant_masks` for a set that fits in memory: every changed mask, and the truth."""
    planted = plant_masks(masks, rate, kinds, seed, noise)
    kinds_of = planted.kinds
    changed = {key: mask for key in kinds_of if (mask := planted.mask(key)) is not None}
    truth = [_truth_row(key, masks, changed.get(key), kinds_of.get(key)) for key in masks]
    return CorruptedMasks(changed, kinds_of, truth)


def _changed(change: Change, given: _GivenMasks) -> np.ndarray | None:
    """Try until at least one pixel differs; ignored pixels stay, and none is added."""
    for _ in range(_NUM_TRIES):
        changed = change(given)
        if changed is None:
            continue
        kept = np.isin(given.mask, given.noise.ignored) | np.isin(changed, given.noise.ignored)
        changed = np.where(kept, given.mask, changed).astype(given.mask.dtype)
        if (changed != given.mask).any():
            return changed
    return None


def _truth_row(
    key: str, masks: Mapping[str, np.ndarray], changed: np.ndarray | None, kind: str | None
) -> TruthRow:
    if changed is None:
        return TruthRow(key, is_error=False, wrong_px=0)
    return TruthRow(key, is_error=True, kind=kind, wrong_px=int((changed != masks[key]).sum()))


def _drop(given: _GivenMasks) -> np.ndarray | None:
    classes = given.large_classes()
    if not len(classes):
        return None
    label = int(given.rng.choice(classes))
    if given.noise.void is not None and given.rng.random() < 0.5:
        return np.where(given.mask == label, given.noise.void, given.mask)
    void = () if given.noise.void is None else (given.noise.void,)
    return mask_geometry.fill_from_nearest(
        given.mask, given.mask == label, (*given.noise.ignored, *void)
    )


def _flip(given: _GivenMasks) -> np.ndarray | None:
    structure = given.random_structure()
    if structure is None:
        return None
    others = given.classes(besides=int(given.mask[structure][0]))
    return np.where(structure, given.rng.choice(others), given.mask) if len(others) else None


def _merge(given: _GivenMasks) -> np.ndarray | None:
    structure = given.random_structure()
    if structure is None:
        return None
    around = given.mask[mask_geometry.dilated(structure, 1) & ~structure]
    neighbours = np.intersect1d(around, given.classes(besides=given.noise.background))
    return (
        np.where(structure, given.rng.choice(neighbours), given.mask) if len(neighbours) else None
    )


def _swap(given: _GivenMasks) -> np.ndarray | None:
    classes = given.large_classes()
    if len(classes) < 2:
        return None
    first, second = given.rng.choice(classes, size=2, replace=False)
    changed = np.where(given.mask == first, second, given.mask)
    return np.where(given.mask == second, first, changed)


def _shift(given: _GivenMasks) -> np.ndarray | None:
    label = given.random_class(besides=given.noise.background)
    if label is None:
        return None
    offset = mask_geometry.random_offset(given.mask.shape, given.noise.shift_px, given.rng)
    moved = mask_geometry.translated(given.mask == label, offset)
    return mask_geometry.replace_region(given.mask, label, moved, given.noise.ignored)


def _boundary(given: _GivenMasks) -> np.ndarray | None:
    return mask_geometry.waved(given.mask, given.noise.boundary_px, given.rng)


def _under(given: _GivenMasks) -> np.ndarray | None:
    label = given.systematic_class()
    if label is None:
        return None
    smaller = mask_geometry.eroded(given.mask == label, given.noise.under_px)
    return mask_geometry.replace_region(given.mask, label, smaller, given.noise.ignored)


def _over(given: _GivenMasks) -> np.ndarray | None:
    label = given.systematic_class()
    if label is None:
        return None
    larger = mask_geometry.dilated(given.mask == label, given.noise.over_px)
    return np.where(larger, label, given.mask)


def _scaled(given: _GivenMasks) -> np.ndarray | None:
    grows = bool(given.rng.random() < 0.5)
    num_steps = int(given.rng.integers(2, 5))
    classes = given.classes(besides=given.noise.background)
    return mask_geometry.scaled_noise(given.mask, classes, given.noise.background, grows, num_steps)


def _other(given: _GivenMasks) -> np.ndarray | None:
    other = given.other_mask()
    return other if other.shape == given.mask.shape else None


MASK_KINDS: dict[str, Change] = {
    "drop": _drop,
    "swap": _swap,
    "shift": _shift,
    "boundary": _boundary,
    "under": _under,
    "over": _over,
    "scaled": _scaled,
    "random": _other,
    "flip": _flip,
    "merge": _merge,
}
"""Kinds of error in masks."""
