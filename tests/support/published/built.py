"""What a builder of a dataset gives, how files of it are written, and its labels read back."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.pixels.encoding import targets_of
from ray_audit.samples import IGNORE
from tests.support.label_sets import all_labels
from tests.support.media import cut

SHAPE = (6, 7)


@dataclass
class Built:
    """A dataset that was built.

    Attributes:
        layout: the recipe that reads it; None where it has no name.
        expected: sample id -> class index or name, or (H, W) class indices.
        overrides: keys that a person gives beside the layout.
        dataset: the section, where there is no recipe; URIs below the root.
        init: whether `init` alone writes a right specification.
        checked: how many samples `init` must find; all where None.
    """

    layout: str | None
    expected: dict
    overrides: dict = field(default_factory=dict)
    dataset: dict | None = None
    init: bool = True

    def section(self, root):
        """What a person writes under `dataset`."""
        if self.layout is not None:
            return {"layout": self.layout, "root": str(root), **self.overrides}
        return _placed(self.dataset, str(root))


def _placed(value, root):
    if isinstance(value, dict):
        return {key: _placed(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [_placed(item, root) for item in value]
    return value.replace("{root}", root) if isinstance(value, str) else value


def labels_of(config):
    """Sample id -> class index, or (H, W) class indices, as an audit reads them."""
    if not config.task.is_dense:
        return all_labels(config)
    is_files = config.volume is None and "{" in str(config.labels.masks)
    if is_files and str(config.uri).endswith((".png", ".jpg", ".tif")):
        classes = ClassNames.of(config)
        return {key: targets_of(mask, classes) for key, mask in all_labels(config).items()}
    with tempfile.TemporaryDirectory() as folder:
        outcome = cut(config, Path(folder))
    assert outcome.failed == []
    return {
        row["sample_id"]: target
        for batch in outcome.batches
        for row, target in zip(batch.samples.to_pylist(), batch.arrays["targets"], strict=True)
    }


def same_labels(config, expected):
    """Compare every label, those that are text by the name of their class."""
    found = labels_of(config)
    assert sorted(found) == sorted(expected)
    for key, value in expected.items():
        if isinstance(value, str):
            assert config.classes[found[key]] == value, key
        else:
            np.testing.assert_array_equal(found[key], value, key)


def index_mask(seed, num_classes, void=True, shape=SHAPE):
    """Class indices with some pixels that have no label; every class from time to time."""
    mask = np.random.default_rng(seed).integers(0, num_classes, shape)
    if void:
        mask[0, :3] = IGNORE
    return mask


def stored(mask, values, void=255):
    """Indices as stored values, uint8."""
    return np.where(mask == IGNORE, void, np.array(values)[mask]).astype(np.uint8)


def put_image(path, pixels, palette=None):
    """Write pixels as an image, with a palette where one is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)


def photo(path, seed, shape=SHAPE):
    """Colours without order."""
    put_image(path, np.random.default_rng(1000 + seed).integers(0, 256, (*shape, 3), np.uint8))


def put_text(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]))


def touched(path):
    """An empty file, for what listing does not open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


PALETTE = [v for i in range(256) for v in (i, 255 - i, 7)]
