"""Engine throughput against a bare torch loop over the same decoded tensors.

Steady state, with the pools up: sample-checkpoints per second, the engine decoding its input from
files, the bare loop reading tensors from memory and computing logits and losses only. Bare loops:
one process of 2 threads, and 2 processes of 1 thread; the better one is the limit.

    python -m benchmarks.relay [--repeats 3] [--workload images|masks]
"""

import argparse
import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from benchmarks.harness import Figure, Report, ratios
from benchmarks.plain_training import save_epoch
from ray_audit.checkpoints.loading import build_model, load_weights
from ray_audit.config import AuditConfig
from ray_audit.engine.run import run_audit

NUM_CHECKPOINTS = 8
BATCH_SIZE = 32  # of the bare loops; the engine packs its own
MODELS = "ray_audit.training.models"


@dataclass(frozen=True)
class Workload:
    """A dataset of noise and a model; speed does not depend on what is in the pixels."""

    name: str
    num_images: int
    size: tuple[int, int]
    num_classes: int
    model: dict[str, Any]

    @property
    def is_dense(self) -> bool:
        """Whether labels belong to pixels."""
        return self.name == "masks"


WORKLOADS = {
    "images": Workload(
        "images",
        1920,
        (64, 64),
        10,
        {"factory": f"{MODELS}:small_cnn", "kwargs": {"num_classes": 10}},
    ),
    "masks": Workload(
        "masks",
        320,
        (120, 160),
        12,
        {"factory": f"{MODELS}:unet", "kwargs": {"num_classes": 12, "width": 16}},
    ),
}


