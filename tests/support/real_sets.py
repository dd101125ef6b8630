"""The real datasets of the integration tests: a tiny model is trained on each, a few epochs."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch

from ray_audit.config import AuditConfig, TrainingConfig
from ray_audit.sources import group_units, list_dataset
from ray_audit.training.examples import ExampleReader
from ray_audit.training.loop import Loop, Worker
from ray_audit.training.training_folder import TrainingFolder
from ray_audit.training.training_identity import training_identity

NUM_EPOCHS = 3
CAMVID = [
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "bicyclist"),
]
PHASES = ["sil", "command", "colour", "preposition", "letter", "digit", "adverb"]
MODELS = "ray_audit.training.models"


@dataclass(frozen=True)
class RealSet:
    """A specification whose paths are below the data folder, and how far to train."""

    name: str
    dataset: dict
    model: dict
    num_train_units: int = 2


def _camvid(data):
    del data
    return RealSet(
        "camvid",
        {
            "kind": "images",
            "uri": "camvid/images/*.jpg",
            "labels": {"masks": "camvid/masks/{stem}.png"},
            "classes": CAMVID,
            "void": [11],
        },
        {
            "factory": f"{MODELS}:unet",
            "kwargs": {"num_classes": 11, "width": 4, "depth": 2},
            "input": {"size": [60, 80], "mean": [0.4, 0.4, 0.4], "std": [0.3, 0.3, 0.3]},
        },
    )


def _golf_swing(data):
    files = sorted((data / "golf_swing").glob("*.csv"))
    rows = [line.split(",")[1] for f in files for line in f.read_text().splitlines()[1:]]
    return RealSet(
        "golf_swing",
        {
            "kind": "video",
            "uri": "golf_swing/*.mp4",
            "labels": {
                "frames": "golf_swing/{stem}.csv",
                "columns": {"frame": "frame", "label": "phase"},
            },
            "classes": list(dict.fromkeys(rows)),
            "clip": {"frames": 16, "stride": 8},
        },
        {
            "factory": f"{MODELS}:frame_transformer",
            "kwargs": {"num_classes": len(set(rows)), "width": 8},
            "input": {"size": [48, 32]},
        },
    )


def _grid_speech(labels):
    return RealSet(
        f"grid_speech-{labels}",
        {
            "kind": "video",
            "uri": "grid_speech/videos/*.mpg",
            "labels": {
                labels: f"grid_speech/{labels}.csv",
                "columns": {"label": "phase"},
            },
            "classes": PHASES,
            "clip": {"frames": 25, "stride": 15, "every": 2},
        },
        {
            "factory": f"{MODELS}:frame_transformer",
            "kwargs": {"num_classes": 7, "width": 8},
            "input": {"size": [36, 44]},
        },
    )


def _golf_poses(data):
    del data
    return RealSet(
        "golf_poses",
        {
            "kind": "sequences",
            "uri": "golf_poses/sequences.npz",
            "labels": {"arrays": "{key}_label", "frame_arrays": "{key}_frame"},
            "classes": [str(i) for i in range(9)],
            "clip": {"frames": None},
        },
        {
            "factory": f"{MODELS}:tcn",
            "kwargs": {"num_classes": 9, "in_features": 132, "width": 16, "num_layers": 3},
        },
    )


def _cifar10n(data):
    del data
    return RealSet(
        "cifar10n",
        {
            "kind": "images",
            "uri": "cifar10n/*.parquet",
            "labels": {"column": "random_label1", "image_column": "image"},
            "classes": [str(i) for i in range(10)],
        },
        {"factory": f"{MODELS}:small_cnn", "kwargs": {"num_classes": 10, "width": 8}},
    )


SETS = {
    "camvid": _camvid,
    "golf_swing": _golf_swing,
    "grid_speech-frames": lambda data: _grid_speech("frames"),
    "grid_speech-segments": lambda data: _grid_speech("segments"),
    "golf_poses": _golf_poses,
    "cifar10n": _cifar10n,
}


def below(values, base):
    """The specification's dataset with its paths below `base`."""
    labels = {
        k: f"{base}/{v}" if k in ("frames", "segments", "videos", "masks", "images") else v
        for k, v in values["labels"].items()
    }
    return values | {"uri": f"{base}/{values['uri']}", "labels": labels}


def config_of(real: RealSet, base, checkpoints, output, **more) -> AuditConfig:
    """The specification of a set that lies below `base`."""
    return AuditConfig.parse(
        {
            "name": real.name,
            "dataset": below(real.dataset, base),
            "model": real.model,
            "checkpoints": f"{checkpoints}/*.safetensors",
            "output": output,
            **more,
        }
    )


class FirstBatches(ExampleReader):
    """The first batches of each pass: enough for models that have seen something."""

    def batches(self, epoch):
        return itertools.islice(super().batches(epoch), 20)


def train(real: RealSet, config: AuditConfig, folder: Path) -> Path:
    """Train on the first units of the set."""
    training = TrainingConfig(epochs=NUM_EPOCHS, learning_rate=3e-3, batch_size=64)
    config = config.model_copy(update={"training": training})
    listing = list_dataset(config.dataset, folder / "index")
    units = group_units(listing.shards, "train")[: real.num_train_units]
    reader = FirstBatches(config, units, str(folder / "index"))
    place = TrainingFolder(str(folder / "checkpoints"), "epoch_")
    identity, _ = training_identity(config, listing)
    Loop(config, reader, place, identity, Worker(torch.device("cpu"))).run(lambda done: None)
    return folder / "checkpoints"
