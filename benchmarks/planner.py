"""The planner's choice against a sweep of layouts, each run by the engine.

Three workloads: a small model on large frames, a large model on small frames, and the latter with
VoG. Seconds of a whole run, start-up included, of each layout and of the calibrated planner, in
turn. The target: the choice within 10% of the fastest.

    python -m benchmarks.planner [--repeats 3] [--quick]
"""

import argparse
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.harness import Figure, Report, ratios
from benchmarks.plain_training import save_epoch
from ray_audit.checkpoints.factory import build_model
from ray_audit.config import AuditConfig
from ray_audit.engine.run.audit import run_audit

NUM_CHECKPOINTS = 6
NUM_CLASSES = 10
CHOICE = "the planner's choice"
LAYOUTS: dict[str, dict[str, Any]] = {
    "1 hop of 1 actor": {"checkpoints_per_actor": NUM_CHECKPOINTS, "actors_per_pool": 1},
    "1 hop of 2 actors": {"checkpoints_per_actor": NUM_CHECKPOINTS, "actors_per_pool": 2},
    "2 hops of 1 actor": {"checkpoints_per_actor": 3, "actors_per_pool": 1},
    "6 hops of 1 actor": {"checkpoints_per_actor": 1, "actors_per_pool": 1},
    "the plan without calibration": {"checkpoints_per_actor": "auto", "actors_per_pool": "auto"},
    CHOICE: {"calibrate": True},
}


@dataclass(frozen=True)
class Workload:
    """Images of noise and a model of a width."""

    name: str
    num_images: int
    side_px: int
    width: int
    scores: tuple[str, ...]


WORKLOADS = (
    Workload("small model, large frames", 192, 384, 4, ("csl",)),
    Workload("large model, small frames", 480, 64, 48, ("csl",)),
    Workload("large model, small frames, VoG", 240, 64, 48, ("csl", "vog")),
)


def make_data(work: Workload, folder: Path) -> AuditConfig:
    """Write images in class folders, and checkpoints."""
    rng = np.random.default_rng(0)
    for index in range(work.num_images):
        pixels = rng.integers(0, 256, (work.side_px, work.side_px, 3), np.uint8)
        parent = folder / "data" / f"c{index % NUM_CLASSES}"
        parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(parent / f"{index:05d}.jpg", quality=80)
    config = AuditConfig.parse(
        {
            "name": "planner",
            "dataset": {
                "kind": "images",
                "uri": f"{folder}/data/*/*.jpg",
                "labels": {"folder": True},
                "classes": [f"c{i}" for i in range(NUM_CLASSES)],
            },
            "model": {
                "factory": "ray_audit.training.models:small_cnn",
                "kwargs": {"num_classes": NUM_CLASSES, "width": work.width},
            },
            "checkpoints": f"{folder}/checkpoints/*.safetensors",
            "scores": list(work.scores),
            "output": f"{folder}/out",
        }
    )
    for epoch in range(NUM_CHECKPOINTS):
        torch.manual_seed(epoch)
        save_epoch(build_model(config.model), folder / "checkpoints", epoch + 1)
    return config


def run_s(config: AuditConfig, engine: dict[str, Any]) -> tuple[float, Any]:
    """Seconds of a fresh run, and its outcome."""
    shutil.rmtree(config.output, ignore_errors=True)
    values = config.model_dump()
    values["engine"] |= engine
    started = time.monotonic()
    outcome = run_audit(AuditConfig.parse(values))
    return time.monotonic() - started, outcome


def measure(work: Workload, repeats: int) -> tuple[list[Figure], str]:
    """Every layout in turn, and a sentence on what was chosen."""
    seconds: dict[str, list[float]] = {name: [] for name in LAYOUTS}
    answer, chosen = None, ""
    with tempfile.TemporaryDirectory() as name:
        config = make_data(work, Path(name))
        for _ in range(repeats):
            for layout, engine in LAYOUTS.items():
                took_s, outcome = run_s(config, engine)
                seconds[layout].append(took_s)
                table = outcome.manifest.table(outcome.run_uri, "scores", ["sample_id", "csl"])
                table = table.sort_by("sample_id")
                if answer is not None and not table.equals(answer):
                    raise SystemExit(f"{work.name}, {layout}: the answer differs")
                answer = table
                if layout == CHOICE:
                    plan = outcome.manifest.plan
                    chosen = f"{len(plan['hops'])} hop(s) of {plan['actors_per_pool']} actor(s)"
    fixed = [name for name in LAYOUTS if name != CHOICE]
    fastest = [min(seconds[name][i] for name in fixed) for i in range(repeats)]
    figures = [Figure(f"{work.name}: {n}", "s", tuple(s)) for n, s in seconds.items()]
    quotient = ratios(seconds[CHOICE], fastest)
    figures.append(Figure(f"{work.name}: choice / fastest", "times", quotient))
    return figures, f"{work.name}: chosen were {chosen}"


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one repeat")
    arguments = parser.parse_args()
    import ray

    ray.init(include_dashboard=False, log_to_driver=False)
    measured = [measure(work, 1 if arguments.quick else arguments.repeats) for work in WORKLOADS]
    ray.shutdown()
    figures = [figure for found, _ in measured for figure in found]
    notes = [sentence for _, sentence in measured]
    notes += [
        "whole runs, with the start of their processes and, of the choice, its calibration",
        "answers checked: every layout gives the same table",
    ]
    Report("planner", figures, notes).publish()


if __name__ == "__main__":
    main()
