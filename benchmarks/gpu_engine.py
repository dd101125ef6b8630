"""The whole engine on a GPU against a bare bf16 forward loop over the same pixels.

Decoding, pools and commits as in any audit, for models of the size of ResNet-50 and ViT-B, from
JPEG files and from shards of pixels that need no decoding: checkpoints packed into one actor, into
two that share the GPU, and one a pool by fractions of it; with VoG and without. The bare loops read
tensors that are on the device already: one with weights in bf16, one under autocast, as the probes
compute. With `--local` in one process, which needs no Ray and has one actor.

    python -m benchmarks.gpu_engine [--models resnet50,vit_b] [--only "one actor"] [--local] \
        [--device cpu --tiny]
"""

import argparse
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.engine_runs import Measured, run_engine, start_ray
from benchmarks.gpu import NUM_CHECKPOINTS, NUM_CLASSES, Setting, bare_loops
from benchmarks.harness import Figure, Report, ratios
from benchmarks.plain_training import save_epoch
from ray_audit.checkpoints.factory import build_model
from ray_audit.config import AuditConfig

_NUM_PICTURES = 256  # distinct ones; the others are links to them
_BATCHES_PER_SHARD = 4
_JPEG, _SHARDS = "JPEG", "ready shards"
_TOLERANCE = 5e-2  # of the mean loss: bf16
_STRETCHES = 5  # of the steady part of a run, one figure each
_IN_ONE = {"checkpoints_per_actor": NUM_CHECKPOINTS, "actors_per_pool": 1}
_IN_TWO = {"checkpoints_per_actor": NUM_CHECKPOINTS, "actors_per_pool": 2, "num_gpus": 0.5}
_PLAIN, _WITH_VOG = ["csl"], ["csl", "vog"]
RUNS: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "ready shards, one actor": (_SHARDS, _PLAIN, _IN_ONE),
    "JPEG, one actor": (_JPEG, _PLAIN, _IN_ONE),
    "ready shards, one actor, with VoG": (_SHARDS, _WITH_VOG, _IN_ONE),
    "JPEG, 2 actors": (_JPEG, _PLAIN, _IN_TWO),
    "JPEG, 4 pools by fractions": (
        _JPEG,
        _PLAIN,
        {"checkpoints_per_actor": 1, "actors_per_pool": 1, "num_gpus": 0.25},
    ),
    "JPEG, 2 actors, with VoG": (_JPEG, _WITH_VOG, _IN_TWO),
    "JPEG, calibrated, with VoG": (_JPEG, _WITH_VOG, {"calibrate": True}),
}


def picture(path: Path, seed: int, side_px: int) -> None:
    """A JPEG of soft blobs, about as large as a photograph."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (side_px // 4, side_px // 4, 3), np.uint8))
    coarse.resize((side_px, side_px), Image.Resampling.BICUBIC).save(path, quality=90)


def pictures(folder: Path, num: int, setting: Setting) -> dict[str, Any]:
    """Photographs, a class each by folder; the section `dataset`."""
    (folder / "drawn").mkdir(parents=True)
    paths = [folder / "drawn" / f"{i}.jpg" for i in range(_NUM_PICTURES)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(picture, paths, range(_NUM_PICTURES), [setting.side_px] * _NUM_PICTURES))
    for index in range(num):
        parent = folder / "data" / f"c{index % NUM_CLASSES}"
        parent.mkdir(parents=True, exist_ok=True)
        os.link(paths[index % _NUM_PICTURES], parent / f"{index:06d}.jpg")
    return {"uri": f"{folder}/data/*/*.jpg", "labels": {"folder": True}}


def ready_shards(folder: Path, num: int, setting: Setting) -> dict[str, Any]:
    """Uncompressed uint8 pixels in npz files, all of them the same; the section `dataset`."""
    (folder / "data").mkdir(parents=True)
    each = setting.batch_size * _BATCHES_PER_SHARD
    side_px, rng = setting.side_px, np.random.default_rng(0)
    pixels = rng.integers(0, 256, (each, side_px, side_px, 3), np.uint8)
    first = folder / "data" / "000000.npz"
    np.savez(first, images=pixels, labels=np.arange(each) % NUM_CLASSES)
    for index in range(1, max(1, num // each)):
        os.link(first, folder / "data" / f"{index:06d}.npz")
    return {
        "uri": f"{folder}/data/*.npz",
        "labels": {"column": "labels", "image_column": "images"},
    }


SOURCES = {_JPEG: pictures, _SHARDS: ready_shards}


def make_data(folder: Path, name: str, source: str, num: int, setting: Setting) -> AuditConfig:
    """Pictures with classes, checkpoints; the specification."""
    where = SOURCES[source](folder / source.replace(" ", "-"), num, setting)
    config = AuditConfig.parse(
        {
            "dataset": {
                "kind": "images",
                "classes": [f"c{i}" for i in range(NUM_CLASSES)],
                **where,
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
    if (folder / "checkpoints").exists():
        return config
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


def runs_of(only: str, is_local: bool) -> dict[str, tuple[str, list[str], dict[str, Any]]]:
    """Those whose name has `only`; one process has one actor, and no pools."""
    return {
        what: run
        for what, run in RUNS.items()
        if only in what and (not is_local or run[2] is _IN_ONE)
    }


def measure(
    name: str, num: int, only: str, is_local: bool, setting: Setting
) -> tuple[list[Figure], list[str]]:
    """All figures of one model."""
    notes, unit = [], "image-checkpoints/s"
    configs: dict[str, AuditConfig] = {}
    firsts: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as folder:
        bare = bare_rates(name, setting)
        print(name, {way: [round(r) for r in rates] for way, rates in bare.items()}, flush=True)
        figures = [Figure(f"{name}: bare loop, {way}", unit, tuple(r)) for way, r in bare.items()]
        for what, (source, scores, engine) in runs_of(only, is_local).items():
            if source not in configs:
                configs[source] = make_data(Path(folder), name, source, num, setting)
            requested = AuditConfig.parse(configs[source].model_dump() | {"scores": scores})
            on_cpu = {"num_gpus": 0.0} if setting.device == "cpu" else {}
            measured = run_engine(requested, local=is_local, **(engine | on_cpu))
            check(measured, firsts.setdefault(source, measured))
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
    parser.add_argument("--local", action="store_true", help="in one process, without Ray")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="small models and pictures")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU: --device cpu --tiny tries the code without one")
    side_px = 32 if given.tiny else 224
    setting = Setting(given.device, given.batch_size, 8, 1, side_px, given.tiny)
    if not given.local:
        start_ray()
    device = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    about = (
        f"{device}; {given.samples} images of {side_px} px, batches of {given.batch_size}, "
        f"{NUM_CHECKPOINTS} checkpoints; spread: over {_STRETCHES} equal stretches of one run, "
        "every process up; targets: engine / bare at least 0.95 from ready shards, 0.85 from JPEG"
    )
    subject = "gpu-engine-local" if given.local else "gpu-engine"
    subject += "" if given.device == "cuda" else "-on-cpu"
    figures, notes = [], []
    for name in given.models.split(","):
        found, more = measure(name, given.samples, given.only, given.local, setting)
        figures += found
        notes += more
        # After each: the time on a machine that is lent may end.
        Report(subject, figures, [*notes, about]).publish(is_kept=given.device == "cuda")


if __name__ == "__main__":
    main()
