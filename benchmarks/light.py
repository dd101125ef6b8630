"""Work that costs next to nothing, so that what is left is the engine itself."""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.plain_training import save_epoch
from ray_audit.checkpoints.factory import build_model
from ray_audit.config import AuditConfig

CLIP_FRAMES = 8
_CLASSES = ["a", "b", "c"]


class LightModel(nn.Module):
    """(N, T, D) -> logits (N, T, K) of the first few features, after a pause."""

    def __init__(self, num_classes: int, sleep_s: float) -> None:
        super().__init__()
        self.head = nn.Linear(4, num_classes)
        self._sleep_s = sleep_s

    def forward(self, clips: Tensor) -> Tensor:
        """One pause a batch: a device that is busy while the CPU is not."""
        time.sleep(self._sleep_s)
        logits: Tensor = self.head(clips[..., :4])
        return logits


def light_model(num_classes: int, sleep_s: float = 0.0) -> nn.Module:
    """A factory for a specification."""
    return LightModel(num_classes, sleep_s)


def make_features(
    folder: Path,
    num_units: int,
    clips_per_unit: int,
    num_features: int,
    num_checkpoints: int = 1,
    sleep_s: float = 0.0,
) -> AuditConfig:
    """Feature sequences in files of their own, which need no decoding, with a label a frame."""
    rng = np.random.default_rng(0)
    num_frames = clips_per_unit * CLIP_FRAMES
    rows = ["video,frame,label"]
    (folder / "data").mkdir(parents=True)
    for number in range(num_units):
        features = rng.random((num_frames, num_features), np.float32)
        np.save(folder / "data" / f"{number:04d}.npy", features)
        rows += [f"{number:04d},{frame},{_CLASSES[frame % 3]}" for frame in range(num_frames)]
    (folder / "frames.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = AuditConfig.parse(
        {
            "dataset": {
                "kind": "sequences",
                "uri": f"{folder}/data/*.npy",
                "labels": {"frames": f"{folder}/frames.csv"},
                "classes": _CLASSES,
                "clip": {"frames": CLIP_FRAMES, "stride": CLIP_FRAMES},
            },
            "model": {
                "factory": "benchmarks.light:light_model",
                "kwargs": {"num_classes": len(_CLASSES), "sleep_s": sleep_s},
            },
            "checkpoints": f"{folder}/checkpoints/*.safetensors",
            "scores": ["csl"],
            "output": f"{folder}/out",
        }
    )
    for epoch in range(num_checkpoints):
        torch.manual_seed(epoch)
        save_epoch(build_model(config.model), folder / "checkpoints", epoch + 1)
    return config
