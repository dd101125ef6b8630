"""Sets whose labels are masks: echo-like phantoms, and CamVid with planted errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.quality.batches import model_input
from benchmarks.quality.case import Case, Part, folds
from ray_audit.config import InputConfig
from ray_audit.demo.phantoms import PHANTOM_CLASSES, make_phantoms
from ray_audit.training.noise import (
    MaskNoise,
    TruthRow,
    corrupt_masks,
    truth_table,
)

PHANTOM_KINDS = ("random", "under", "over", "shift")
CAMVID_CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "bicyclist", "void"),
)
_PAVEMENT = CAMVID_CLASSES.index("pavement")
_VOID = CAMVID_CLASSES.index("void")
_GROUPS = ("sky", "construction", "flat", "tree", "object", "void")
_GROUP_OF = np.array([0, 1, 1, 2, 2, 3, 1, 1, 4, 4, 4, 5], np.uint8)
_STREET_SIZE = (64, 48)
_CAMVID_SIZE = (160, 120)  # width, height
_CAMVID_RATE = 0.2
# Dropped and exchanged are classes of at least 2% of the picture, so that about as many pixels are
# wrong (2.7%) as in the prototype that the targets come from.
_CAMVID_NOISE = MaskNoise(void=_VOID, smallest_fraction=0.02)
# The ventricle traced too small or too large, a structure displaced; for pictures of 64 px.
_PHANTOM_NOISE = MaskNoise(systematic_class=1, under_px=3, over_px=3, shift_px=(4, 7))


def phantom_case(
    folder: Path,
    seed: int,
    *,
    rate: float,
    kinds: Sequence[str] = PHANTOM_KINDS,
    num_images: int = 300,
    size_px: int = 64,
    num_folds: int = 0,
    width: int = 12,
) -> Case:
    """Draw phantoms and plant errors in their masks.

    Args:
        folder: gets pictures and given masks.
        seed: of pictures, errors and folds.
        rate: fraction of wrong masks.
        kinds: of errors.
        num_images: pictures.
        size_px: height and width.
        num_folds: 0: train on all and audit all; else audit each fold with the others' model.
        width: of the U-Net.
    """
    phantoms = make_phantoms(num_images, size_px, seed)
    true = {f"p{index:03d}.png": phantom.mask for index, phantom in enumerate(phantoms)}
    corrupted = corrupt_masks(true, rate, kinds, seed, _PHANTOM_NOISE)
    images = {name: phantom.image[..., None] for name, phantom in zip(true, phantoms, strict=True)}
    return mask_case(
        folder,
        images,
        true,
        corrupted.changed,
        corrupted.truth,
        list(PHANTOM_CLASSES),
        {"mean": [0.2], "std": [0.2]},
        num_folds,
        seed,
        width,
    )


def camvid_frames(
    data: Path, size_px: tuple[int, int], which: slice = slice(None)
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Frames of CamVid by name, (H, W, 3) uint8, and their masks, both made smaller."""
    images, true = {}, {}
    for path in sorted((data / "camvid" / "images").glob("*.jpg"))[which]:
        name = f"{path.stem}.png"
        with Image.open(path) as picture:
            smaller = picture.convert("RGB").resize(size_px, Image.Resampling.BILINEAR)
            images[name] = np.asarray(smaller)
        with Image.open(data / "camvid" / "masks" / name) as picture:
            true[name] = np.asarray(picture.resize(size_px, Image.Resampling.NEAREST))
    return images, true


def camvid_case(data: Path, folder: Path, seed: int, *, num_folds: int = 0) -> Case:
    """CamVid at 160x120, void as a class of its own, 20% of the masks wrong in five ways.

    A fifth of the wrong masks each: a class dropped, two swapped, one shifted, one dilated by 4
    px, and (always) the pavement eroded by 5 px.
    """
    images, true = camvid_frames(data, _CAMVID_SIZE)
    changed, truth = _camvid_errors(true, seed)
    scaling = {"mean": [0.4, 0.4, 0.4], "std": [0.3, 0.3, 0.3]}
    return mask_case(
        folder, images, true, changed, truth, list(CAMVID_CLASSES), scaling, num_folds, seed, 12
    )


