"""Sets too poor to tell anything, corrected while training: labels stay, and nothing breaks."""

import math

import numpy as np
import pytest

from ray_audit.errors import SpecificationError
from tests.functional.training.test_correction import run
from tests.support.knowing import coloured, save, videos
from tests.support.small_sets import SmallSet, table

EPOCHS = 8
ADELE = {"method": "adele"}
AUTO = {"method": "refurbish", "first_epoch": 2, "confidence": 0.5}
TOLD = AUTO | {"flagged_fraction": 0.5}


def masks(folder, given, colours=None):
    """Images of one colour, or of their masks, with these masks."""
    for index, mask in enumerate(given):
        colour = np.minimum(mask, 2) if colours is None else colours[index]
        save(coloured(colour, len(mask)), folder / f"data/images/i{index}.png")
        save(mask, folder / f"data/masks/i{index}.png")
    dataset = {
        "kind": "images",
        "uri": str(folder / "data/images/*.png"),
        "labels": {"masks": str(folder / "data/masks/{stem}.png")},
        "void": [255],
    }
    return SmallSet(folder, dataset, "PixelModel")


def images(folder, classes, colours=None):
    rows = []
    for index, label in enumerate(classes):
        save(
            coloured(label if colours is None else colours[index], 8), folder / f"data/i{index}.png"
        )
        rows.append({"image": f"i{index}.png", "label": "abc"[label]})
    labels = {"images": str(table(folder / "labels.csv", rows))}
    dataset = {"kind": "images", "uri": str(folder / "data/*.png"), "labels": labels}
    return SmallSet(folder, dataset, "ImageModel")


def filled(*classes):
    return [np.full((8, 8), number, np.uint8) for number in classes]


def half(first, other):
    mask = np.full((8, 8), first, np.uint8)
    mask[:4] = other
    return mask


MASKS = {
    "one mask": lambda folder: masks(folder, [half(0, 1)]),
    "one class": lambda folder: masks(folder, filled(1, 1, 1, 1)),
    "two masks": lambda folder: masks(folder, [half(0, 1), half(0, 2)]),
    "equal masks": lambda folder: masks(folder, [half(0, 1)] * 6),
    "empty masks": lambda folder: masks(folder, filled(0, 0, 0, 0)),
    "some void throughout": lambda folder: masks(folder, [half(0, 1), *filled(255, 255)]),
}
IMAGES = {
    "one image": lambda folder: images(folder, [0]),
    "one class": lambda folder: images(folder, [1] * 6),
    "two images": lambda folder: images(folder, [0, 1]),
    "equal images of two classes": lambda folder: images(folder, [0, 1] * 4, [2] * 8),
    "a class with one image": lambda folder: images(folder, [0] * 6 + [1]),
}
SEQUENCES = {
    "one sequence": lambda folder: videos(folder, "npz", wrong=(), num=1),
    "equal sequences": lambda folder: videos(folder, "npz", wrong=(), num=24),
}
CASES = [(make, how) for make in MASKS.values() for how in (ADELE, AUTO)]
CASES += [(make, AUTO) for make in (IMAGES | SEQUENCES).values()]
NAMES = [f"{name}-{how}" for name in MASKS for how in ("adele", "refurbish")] + list(
    IMAGES | SEQUENCES
)


@pytest.mark.parametrize(("make", "correction"), CASES, ids=NAMES)
def test_labels_of_poor_sets_stay_as_they_are(tmp_path, make, correction):
    model, done = run(make(tmp_path), correction, epochs=EPOCHS)
    assert (model.harm.num_changed, model.harm.num_harmed) == (0, 0)
    assert all(math.isfinite(epoch.loss) for epoch in done)
    assert not any("nan" in epoch.correction or "inf" in epoch.correction for epoch in done)


@pytest.mark.parametrize("name", ["one image", "a class with one image"])
def test_with_a_share_that_was_told_the_expected_harm_is_a_number(tmp_path, name):
    model, _ = run(IMAGES[name](tmp_path), TOLD, epochs=EPOCHS)
    assert 0 <= model.harm.num_harmed <= model.harm.num_changed


@pytest.mark.parametrize("correction", [ADELE, AUTO])
def test_masks_without_a_labelled_pixel_are_refused_in_words(tmp_path, correction):
    with pytest.raises(SpecificationError, match="no labelled sample"):
        run(masks(tmp_path, filled(255, 255, 255)), correction, epochs=EPOCHS)
