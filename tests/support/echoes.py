"""Sequences whose features are what the checkpoints see, so that a test says what is known."""

import numpy as np
import torch
from safetensors.torch import save_file

from ray_audit.config import AuditConfig


def logits(classes, num_classes, strength=3.0, noise=0.3, seed=0):
    """(T, K) logits of a model that sees these classes."""
    found = np.random.default_rng(seed).normal(0, noise, (len(classes), num_classes))
    found[np.arange(len(classes)), classes] += strength
    return found.astype(np.float32)


def repeated(classes, lengths):
    """(T,) classes of segments, each as long as told."""
    return np.repeat(np.asarray(classes), np.asarray(lengths))


def weights(folder, scales, first=0):
    """A checkpoint for each scale of the logits."""
    folder.mkdir(parents=True, exist_ok=True)
    for epoch, scale in enumerate(scales, first):
        save_file({"scale": torch.tensor(float(scale))}, folder / f"epoch_{epoch:02}.safetensors")


def echoes(folder, given, seen, num_classes, scales=(1.0, 1.0), **changes):
    """A specification over v0, v1 ... of one npz: given labels, and classes or logits seen."""
    arrays = {}
    for index, (labels, found) in enumerate(zip(given, seen, strict=True)):
        is_made = np.ndim(found) == 2
        arrays[f"v{index}"] = found if is_made else logits(found, num_classes, seed=index)
        arrays[f"v{index}_label"] = np.asarray(labels)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    np.savez(folder / "data/f.npz", **arrays)
    weights(folder / "checkpoints", scales)
    dataset = {
        "kind": "sequences",
        "uri": str(folder / "data/*.npz"),
        "labels": {"arrays": "{key}_label"},
        "classes": [f"k{index}" for index in range(num_classes)],
        "clip": {"frames": None} | changes.pop("clip", {}),
    }
    values = {
        "dataset": dataset,
        "model": {"factory": "tests.support.tiny_models:EchoModel"},
        "checkpoints": str(folder / "checkpoints/*.safetensors"),
        "output": str(folder / "out"),
        "failures": {"max_fraction": 1.0},
    }
    return AuditConfig.parse(values | changes)


def is_wrong(table, given, seen):
    """(N,) bool of the rows of a table whose given label is not what is seen."""
    wrong = {
        f"f.npz#v{v}#{t}": bool(a != b)
        for v, pair in enumerate(zip(given, seen, strict=True))
        for t, (a, b) in enumerate(zip(*pair, strict=True))
    }
    return np.array([wrong[name] for name in table["sample_id"].to_pylist()])