def _camvid_errors(
    true: dict[str, np.ndarray], seed: int
) -> tuple[dict[str, np.ndarray], list[TruthRow]]:
    total = int(_CAMVID_RATE * len(true))
    num_under = total // 5
    random_kinds = ("drop", "swap", "shift", "over")
    first = corrupt_masks(
        true, _exactly(total - num_under, len(true)), random_kinds, seed, _CAMVID_NOISE
    )
    left = {
        name: mask
        for name, mask in true.items()
        if name not in first.changed and (mask == _PAVEMENT).any()
    }
    systematic = MaskNoise(void=_VOID, systematic_class=_PAVEMENT)
    second = corrupt_masks(left, _exactly(num_under, len(left)), ("under",), seed, systematic)
    rows = {row.sample_id: row for row in first.truth}
    rows |= {row.sample_id: row for row in second.truth if row.is_error}
    return first.changed | second.changed, list(rows.values())


def _exactly(count: int, total: int) -> float:
    """The rate at which int(rate * total) is `count`."""
    return (count + 0.5) / total


def street_case(data: Path, folder: Path, seed: int, *, num_folds: int = 0) -> Case:
    """Every fourth CamVid frame at 64x48 in five groups and void, 20% of the masks wrong."""
    images, true = {}, {}
    for path in sorted((data / "camvid" / "images").glob("*.jpg"))[::4]:
        name = f"{path.stem}.png"
        with Image.open(path) as picture:
            smaller = picture.convert("RGB").resize(_STREET_SIZE, Image.Resampling.BILINEAR)
            images[name] = np.asarray(smaller)
        with Image.open(data / "camvid" / "masks" / name) as picture:
            resized = np.asarray(picture.resize(_STREET_SIZE, Image.Resampling.NEAREST))
            true[name] = _GROUP_OF[resized]
    noise = MaskNoise(void=len(_GROUPS) - 1, systematic_class=2, under_px=3, over_px=2)
    wrong = corrupt_masks(true, 0.2, ("drop", "swap", "shift", "over"), seed, noise)
    scaling = {"mean": [0.4, 0.4, 0.4], "std": [0.3, 0.3, 0.3]}
    return mask_case(
        *(folder, images, true, wrong.changed, wrong.truth),
        *(list(_GROUPS), scaling, num_folds, seed, 8),
    )


def mask_case(
    folder: Path,
    images: dict[str, np.ndarray],
    true: dict[str, np.ndarray],
    changed: dict[str, np.ndarray],
    truth: list[TruthRow],
    classes: list[str],
    scaling: dict[str, Any],
    num_folds: int,
    seed: int,
    width: int,
) -> Case:
    given = true | changed
    for name, pictures in (("images", images), ("masks", given)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file, pixels in pictures.items():
            flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
            Image.fromarray(flat.astype(np.uint8)).save(folder / name / file)
    names = list(true)
    config = InputConfig(**scaling)
    channels = images[names[0]].shape[2]
    everything = np.arange(len(names))
    parts = [Part("all", str(folder / "images" / "*.png"), everything, everything)]
    if num_folds:
        parts = [
            Part(
                f"fold{fold}",
                [str(folder / "images" / names[i]) for i in audited],
                trained,
                audited,
                fold,
            )
            for fold, (trained, audited) in enumerate(folds(len(names), num_folds, seed))
        ]
    wrong_px = sum(row.wrong_px or 0 for row in truth)
    return Case(
        dataset={
            "kind": "images",
            "labels": {"masks": str(folder / "masks" / "{stem}.png")},
            "classes": classes,
        },
        model={
            "factory": "ray_audit.training.models:unet",
            "kwargs": {"num_classes": len(classes), "in_channels": channels, "width": width},
            "input": scaling,
        },
        inputs=[torch.from_numpy(model_input(images[name], config)) for name in names],
        targets=[torch.from_numpy(given[name].astype(np.int64)) for name in names],
        keys=names,
        truth=truth_table(truth),
        parts=parts,
        true_masks=np.stack([true[name] for name in names]),
        extras={"wrong_px_fraction": wrong_px / sum(mask.size for mask in true.values())},
    )
