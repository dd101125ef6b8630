"""Datasets of a few small files, each with the specification that audits it."""

import csv
from pathlib import Path

import av
import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from ray_audit.config import AuditConfig
from tests.support import tiny_models
from tests.support.media import noise, png, write_parquet

CLASSES = ["a", "b", "c"]
MODELS = "tests.support.tiny_models"
NUM_CHECKPOINTS = 3


class SmallSet:
    """A folder with `data`, `checkpoints` and, after a run, `out`.

    `values` is the specification; the tests change the files or the values, then run.
    """

    def __init__(self, folder, dataset, factory, kwargs=None):
        self.folder = Path(folder)
        self.out = self.folder / "out"
        kwargs = {"num_classes": len(CLASSES), **(kwargs or {})}
        self.values = {
            "dataset": {"classes": CLASSES, **dataset},
            "model": {"factory": f"{MODELS}:{factory}", "kwargs": kwargs},
            "checkpoints": str(self.folder / "checkpoints/*.safetensors"),
            "output": str(self.out),
        }
        for epoch in range(NUM_CHECKPOINTS):
            self.write_weights(epoch, getattr(tiny_models, factory)(**kwargs))

    def write_weights(self, epoch, model):
        """Weights that differ from epoch to epoch and are the same on every call."""
        torch.manual_seed(epoch)
        path = self.folder / f"checkpoints/epoch_{epoch}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        state = model.state_dict()
        save_file({k: torch.randn(v.shape) if v.ndim else v for k, v in state.items()}, str(path))
        return path

    def config(self, **changes):
        return AuditConfig.parse(self.values | changes)

    def spec_file(self, **changes):
        path = self.folder / "audit.yaml"
        path.write_text(yaml.safe_dump(self.values | changes))
        return path

    def files_written(self):
        """Every file below the output with its bytes."""
        if not self.out.exists():
            return {}
        return {
            str(path.relative_to(self.out)): path.read_bytes()
            for path in sorted(self.out.rglob("*"))
            if path.is_file()
        }


def picture(path, seed, size=(16, 16), black=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels * (not black)).save(path)
    return path


def mask(path, seed, size=(16, 16), value=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, len(CLASSES), size).astype(np.uint8)
    Image.fromarray(pixels if value is None else np.full_like(pixels, value)).save(path)
    return path


def table(path, rows):
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def video(path, num_frames, seed=0, size=(32, 32), index_first=False):
    """Without its index, which comes last by default, an mp4 cannot be opened."""
    options = {"movflags": "faststart"} if index_first else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (num_frames, *size, 3), np.uint8)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        stream.codec_context.gop_size = 4
        for pixel in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixel, format="rgb24")))
        container.mux(stream.encode())
    return path


def masked_images(folder, num=6):
    """Images with an index mask each: i0.png ..."""
    for index in range(num):
        picture(folder / f"data/images/i{index}.png", index)
        mask(folder / f"data/masks/i{index}.png", index)
    dataset = {
        "kind": "images",
        "uri": str(folder / "data/images/*.png"),
        "labels": {"masks": str(folder / "data/masks/{stem}.png")},
        "void": [255],
    }
    return SmallSet(folder, dataset, "PixelModel")


def class_folders(folder, num_each=4, factory="ImageModel"):
    """Images in a folder for each class: a/0.png ..."""
    for name in CLASSES:
        for index in range(num_each):
            picture(folder / f"data/{name}/{index}.png", 10 * CLASSES.index(name) + index)
    dataset = {
        "kind": "images",
        "uri": str(folder / "data/*/*.png"),
        "labels": {"folder": True},
    }
    return SmallSet(folder, dataset, factory)


def images_in_parquet(folder, num_files=1):
    """Twelve images in each file: a file cannot be parted, its rows can."""
    (folder / "data").mkdir(parents=True)
    for number in range(num_files):
        write_parquet(
            folder / f"data/part{number}.parquet",
            image=[png(noise(16, 16, seed)) for seed in range(12)],
            label=[CLASSES[index % 3] for index in range(12)],
            id=[f"i{index}" for index in range(12)],
        )
    dataset = {
        "kind": "images",
        "uri": str(folder / "data/*.parquet"),
        "labels": {"column": "label", "key_column": "id"},
    }
    return SmallSet(folder, dataset, "ImageModel")


def of_one_class(folder):
    """Class folders of which only the first is there, with models of one class."""
    small = class_folders(folder)
    for name in CLASSES[1:]:
        for path in small.folder.glob(f"data/{name}/*.png"):
            path.unlink()
    small.values["dataset"]["classes"] = CLASSES[:1]
    small.values["model"]["kwargs"]["num_classes"] = 1
    for path in small.folder.glob("checkpoints/*"):
        path.unlink()
    for epoch in range(2):
        small.write_weights(epoch, tiny_models.ImageModel(num_classes=1))
    return small


def labelled_videos(folder, num=3, num_frames=12):
    """Videos v0.mp4 ... with one table of frame labels."""
    rows = []
    for index in range(num):
        video(folder / f"data/v{index}.mp4", num_frames, seed=index)
        rows += [
            {"video": f"v{index}.mp4", "frame": t, "label": CLASSES[t * 3 // num_frames]}
            for t in range(num_frames)
        ]
    dataset = {
        "kind": "video",
        "uri": str(folder / "data/*.mp4"),
        "labels": {"frames": str(table(folder / "data/frames.csv", rows))},
        "clip": {"frames": 4, "stride": 2},
    }
    return SmallSet(folder, dataset, "FrameModel")


def feature_sequences(folder, lengths=(9, 14)):
    """One npz with a feature array and a label array for each sequence."""
    rng = np.random.default_rng(0)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    arrays = {}
    for index, length in enumerate(lengths):
        arrays[f"s{index}"] = rng.normal(size=(length, 5)).astype(np.float32)
        arrays[f"s{index}_label"] = np.arange(length) * 3 // length
    np.savez(folder / "data/sequences.npz", **arrays)
    dataset = {
        "kind": "sequences",
        "uri": str(folder / "data/sequences.npz"),
        "labels": {"arrays": "{key}_label"},
        "clip": {"frames": None},
    }
    return SmallSet(folder, dataset, "FrameModel", {"in_features": 5})