def make_data(work: Workload, folder: Path) -> AuditConfig:
    """Write images, labels and checkpoints; return the specification."""
    rng = np.random.default_rng(0)
    labels = {"masks": f"{folder}/masks/{{stem}}.png"} if work.is_dense else {"folder": True}
    for index in range(work.num_images):
        pixels = rng.integers(0, 256, (*work.size, 3), np.uint8)
        label = index % work.num_classes
        parent = folder / "data" / ("all" if work.is_dense else f"c{label}")
        parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(parent / f"{index:05d}.png", compress_level=1)
        if work.is_dense:
            (folder / "masks").mkdir(exist_ok=True)
            blocks = rng.integers(0, work.num_classes, (work.size[0] // 20, work.size[1] // 20))
            mask = np.kron(blocks, np.ones((20, 20))).astype(np.uint8)
            Image.fromarray(mask).save(folder / "masks" / f"{index:05d}.png")
    config = AuditConfig.parse(
        {
            "name": work.name,
            "dataset": {
                "kind": "images",
                "uri": f"{folder}/data/*/*.png",
                "labels": labels,
                "classes": [f"c{i}" for i in range(work.num_classes)],
            },
            "model": work.model,
            "checkpoints": f"{folder}/checkpoints/*.safetensors",
            "scores": ["csl", "softmin"],
            "output": f"{folder}/out",
        }
    )
    for epoch in range(NUM_CHECKPOINTS):
        torch.manual_seed(epoch)
        save_epoch(build_model(config.model), folder / "checkpoints", epoch + 1)
    return config


def decoded(work: Workload, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All images and targets in memory, in key order."""
    files = sorted((folder / "data").rglob("*.png"))
    images = np.stack([np.asarray(Image.open(f)).transpose(2, 0, 1) for f in files])
    if work.is_dense:
        targets = np.stack([np.asarray(Image.open(folder / "masks" / f.name)) for f in files])
    else:
        targets = np.array([int(f.parent.name[1:]) for f in files])
    return torch.from_numpy(images), torch.from_numpy(targets.astype(np.int64))


def bare_loop(
    config: AuditConfig, images: torch.Tensor, targets: torch.Tensor, num_threads: int
) -> tuple[np.ndarray, float]:
    """Losses (N, E) and the seconds that they took, models loaded and warmed up before."""
    torch.set_num_threads(num_threads)
    models = []
    for epoch in range(NUM_CHECKPOINTS):
        model = build_model(config.model)
        load_weights(model, config.checkpoints.replace("*", f"epoch_{epoch + 1:03d}"))
        models.append(model.to(memory_format=torch.channels_last))
    losses = torch.empty(len(images), NUM_CHECKPOINTS)
    with torch.inference_mode():
        models[0](images[:BATCH_SIZE].float() / 255)
        started = time.perf_counter()
        for start in range(0, len(images), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            inputs = (images[part].float() / 255).contiguous(memory_format=torch.channels_last)
            for e, model in enumerate(models):
                loss = F.cross_entropy(model(inputs), targets[part], reduction="none")
                losses[part, e] = loss.flatten(1).mean(1) if loss.ndim > 1 else loss
    return losses.numpy(), time.perf_counter() - started


def _half(config: AuditConfig, folder: Path, half: int, barrier: Any, seconds: Any) -> None:
    work = WORKLOADS[config.name]
    images, targets = decoded(work, folder)
    part = slice(half * len(images) // 2, (half + 1) * len(images) // 2)
    barrier.wait()
    seconds.put(bare_loop(config, images[part], targets[part], 1)[1])


def two_processes(config: AuditConfig, folder: Path) -> float:
    """Seconds of two one-thread loops side by side, each over half of the images."""
    context = multiprocessing.get_context("spawn")
    barrier, seconds = context.Barrier(2), context.Queue()
    workers = [
        context.Process(target=_half, args=(config, folder, half, barrier, seconds))
        for half in range(2)
    ]
    for worker in workers:
        worker.start()
    slowest = max(seconds.get() for _ in workers)
    for worker in workers:
        worker.join()
    return slowest


class Timeline:
    """A reporter that remembers when the pools had done how many samples."""

    def __init__(self) -> None:
        self.points: list[tuple[float, int]] = []
        self._num_before = 0
        self._started = time.time()

    def phase(self, text: str) -> None:
        """Nothing to note."""

    def plan(self, plan: Any) -> None:
        """Nothing to note."""

    def progress(self, progress: Any) -> None:
        """Note the batch just committed, at the time of the pools' own clock."""
        num_samples = progress.num_samples - self._num_before
        self._num_before = progress.num_samples
        if num_samples:
            self.points.append((progress.probed_at_s, num_samples))

    def steady_rate(self) -> float:
        """Samples per second after the first quarter of the batches, when all pools are up."""
        points = sorted(self.points)
        first = len(points) // 4
        done = sum(num for _, num in points[first + 1 :])
        return done / (points[-1][0] - points[first][0])

    def start_up_s(self) -> float:
        """Seconds until the pools had done the first batch."""
        return min(self.points)[0] - self._started


def engine_rate(config: AuditConfig, **engine: Any) -> tuple[float, float, Any]:
    """Steady rate, start-up seconds and the outcome of a fresh run."""
    output = tempfile.mkdtemp(prefix="relay-")
    values = config.model_dump()
    values |= {"output": output, "engine": values["engine"] | engine}
    timeline = Timeline()
    outcome = run_audit(AuditConfig.parse(values), reporter=timeline)
    return timeline.steady_rate() * NUM_CHECKPOINTS, timeline.start_up_s(), outcome


def check(outcome: Any, losses: np.ndarray) -> None:
    """The engine must give the bare loop's numbers before its speed means anything."""
    table = outcome.manifest.table(outcome.run_uri, "trajectories").sort_by("sample_id")
    got = np.stack(table["loss"].to_numpy())
    if not np.allclose(got, losses, rtol=1e-3, atol=1e-4):
        raise SystemExit(f"the answers differ by {np.abs(got - losses).max()}")


def measure(work: Workload, repeats: int) -> Report:
    """Engine and bare loops in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = make_data(work, folder)
        images, targets = decoded(work, folder)
        losses, _ = bare_loop(config, images, targets, 2)
        total = len(images) * NUM_CHECKPOINTS
        rates: dict[str, list[float]] = {k: [] for k in ("one", "two", "engine", "strict", "up")}
        for _ in range(repeats):
            rates["one"].append(total / bare_loop(config, images, targets, 2)[1])
            rates["two"].append(total / two_processes(config, folder))
            rate, start_up_s, outcome = engine_rate(config)
            check(outcome, losses)
            rates["engine"].append(rate)
            rates["up"].append(start_up_s)
            rates["strict"].append(engine_rate(config, checkpoints_per_actor=1)[0])
    better = [max(pair) for pair in zip(rates["one"], rates["two"], strict=True)]
    per_s = "sample-checkpoints/s"
    return Report(
        f"relay-{work.name}",
        [
            Figure("bare loop, 1 process of 2 threads", per_s, tuple(rates["one"])),
            Figure("bare loop, 2 processes of 1 thread", per_s, tuple(rates["two"])),
            Figure("engine, the planner's choice", per_s, tuple(rates["engine"])),
            Figure("engine, one checkpoint a pool", per_s, tuple(rates["strict"])),
            Figure("engine / better bare loop", "", ratios(rates["engine"], better)),
            Figure("strict relay / better bare loop", "", ratios(rates["strict"], better)),
            Figure("start-up to the first batch", "s", tuple(rates["up"])),
        ],
        [
            f"{work.num_images} images of {work.size[1]}x{work.size[0]} px, {NUM_CHECKPOINTS} "
            f"checkpoints, model {work.model['factory']}",
            "answers checked: trajectories equal the bare loop's losses",
        ],
    )


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workload", choices=[*WORKLOADS, "all"], default="all")
    arguments = parser.parse_args()
    chosen = WORKLOADS if arguments.workload == "all" else [arguments.workload]
    import ray

    ray.init(include_dashboard=False, log_to_driver=False)
    for name in chosen:
        measure(WORKLOADS[name], arguments.repeats).publish()
    ray.shutdown()


if __name__ == "__main__":
    main()
