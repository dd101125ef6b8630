"""The two specifications of the demo, written as YAML files that users can start from."""

from pathlib import Path
from typing import Any

import yaml

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.demo.phantoms import PHANTOM_CLASSES
from ray_audit.demo.videos import PHASES

CLIP_FRAMES = 32
NUM_EPOCHS = 10


def write_specifications(out: Path, seed: int = 0) -> dict[str, Path]:
    """Write `audit-videos.yaml` and `audit-masks.yaml` into `out`.

    Args:
        out: folder.
        seed: of the training.

    Returns:
        `videos` and `masks` -> path of the file.
    """
    paths = {}
    for name, values in (("videos", _videos(out)), ("masks", _masks(out))):
        values["training"] |= {"epochs": NUM_EPOCHS, "seed": seed}
        AuditConfig.parse(values, source=f"demo {name}")
        paths[name] = out / f"audit-{name}.yaml"
        paths[name].write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return paths


def _videos(out: Path) -> dict[str, Any]:
    root = out.resolve() / "videos"
    return {
        "name": "demo-videos",
        "dataset": {
            "kind": "video",
            "uri": _below(root, "clips/*.mp4"),
            "labels": {"frames": str(root / "labels.csv")},
            "classes": list(PHASES),
            "clip": {"frames": CLIP_FRAMES, "stride": CLIP_FRAMES // 2},
        },
        "model": {
            "factory": "ray_audit.training.models:frame_transformer",
            "kwargs": {"num_classes": len(PHASES), "width": 32, "num_layers": 1},
            "input": {"size": [48, 48], "mean": [0.5, 0.4, 0.4], "std": [0.2, 0.2, 0.2]},
        },
        "checkpoints": _below(root, "checkpoints/epoch_*.safetensors"),
        "training": {"learning_rate": 3e-3, "batch_size": 4},
        "protocol": "training",
        "scores": ["csl", "vog"],
        "output": str(out.resolve() / "audits" / "videos"),
    }


def _masks(out: Path) -> dict[str, Any]:
    root = out.resolve() / "masks"
    return {
        "name": "demo-masks",
        "dataset": {
            "kind": "images",
            "uri": _below(root, "images/*.png"),
            "labels": {"masks": str(root / "masks" / "{stem}.png")},
            "classes": list(PHANTOM_CLASSES),
        },
        "model": {
            "factory": "ray_audit.training.models:unet",
            "kwargs": {"num_classes": len(PHANTOM_CLASSES), "in_channels": 1, "width": 10},
            "input": {"mean": [0.2], "std": [0.2]},
        },
        "checkpoints": _below(root, "checkpoints/epoch_*.safetensors"),
        "training": {"learning_rate": 1e-2, "batch_size": 8},
        "protocol": "training",
        "scores": ["csl", "vog", "softmin"],
        "output": str(out.resolve() / "audits" / "masks"),
    }


def _below(root: Path, pattern: str) -> str:
    # The folder is the user's: a bracket in its name is no wildcard.
    return f"{storage.escape_glob(str(root))}/{pattern}"
