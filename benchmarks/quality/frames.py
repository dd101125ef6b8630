"""Sets whose labels are phases of frames: golf poses (features) and golf swings (video)."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality.batches import model_input
from benchmarks.quality.case import Case, Part
from ray_audit.config import InputConfig
from ray_audit.training.noise import corrupt_frames, truth_table
from ray_audit.training.noise.frame_noise import CorruptedFrames
from tests.support.media import decoded_video

POSE_KINDS = ("mislabel", "adjacent", "distant", "reversed")
SWING_KINDS = ("mislabel", "adjacent")
SWING_PHASES = ("Setup", "Takeaway", "Backswing", "Downswing", "Follow-through")
CLIP_FRAMES = 32
_NUM_POSE_PHASES = 9
_TRAINING_RATE = 0.3
_HELD_OUT_RATE = 2 / 3
_HELD_OUT_SHARE = 0.3
_SWING_RATE = 0.6
_SWING_INPUT = {"size": [64, 36], "mean": [0.45, 0.45, 0.45], "std": [0.25, 0.25, 0.25]}


def pose_case(
    data: Path,
    folder: Path,
    seed: int,
    *,
    factory: str,
    is_held_out: bool,
    width: int | None = None,
    kinds: Sequence[str] = POSE_KINDS,
    rate: float | None = None,
) -> Case:
    """62 pose sequences of 9 ordered phases, features standardised.

    Args:
        data: the data folder.
        folder: gets the audited sequences with their given labels.
        seed: of errors and split.
        factory: of the model, called with `num_classes` and `in_features`.
        is_held_out: train on 70% with right labels, plant one error in two thirds of the others;
            else train on and audit all, 30% of them with an error.
        width: of the model; its own where absent.
        kinds: of the errors.
        rate: share of the audited sequences with one; as above where absent.
    """
    archive = np.load(data / "golf_poses" / "sequences.npz")
    names = sorted(name for name in archive.files if "_" not in name)
    features = _standardised([archive[name].reshape(len(archive[name]), -1) for name in names])
    true = {f"sequences.npz#{name}": archive[f"{name}_label"].astype(np.int64) for name in names}
    keys = list(true)
    trained = audited = np.arange(len(keys))
    usual = _TRAINING_RATE
    if is_held_out:
        order = np.random.default_rng([seed, 77]).permutation(len(keys))
        num_audited = round(_HELD_OUT_SHARE * len(keys))
        audited, trained = np.sort(order[:num_audited]), np.sort(order[num_audited:])
        usual = _HELD_OUT_RATE
    rate = usual if rate is None else rate
    errors = corrupt_frames(
        {keys[i]: true[keys[i]] for i in audited}, _NUM_POSE_PHASES, rate, kinds, seed
    )
    given = true | errors.labels
    _write_sequences(folder / "sequences.npz", audited, names, features, list(given.values()))
    return Case(
        dataset={
            "kind": "sequences",
            "labels": {"arrays": "{key}_label"},
            "classes": [str(i) for i in range(_NUM_POSE_PHASES)],
            "clip": {"frames": None},
        },
        model={
            "factory": factory,
            "kwargs": {"num_classes": _NUM_POSE_PHASES, "in_features": features[0].shape[1]}
            | ({} if width is None else {"width": width}),
        },
        inputs=[torch.from_numpy(sequence) for sequence in features],
        targets=[torch.from_numpy(labels) for labels in given.values()],
        keys=keys,
        truth=truth_table(errors.truth),
        parts=[Part("all", str(folder / "sequences.npz"), trained, audited)],
    )


def sequence_case(
    folder: Path,
    names: list[str],
    features: list[np.ndarray],
    errors: CorruptedFrames,
    num_classes: int,
    seed: int | None,
) -> Case:
    """Sequences with a TCN of width 32.

    Args:
        folder: gets the audited sequences.
        names: of the arrays.
        features: (T, D) of each.
        errors: their given labels and the truth, by `sequences.npz#<name>`.
        num_classes: K.
        seed: train on a random half and audit the other; None: train on and audit all.
    """
    labels = list(errors.labels.values())
    trained = audited = np.arange(len(names))
    if seed is not None:
        order = np.random.default_rng([seed, 77]).permutation(len(names))
        trained, audited = (np.sort(half) for half in np.array_split(order, 2))
    _write_sequences(folder / "sequences.npz", audited, names, features, labels)
    return Case(
        dataset={
            "kind": "sequences",
            "labels": {"arrays": "{key}_label"},
            "classes": [str(i) for i in range(num_classes)],
            "clip": {"frames": None},
        },
        model={
            "factory": "ray_audit.training.models:tcn",
            "kwargs": {
                "num_classes": num_classes,
                "in_features": features[0].shape[1],
                "width": 32,
            },
        },
        inputs=[torch.from_numpy(sequence) for sequence in features],
        targets=[torch.from_numpy(label) for label in labels],
        keys=list(errors.labels),
        truth=truth_table(errors.truth),
        parts=[Part("all", str(folder / "sequences.npz"), trained, audited)],
    )


def _standardised(sequences: list[np.ndarray]) -> list[np.ndarray]:
    everything = np.concatenate(sequences)
    mean, std = everything.mean(axis=0), np.maximum(everything.std(axis=0), 1e-6)
    return [((sequence - mean) / std).astype(np.float32) for sequence in sequences]


def _write_sequences(
    path: Path,
    chosen: np.ndarray,
    names: list[str],
    features: list[np.ndarray],
    labels: list[np.ndarray],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for i in chosen.tolist():
        arrays[names[i]] = features[i]
        arrays[f"{names[i]}_label"] = labels[i]
    np.savez(path, **arrays)


def swing_case(data: Path, folder: Path, seed: int) -> Case:
    """5 videos of 5 ordered phases, 3 of them with one segment wrong or two exchanged."""
    source = data / "golf_swing"
    paths = sorted(source.glob("*.mp4"))
    true = {path.name: _phases(path.with_suffix(".csv")) for path in paths}
    errors = corrupt_frames(true, len(SWING_PHASES), _SWING_RATE, SWING_KINDS, seed)
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    for path in paths:
        shutil.copyfile(path, folder / "videos" / path.name)
    _write_labels(folder / "labels.csv", errors.labels)
    config = InputConfig(**_SWING_INPUT)
    everything = np.arange(len(paths))
    return Case(
        dataset={
            "kind": "video",
            "labels": {"frames": str(folder / "labels.csv")},
            "classes": list(SWING_PHASES),
            "clip": {"frames": CLIP_FRAMES, "stride": CLIP_FRAMES // 2},
        },
        model={
            "factory": "ray_audit.training.models:frame_transformer",
            "kwargs": {"num_classes": len(SWING_PHASES), "width": 32},
            "input": _SWING_INPUT,
        },
        inputs=[
            torch.from_numpy(np.stack([model_input(frame, config) for frame in frames]))
            for frames in (decoded_video(path).transpose(0, 2, 3, 1) for path in paths)
        ],
        targets=[torch.from_numpy(labels) for labels in errors.labels.values()],
        keys=list(true),
        truth=truth_table(errors.truth),
        parts=[Part("all", str(folder / "videos" / "*.mp4"), everything, everything)],
        clip_frames=CLIP_FRAMES,
    )


def _phases(path: Path) -> np.ndarray:
    with path.open(newline="", encoding="utf-8") as stream:
        return np.array([SWING_PHASES.index(row["phase"]) for row in csv.DictReader(stream)])


def _write_labels(path: Path, labels: dict[str, np.ndarray]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["video", "frame", "label"])
        for video, phases in labels.items():
            writer.writerows([video, t, SWING_PHASES[p]] for t, p in enumerate(phases.tolist()))
