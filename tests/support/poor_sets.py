"""Tiny sets of every kind, by the classes that samples have and those that they are given.

Class k is channel k, as in `knowing`; checkpoints see it, so that a test says what is known.
"""

from functools import partial

import numpy as np
import torch
from safetensors.torch import save_file

from tests.support.knowing import SIDE, coloured, save
from tests.support.masked_videos import exact_video
from tests.support.small_sets import CLASSES, SmallSet, table

GROWING = (2.0, 4.0, 6.0)
"""How sure the checkpoints are."""


def images(folder, true, given, sureness=GROWING, num_classes=3):
    """Images of one colour and one label each."""
    for index, k in enumerate(true):
        save(coloured(k), folder / f"data/i{index}.png")
    rows = [{"image": f"i{index}.png", "label": CLASSES[k]} for index, k in enumerate(given)]
    labels = {"images": str(table(folder / "labels.csv", rows))}
    dataset = {"kind": "images", "uri": str(folder / "data/*.png"), "labels": labels}
    return _set(folder, dataset, "ImageModel", sureness, num_classes)


def clips(folder, true, given, sureness=GROWING, num_classes=3):
    """Videos of one colour and one label each, seen clip by clip."""
    for index, k in enumerate(true):
        exact_video(folder / f"data/v{index}.mkv", [coloured(k)] * 4)
    rows = [{"video": f"v{index}.mkv", "label": CLASSES[k]} for index, k in enumerate(given)]
    dataset = {
        "kind": "video",
        "uri": str(folder / "data/*.mkv"),
        "labels": {"videos": str(table(folder / "labels.csv", rows))},
        "clip": {"frames": 2, "stride": 2},
    }
    return _set(folder, dataset, "ClipModel", sureness, num_classes)


def masked_frames(folder, true, given, sureness=GROWING, num_classes=3):
    """One video; each frame has one colour, and a mask of one class."""
    exact_video(folder / "data/v.mkv", [coloured(k) for k in true])
    for index, k in enumerate(given):
        save(np.full((SIDE, SIDE), k, np.uint8), folder / f"masks/v/{index:05}.png")
    dataset = {
        "kind": "video",
        "uri": str(folder / "data/*.mkv"),
        "labels": {"masks": str(folder / "masks/{stem}/*.png")},
        "void": [255],
    }
    return _set(folder, dataset, "PixelModel", sureness, num_classes)


def masked_images(folder, true, given, sureness=GROWING, num_classes=3, tile=None):
    """Images of one colour, and a mask of one class each."""
    for index, (seen, k) in enumerate(zip(true, given, strict=True)):
        save(coloured(seen), folder / f"data/i{index}.png")
        save(np.full((SIDE, SIDE), k, np.uint8), folder / f"masks/i{index}.png")
    dataset = {
        "kind": "images",
        "uri": str(folder / "data/*.png"),
        "labels": {"masks": str(folder / "masks/{stem}.png")},
        "void": [255],
    }
    if tile:
        dataset["tile"] = {"size": tile, "overlap": 2}
    return _set(folder, dataset, "PixelModel", sureness, num_classes)


def features(folder, true, given, sureness=GROWING, num_classes=3):
    """One sequence whose features are the classes of its frames."""
    (folder / "data").mkdir(parents=True)
    arrays = {"s": np.eye(3, dtype=np.float32)[list(true)], "s_label": np.array(given, np.int8)}
    np.savez(folder / "data/s.npz", **arrays)
    dataset = {
        "kind": "sequences",
        "uri": str(folder / "data/*.npz"),
        "labels": {"arrays": "{key}_label"},
        "clip": {"frames": None},
    }
    return _set(folder, dataset, "FrameModel", sureness, num_classes, {"in_features": 3})


MAKE = {
    "images": images,
    "clips": clips,
    "masks of frames": masked_frames,
    "masks of images": masked_images,
    "masks of tiled images": partial(masked_images, tile=16),
    "features": features,
}


def _set(folder, dataset, factory, sureness, num_classes, kwargs=None):
    small = SmallSet(folder, dataset, factory, kwargs)
    small.values["dataset"]["classes"] = CLASSES[:num_classes]
    small.values["model"]["kwargs"]["num_classes"] = num_classes
    for path in folder.glob("checkpoints/*"):
        path.unlink()
    for epoch, sure in enumerate(sureness):
        weight = sure * torch.eye(num_classes, 3)
        if factory == "PixelModel":
            weight = weight[:, :, None, None].contiguous()
        state = {"head.weight": weight, "head.bias": torch.zeros(num_classes)}
        if factory == "ImageModel":
            state["trap"] = torch.zeros(())
        save_file(state, folder / f"checkpoints/epoch_{epoch}.safetensors")
    return small
