"""Datasets with known errors: what is trained on, its right labels, and held-out data."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.correction.slices import NUM_CLASSES, Kind, corrupt_slices, make_slices
from ray_audit.training.noise import MaskNoise, corrupt_frames, corrupt_masks

Section = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """One dataset with one kind, amount and seed of errors, as sections of a specification.

    Attributes:
        given: the dataset with its partly wrong labels.
        true: the same data with the right ones.
        held_out: other data, with right labels; empty where all are audited by folds.
        model: what is trained.
        training: how.
        form: of the labels: dense, frames or class.
        background: class that ADELE may always write.
        unscored: class that is left out of the held-out measure.
        error_rate: share of samples with an error, which `flagged` and refurbishing are told.
    """

    given: Section
    true: Section
    held_out: Section
    model: Section
    training: Section
    form: str
    error_rate: float
    background: int | None = None
    unscored: int | None = None

    @property
    def is_by_folds(self) -> bool:
        """Whether each sample is audited by checkpoints that never saw it."""
        return "folds" in self.training

    @property
    def background_name(self) -> str | None:
        """Of the class `background`."""
        return None if self.background is None else str(self.given["classes"][self.background])


@dataclass(frozen=True)
class Condition:
    """A row of the benchmark.

    Attributes:
        set: dataset.
        kind: of error.
        percent: of masks, sequences or labels that are wrong; of CIFAR-10N about.
        seed: of errors and training.
    """

    set: str
    kind: str
    percent: int
    seed: int

    @property
    def name(self) -> str:
        """As `--only` takes it."""
        return f"{self.set}/{self.kind}/{self.percent}/{self.seed}"


CAMVID_GROUPS = ("sky", "construction", "flat", "tree", "object", "void")
# CamVid's twelve classes in these groups: a small model learns none of the rare ones by itself.
_GROUP_OF = np.array([0, 1, 1, 2, 2, 3, 1, 1, 4, 4, 4, 5], np.uint8)
CAMVID_SIZE = (64, 48)  # width, height
_FLAT, _VOID = CAMVID_GROUPS.index("flat"), CAMVID_GROUPS.index("void")
# Lengths for pictures of 64x48. Too small or too large is always the ground: a systematic error.
_CAMVID_NOISE = MaskNoise(void=_VOID, systematic_class=_FLAT, under_px=3, over_px=3)
_CAMVID_SCALING = {"mean": [0.4, 0.4, 0.4], "std": [0.3, 0.3, 0.3]}
_EVERY = 4
_NUM_POSE_PHASES = 9
_HELD_OUT_POSES = 0.3
_POSE_KINDS = ("mislabel", "adjacent", "distant", "reversed")
_NUM_CIFAR_ROWS = 2_000
_NUM_CIFAR_HELD_OUT = 2_000
_NUM_SLICES, _NUM_HELD_OUT_SLICES, _HELD_OUT_SLICES_SEED = 80, 60, 999
_GREY_OF_ONE = 200  # slices are about 0 to 1, and noise goes beyond
_NUM_FOLDS = 3
_CIFAR_COLUMNS = {9: "aggre_label", 17: "random_label1", 41: "worse_label"}
_CIFAR_SCALING = {"mean": [0.49, 0.48, 0.45], "std": [0.25, 0.24, 0.26]}


def camvid(data: Path, folder: Path, condition: Condition) -> Problem:
    """Every fourth training frame at 64x48, five groups of classes, and void as one.

    `boundary`: all boundaries wave at random. `under`, `over`: the ground eroded or dilated by 3
    px. `drop`: one class of the picture becomes void or the nearest other class. Held out: the
    set's own `val` frames.
    """
    shared = folder.parents[2] / "shared"
    with (data / "camvid" / "frames.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    parts = {
        "train": [row["frame"] for row in rows if row["split"] == "train"][::_EVERY],
        "val": [row["frame"] for row in rows if row["split"] == "val"],
    }
    for part, frames in parts.items():
        _shrink(data / "camvid", shared / part, frames)
    true = {name: _mask(shared / "train" / "masks" / f"{name}.png") for name in parts["train"]}
    wrong = corrupt_masks(
        true, condition.percent / 100, (condition.kind,), condition.seed, _CAMVID_NOISE
    )
    for name, mask in (true | wrong.changed).items():
        _write_mask(folder / "masks" / f"{name}.png", mask)
    dataset = {"kind": "images", "classes": list(CAMVID_GROUPS)}
    return Problem(
        given=dataset | _pictures(shared / "train", folder / "masks"),
        true=dataset | _pictures(shared / "train", shared / "train" / "masks"),
        held_out=dataset | _pictures(shared / "val", shared / "val" / "masks"),
        model={
            "factory": "ray_audit.training.models:unet",
            "kwargs": {"num_classes": len(CAMVID_GROUPS), "width": 8},
            "input": _CAMVID_SCALING,
        },
        training={"epochs": 12, "learning_rate": 5e-3, "batch_size": 4},
        form="dense",
        error_rate=condition.percent / 100,
        background=_VOID,
        unscored=_VOID,
    )


def _pictures(folder: Path, masks: Path) -> Section:
    labels = {"masks": str(masks / "{stem}.png")}
    return {"uri": str(folder / "images" / "*.png"), "labels": labels}


def _shrink(source: Path, target: Path, frames: list[str]) -> None:
    if (target / "done").exists():
        return
    (target / "images").mkdir(parents=True, exist_ok=True)
    for name in frames:
        with Image.open(source / "images" / f"{name}.jpg") as picture:
            small = picture.convert("RGB").resize(CAMVID_SIZE, Image.Resampling.BILINEAR)
            small.save(target / "images" / f"{name}.png")
        with Image.open(source / "masks" / f"{name}.png") as picture:
            mask = np.asarray(picture.resize(CAMVID_SIZE, Image.Resampling.NEAREST))
        _write_mask(target / "masks" / f"{name}.png", _GROUP_OF[mask])
    (target / "done").touch()


def _mask(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def _write_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8)).save(path)


def golf_poses(data: Path, folder: Path, condition: Condition) -> Problem:
    """62 pose sequences of 9 ordered phases, 30% of them held out; one error a wrong sequence."""
    archive = np.load(data / "golf_poses" / "sequences.npz")
    names = sorted(name for name in archive.files if "_" not in name)
    features = _standardised([archive[name].reshape(len(archive[name]), -1) for name in names])
    order = np.random.default_rng([condition.seed, 77]).permutation(len(names))
    num_held_out = round(_HELD_OUT_POSES * len(names))
    true = {names[i]: archive[f"{names[i]}_label"].astype(np.int64) for i in range(len(names))}
    parts = {
        "held_out": sorted(order[:num_held_out].tolist()),
        "train": sorted(order[num_held_out:].tolist()),
    }
    trained = {names[i]: true[names[i]] for i in parts["train"]}
    given = corrupt_frames(
        trained, _NUM_POSE_PHASES, condition.percent / 100, _POSE_KINDS, condition.seed
    ).labels
    dataset = {
        "kind": "sequences",
        "labels": {"arrays": "{key}_label"},
        "classes": [str(i) for i in range(_NUM_POSE_PHASES)],
        "clip": {"frames": None},
    }

    def written(folder_name: str, part: str, labels: dict[str, np.ndarray]) -> Section:
        path = folder / folder_name / "sequences.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {names[i]: features[i] for i in parts[part]}
        np.savez(path, **arrays, **{f"{names[i]}_label": labels[names[i]] for i in parts[part]})
        return dataset | {"uri": str(path)}

    return Problem(
        given=written("given", "train", true | given),
        true=written("true", "train", true),
        held_out=written("held_out", "held_out", true),
        model={
            "factory": "ray_audit.training.models:tcn",
            "kwargs": {
                "num_classes": _NUM_POSE_PHASES,
                "in_features": features[0].shape[1],
                "width": 32,
            },
        },
        training={"epochs": 20, "learning_rate": 2e-3, "batch_size": 1},
        form="frames",
        error_rate=condition.percent / 100,
    )


def _standardised(sequences: list[np.ndarray]) -> list[np.ndarray]:
    everything = np.concatenate(sequences)
    mean, std = everything.mean(axis=0), np.maximum(everything.std(axis=0), 1e-6)
    return [((sequence - mean) / std).astype(np.float32) for sequence in sequences]


def cifar10n(data: Path, folder: Path, condition: Condition) -> Problem:
    """2,000 pictures with labels by people (others with another seed); held out: the last 2,000."""
    source = pq.read_table(next((data / "cifar10n").glob("*.parquet")))
    column = _CIFAR_COLUMNS[condition.percent]
    rows = source.slice(condition.seed * _NUM_CIFAR_ROWS, _NUM_CIFAR_ROWS)
    last = source.slice(source.num_rows - _NUM_CIFAR_HELD_OUT)
    wrong = np.not_equal(rows[column].to_numpy(), rows["clean_label"].to_numpy())
    return Problem(
        given=_pictures_in_rows(folder / "given", rows, column),
        true=_pictures_in_rows(folder / "true", rows, "clean_label"),
        held_out=_pictures_in_rows(folder / "held_out", last, "clean_label"),
        model={
            "factory": "ray_audit.training.models:small_cnn",
            "kwargs": {"num_classes": 10, "width": 12},
            "input": _CIFAR_SCALING,
        },
        training={"epochs": 10, "learning_rate": 3e-3, "batch_size": 32},
        form="class",
        error_rate=float(wrong.mean()),
    )


def cifar10n_by_folds(data: Path, folder: Path, condition: Condition) -> Problem:
    """All 10,000 pictures with labels by people, each by checkpoints of a fold that never saw it.

    Three folds (others with another seed); a network of four convolutions (width 24) for twelve
    epochs, with pictures flipped and shifted. Four minutes of one core for a training, half a
    minute for its audit.
    """
    source = pq.read_table(next((data / "cifar10n").glob("*.parquet")))
    column = _CIFAR_COLUMNS[condition.percent]
    wrong = np.not_equal(source[column].to_numpy(), source["clean_label"].to_numpy())
    return Problem(
        given=_pictures_in_rows(folder / "given", source, column),
        true=_pictures_in_rows(folder / "true", source, "clean_label"),
        held_out={},
        model={
            "factory": "benchmarks.correction.pictures:moved_cnn",
            "kwargs": {"num_classes": 10, "width": 24},
            "input": _CIFAR_SCALING,
        },
        training={"epochs": 12, "learning_rate": 3e-3, "batch_size": 64, "folds": _NUM_FOLDS},
        form="class",
        error_rate=float(wrong.mean()),
    )


def _pictures_in_rows(folder: Path, table: pa.Table, labels: str) -> Section:
    """A Parquet file of pictures with one of the columns of labels, and how it is read."""
    path = folder / "rows.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = [str(i) for i in range(table.num_rows)]
    columns = {"key": keys, "image": table["image"], "label": table[labels]}
    if not path.exists():  # with --keep; what was trained on it goes on with this file only
        pq.write_table(pa.table(columns), path, row_group_size=1000)
    return {
        "kind": "images",
        "labels": {"column": "label", "key_column": "key"},
        "classes": [str(i) for i in range(10)],
        "uri": str(path),
    }


def slices(data: Path, folder: Path, condition: Condition) -> Problem:
    """80 slices of 32 px whose errors a U-Net memorises in 40 epochs at a constant rate.

    `under`, `over`: all structures of a mask too small by 3 px, or too large by 2 px. `other`: two
    structures change names.
    """
    drawn = make_slices(_NUM_SLICES, condition.seed)
    kind = cast(Kind, condition.kind)
    wrong = corrupt_slices(drawn.masks, kind, condition.percent / 100, condition.seed)
    others = make_slices(_NUM_HELD_OUT_SLICES, _HELD_OUT_SLICES_SEED)
    for part, images in (("train", drawn.images), ("val", others.images)):
        for index, image in enumerate(images):
            grey = np.clip(image * _GREY_OF_ONE, 0, 255).round().astype(np.uint8)
            _write_mask(folder / part / "images" / f"s{index:03}.png", grey)
    for name, masks in (("given", wrong), ("true", drawn.masks), ("held_out", others.masks)):
        for index, mask in enumerate(masks):
            _write_mask(folder / name / f"s{index:03}.png", mask)
    classes = ["background", *(f"structure_{index}" for index in range(1, NUM_CLASSES))]
    dataset = {"kind": "images", "classes": classes}
    return Problem(
        given=dataset | _pictures(folder / "train", folder / "given"),
        true=dataset | _pictures(folder / "train", folder / "true"),
        held_out=dataset | _pictures(folder / "val", folder / "held_out"),
        model={
            "factory": "ray_audit.training.models:unet",
            "kwargs": {"num_classes": NUM_CLASSES, "in_channels": 1, "width": 8, "depth": 2},
            "input": {"mean": [0.4], "std": [0.2]},
        },
        training={"epochs": 40, "learning_rate": 2e-3, "batch_size": 4, "schedule": "constant"},
        form="dense",
        error_rate=condition.percent / 100,
        background=0,
    )


MAKERS: dict[str, Callable[[Path, Path, Condition], Problem]] = {
    "camvid": camvid,
    "golf_poses": golf_poses,
    "cifar10n": cifar10n,
    "cifar10n_by_folds": cifar10n_by_folds,
    "slices": slices,
}
"""By set: data folder, work folder and condition -> problem."""

NEEDS_NO_DATA = ("slices",)
"""Sets that are drawn."""


def is_by_folds(name: str) -> bool:
    """Whether a set is audited by checkpoints that never saw the labels."""
    return name.endswith("_by_folds")


_CAMVID_KINDS = ("under", "boundary", "drop", "over")
_SLICES = [
    Condition("slices", kind, percent, seed)
    for kind, percent, seeds in (
        ("under", 30, 6),
        ("over", 30, 6),
        ("other", 30, 3),
        ("under", 0, 3),
    )
    for seed in range(seeds)
]
_BY_FOLDS = [
    Condition("cifar10n_by_folds", "human", percent, seed)
    for seed in (0, 1, 2)
    for percent in (41, 17, 9)
]
CONDITIONS = (
    [
        Condition(name, kind, percent, seed)
        for level in range(3)
        for seed in (0, 1, 2)
        for name, kinds, percents in (
            ("golf_poses", ("segments",), (50, 30, 10)),
            ("camvid", _CAMVID_KINDS, (50, 30, 10)),
            ("cifar10n", ("human",), (41, 17, 9)),
        )
        for percent in percents[level : level + 1]
        for kind in kinds
    ]
    + _SLICES
    + _BY_FOLDS
)
"""The most telling first."""
