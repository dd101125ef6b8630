"""How busy a fast device is kept: one actor, a model that sleeps, ready pixels in npz shards.

Each forward pass of a batch of 128 images of 224 px takes 1 to 200 ms, in which the CPU is free.
The share of time in which the device is busy counts once every process is up. Beside it what bounds
it here: a batch of 18.4 MiB, copied by one core, and made float32, which a GPU would do itself.

    python -m benchmarks.device [--repeats 5] [--quick]
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import ray
import torch
from torch import Tensor, nn

from benchmarks.engine_runs import run_engine, start_ray
from benchmarks.harness import Figure, Report, parser
from benchmarks.plain_training import save_epoch
from ray_audit.checkpoints.factory import build_model
from ray_audit.config import AuditConfig

BATCH, SIDE_PX = 128, 224
PAUSES_MS = (1.0, 10.0, 50.0, 200.0)
_SHARDS, _BATCHES_PER_SHARD = 8, 4
_CLASSES = ["a", "b", "c"]


class SleepingModel(nn.Module):
    """(N, 3, H, W) to logits of the first pixel, after a pause."""

    def __init__(self, num_classes: int, pause_s: float) -> None:
        super().__init__()
        self.head = nn.Linear(3, num_classes)
        self._pause_s = pause_s

    def forward(self, images: Tensor) -> Tensor:
        """A device that is busy while the CPU is not."""
        time.sleep(self._pause_s)
        logits: Tensor = self.head(images[:, :, 0, 0])
        return logits


def sleeping_model(num_classes: int, pause_s: float) -> nn.Module:
    """A factory for a specification."""
    return SleepingModel(num_classes, pause_s)


def make_data(folder: Path, pause_s: float, num_shards: int) -> AuditConfig:
    """Uncompressed uint8 pixels in npz files, labels beside them; the specification."""
    rng = np.random.default_rng(0)
    (folder / "data").mkdir(parents=True)
    num = BATCH * _BATCHES_PER_SHARD
    pixels = rng.integers(0, 256, (num, SIDE_PX, SIDE_PX, 3), np.uint8)
    for index in range(num_shards):
        np.savez(folder / "data" / f"{index:03d}.npz", images=pixels, labels=np.arange(num) % 3)
    config = AuditConfig.parse(
        {
            "dataset": {
                "kind": "images",
                "uri": f"{folder}/data/*.npz",
                "labels": {"column": "labels", "image_column": "images"},
                "classes": _CLASSES,
            },
            "model": {
                "factory": "benchmarks.device:sleeping_model",
                "kwargs": {"num_classes": len(_CLASSES), "pause_s": pause_s},
            },
            "checkpoints": f"{folder}/checkpoints/*.safetensors",
            "scores": ["csl"],
            "engine": {"batch_size": BATCH, "actors_per_pool": 1},
            "output": f"{folder}/out",
        }
    )
    torch.manual_seed(0)
    save_epoch(build_model(config.model), folder / "checkpoints", 1)
    return config


def busy_share(folder: Path, pause_ms: float, num_shards: int) -> tuple[float, float]:
    """One run: the share of time that the device was busy, and batches a second."""
    config = make_data(folder, pause_ms / 1e3, num_shards)
    measured = run_engine(config)
    if measured.outcome.counts["scored"] != num_shards * BATCH * _BATCHES_PER_SHARD:
        raise SystemExit(f"{measured.outcome.counts}")
    batches_per_s = measured.samples_per_s / BATCH
    return batches_per_s * pause_ms / 1e3, batches_per_s


def seconds_of(work: Callable[[], object]) -> float:
    """The fastest of a few."""
    took = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return min(took)


def limits() -> list[float]:
    """Milliseconds to copy a batch, and to make it float32."""
    batch = np.zeros((BATCH, 3, SIDE_PX, SIDE_PX), np.uint8)
    tensor = torch.from_numpy(batch)
    torch.set_num_threads(1)
    works = (batch.copy, lambda: tensor.to(torch.float32).div_(255))
    return [1e3 * seconds_of(work) for work in works]


def measure(pauses_ms: tuple[float, ...], num_shards: int, repeats: int) -> Report:
    """All pauses, in turns."""
    runs: dict[float, list[tuple[float, float]]] = {pause: [] for pause in pauses_ms}
    bounds = []
    for _ in range(repeats):
        bounds.append(limits())
        for pause, found in runs.items():
            with tempfile.TemporaryDirectory() as name:
                found.append(busy_share(Path(name), pause, num_shards))
    figures = []
    for pause, found in runs.items():
        shares, rates = zip(*found, strict=True)
        figures.append(Figure(f"{pause:g} ms a batch: time that the device is busy", "", shares))
        figures.append(Figure(f"{pause:g} ms a batch: batches", "batches/s", rates))
    for what, column in zip(("copy", "make float32"), zip(*bounds, strict=True), strict=True):
        figures.append(Figure(f"one core, to {what} a batch", "ms", tuple(column)))
    notes = [
        f"{BATCH} images of {SIDE_PX} px a batch, uint8 in npz, {_BATCHES_PER_SHARD} a shard, "
        f"{num_shards} shards; one actor; every sample was scored",
    ]
    return Report("device", figures, notes)


def main() -> None:
    """Run and publish."""
    chosen = parser(__doc__).parse_args()
    start_ray()
    pauses, num_shards = (PAUSES_MS[2:3], 3) if chosen.quick else (PAUSES_MS, _SHARDS)
    measure(pauses, num_shards, chosen.repeats).publish(is_kept=not chosen.quick)
    ray.shutdown()


if __name__ == "__main__":
    main()
