"""The whole engine on a GPU against a bare bf16 forward loop over the same pixels.

Ray, decoding, pools and commits as in any audit, for models of the size of ResNet-50 and ViT-B:
checkpoints packed into one actor, into two that share the GPU, and one a pool by fractions of it;
with VoG and without. The bare loops read tensors that are on the device already: one with weights
in bf16, one under autocast, as the probes compute.

    python -m benchmarks.gpu_engine [--models resnet50,vit_b] \
        [--device cpu --tiny]
"""

import argparse
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from PIL import Image

from benchmarks.engine_runs import Measured, run_engine, start_ray
from benchmarks.gpu import NUM_CHECKPOINTS, NUM_CLASSES, Setting, bare_loops
from benchmarks.harness import Figure, Report, ratios
from benchmarks.plain_training import save_epoch
from ray_audit.checkpoints.factory import build_model
from ray_audit.config import AuditConfig

_NUM_PICTURES = 256  # distinct ones; the others are links to them
_TOLERANCE = 5e-2  # of the mean loss: bf16
_STRETCHES = 5  # of the steady part of a run, one figure each
_IN_TWO = {"checkpoints_per_actor": NUM_CHECKPOINTS, "actors_per_pool": 2, "num_gpus": 0.5}
_PLAIN, _WITH_VOG = ["csl"], ["csl", "vog"]
RUNS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "the planner's choice": (_PLAIN, {}),
    "packed in 2 actors": (_PLAIN, _IN_TWO),
    "4 pools by fractions": (_PLAIN, {"checkpoints_per_actor": 1, "num_gpus": 0.25}),
    "the planner's choice, with VoG": (_WITH_VOG, {}),
    "packed in 2 actors, with VoG": (_WITH_VOG, _IN_TWO),
    "calibrated, with VoG": (_WITH_VOG, {"calibrate": True}),
}


def picture(path: Path, seed: int, side_px: int) -> None:
    """A JPEG of soft blobs, about as large as a photograph."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (side_px // 4, side_px // 4, 3), np.uint8))
    coarse.resize((side_px, side_px), Image.Resampling.BICUBIC).save(path, quality=90)


def make_data(folder: Path, name: str, num: int, setting: Setting) -> AuditConfig:
    """Pictures, a class each by folder, checkpoints; the specification."""
    (folder / "drawn").mkdir(parents=True)
    paths = [folder / "drawn" / f"{i}.jpg" for i in range(_NUM_PICTURES)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(picture, paths, range(_NUM_PICTURES), [setting.side_px] * _NUM_PICTURES))
    for index in range(num):
        parent = folder / "data" / f"c{index % NUM_CLASSES}"
        parent.mkdir(parents=True, exist_ok=True)
        os.link(paths[index % _NUM_PICTURES], parent / f"{index:06d}.jpg")
    config = AuditConfig.parse(
        {
            "dataset": {
                "kind": "images",
                "uri": f"{folder}/data/*/*.jpg",
                "labels": {"folder": True},
                "classes": [f"c{i}" for i in range(NUM_CLASSES)],
            },
            "model": {
                "factory": f"benchmarks.large_models:{name}",
                "kwargs": setting.kwargs(name),
                "input": {"mean": [0.45] * 3, "std": [0.25] * 3},
            },
            "checkpoints": f"{folder}/checkpoints/*.safetensors",
            "engine": {"batch_size": setting.batch_size, "precision": "bf16"},
            "output": f"{folder}/out",
        }
    )
    for epoch in range(NUM_CHECKPOINTS):
        torch.manual_seed(epoch)
        save_epoch(build_model(config.model), folder / "checkpoints", epoch + 1)
    return config


def bare_rates(name: str, setting: Setting) -> dict[str, list[float]]:
    """Image-checkpoints per second of the bare loops."""
    num = setting.batch_size * setting.num_batches * NUM_CHECKPOINTS
    rates = {}
    for way, loop in bare_loops(name, setting).items():
        loop()  # warms up
        rates[way] = [num / setting.timed_s(loop) for _ in range(_STRETCHES)]
    if setting.device == "cuda":
        torch.cuda.empty_cache()  # the actors want it
    return rates


def check(measured: Measured, expected: Measured) -> None:
    """All layouts must agree before their speed means anything."""
    first, other = (
        np.stack(m.tables["trajectories"]["loss"].to_numpy()) for m in (measured, expected)
    )
    worst = np.abs(first - other).max() / other.mean()
    if not worst <= _TOLERANCE:
        raise SystemExit(f"losses of two layouts differ by {worst:.3g} of the mean loss")


def measure(name: str, num: int, only: str, setting: Setting) -> tuple[list[Figure], list[str]]:
    """All figures of one model."""
    first, notes, unit = None, [], "image-checkpoints/s"
    with tempfile.TemporaryDirectory() as folder:
        config = make_data(Path(folder), name, num, setting)
        bare = bare_rates(name, setting)
        print(name, {way: [round(r) for r in rates] for way, rates in bare.items()}, flush=True)
        figures = [Figure(f"{name}: bare loop, {way}", unit, tuple(r)) for way, r in bare.items()]
        for what, (scores, engine) in RUNS.items():
            if only not in what:
                continue
            requested = AuditConfig.parse(config.model_dump() | {"scores": scores})
            on_cpu = {"num_gpus": 0.0} if setting.device == "cpu" else {}
            measured = run_engine(requested, **(engine | on_cpu))
            first = first or measured
            check(measured, first)
            rates = [r * NUM_CHECKPOINTS for r in measured.timeline.rates(_STRETCHES)]
            figures.append(Figure(f"{name}: {what}", unit, tuple(rates)))
            for way, baseline in bare.items():
                quotients = ratios(rates, baseline)
                figures.append(Figure(f"{name}: {what} / bare, {way}", "", quotients))
            plan = measured.outcome.manifest.plan
            notes.append(
                f"{name}: {what}: start-up {measured.start_up_s:.3g} s, all "
                f"{measured.whole_s:.3g} s; {'; '.join(plan['reasons'])}"
            )
            print(notes[-1], [round(r) for r in rates], flush=True)
    return figures, notes


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="resnet50,vit_b")
    parser.add_argument("--samples", type=int, default=12_800)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--only", default="", help="runs whose name has this")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="small models and pictures")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU: --device cpu --tiny tries the code without one")
    side_px = 32 if given.tiny else 224
    setting = Setting(given.device, given.batch_size, 8, 1, side_px, given.tiny)
    start_ray()
    figures, notes = [], []
    for name in given.models.split(","):
        found, more = measure(name, given.samples, given.only, setting)
        figures += found
        notes += more
    ray.shutdown()
    device = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    notes.append(
        f"{device}; {given.samples} JPEGs of {side_px} px, batches of {given.batch_size}, "
        f"{NUM_CHECKPOINTS} checkpoints; spread: over {_STRETCHES} equal stretches of one run, "
        "every process up; target: engine / bare at least 0.9"
    )
    report = Report("gpu-engine" if given.device == "cuda" else "gpu-engine-on-cpu", figures, notes)
    report.publish(is_kept=given.device == "cuda")


if __name__ == "__main__":
    main()
