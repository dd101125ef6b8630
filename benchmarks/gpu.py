"""Probes on a GPU against a bare bf16 forward loop over the same tensors.

For models of the size of ResNet-50 and ViT-B: images per second of bare loops (with weights in
bf16, and under autocast, as the probes compute), of the probes, and of the probes with VoG;
several checkpoints packed into one process, and each in a process of its own that shares the GPU;
memory and utilisation; and whether the answers are the CPU's. Needs no Ray. `--device cpu --tiny`
tries every line of it where there is no GPU.

    python -m benchmarks.gpu [--repeats 5] [--models resnet50,vit_b] \
        [--batch-size 128] [--device cuda] [--tiny]
"""

import argparse
import contextlib
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from benchmarks.harness import Figure, Report, ratios
from benchmarks.large_models import resnet50, vit_b
from ray_audit.config import InputConfig
from ray_audit.probes.determinism import repeat_every_bit
from ray_audit.probes.prober import Prober, ProbeSettings, ProbeTurn
from ray_audit.samples import SAMPLE_SCHEMA, Batch
from ray_audit.task import Task

NUM_CLASSES = 100
NUM_CHECKPOINTS = 4
# Largest difference of a loss from the CPU's, as a share of the mean loss.
TOLERANCES = {"float32": 1e-3, "bf16": 5e-2}
_INPUT = InputConfig(mean=[0.45] * 3, std=[0.25] * 3)


@dataclass(frozen=True)
class Setting:
    """How a benchmark runs."""

    device: str
    batch_size: int
    num_batches: int
    repeats: int
    side_px: int
    tiny: bool

    def kwargs(self, name: str) -> dict[str, int]:
        """Arguments of a model's factory."""
        if name == "resnet50":
            return {"num_classes": NUM_CLASSES, "width": 8 if self.tiny else 64}
        sizes = {"width": 64, "depth": 2} if self.tiny else {}
        return {"num_classes": NUM_CLASSES, "side_px": self.side_px, **sizes}

    def models(self, name: str, num: int) -> list[nn.Module]:
        """Checkpoints with random weights, frozen, on the device."""
        made = []
        for seed in range(num):
            torch.manual_seed(seed)
            model = {"resnet50": resnet50, "vit_b": vit_b}[name](**self.kwargs(name))
            made.append(model.eval().requires_grad_(False).to(self.device))
        return made

    def batches(self) -> list[Batch]:
        """Images of noise with labels."""
        rng = np.random.default_rng(0)
        return [self._batch(rng) for _ in range(self.num_batches)]

    def _batch(self, rng: np.random.Generator) -> Batch:
        num = self.batch_size
        labels = rng.integers(0, NUM_CLASSES, num)
        columns = {
            "sample_id": [f"s{i}" for i in range(num)],
            "shard": ["noise"] * num,
            "frame_index": [None] * num,
            "pts_s": [None] * num,
            "label": labels.tolist(),
            "cut": list(range(num)),
            "position": [0] * num,
            "num_labelled": [1] * num,
            "sample_num_labelled": [1] * num,
        }
        inputs = rng.integers(0, 256, (num, 3, self.side_px, self.side_px), np.uint8)
        arrays = {"inputs": inputs, "targets": labels.astype(np.int8)}
        return Batch("unit", 0, Task.CLASS, pa.table(columns, schema=SAMPLE_SCHEMA), arrays)

    def tensors(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """What a bare loop reads: on the device, in the layout that is fastest."""
        shape = (self.batch_size, 3, self.side_px, self.side_px)
        made = [torch.rand(shape, device=self.device) for _ in range(self.num_batches)]
        return [x.to(dtype).contiguous(memory_format=torch.channels_last) for x in made]

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def timed_s(self, work: Callable[[], Any]) -> float:
        """Seconds of some work, the device's part included."""
        self.wait()
        started = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - started


def make_prober(models: list[nn.Module], setting: Setting, precision: str = "bf16") -> Prober:
    """A prober over checkpoints."""
    settings = ProbeSettings(NUM_CLASSES, _INPUT, None, "loss", 0.1, precision)
    return Prober(models, settings, torch.device(setting.device))


def probe(prober: Prober, batches: list[Batch], num: int, with_vog: bool) -> list[Any]:
    """What all batches carry in the end."""
    turns = {i: ProbeTurn(is_final=False, in_window=with_vog) for i in range(num)}
    return [prober.observe(batch, turns) for batch in batches]


def bare_loops(name: str, setting: Setting) -> dict[str, Callable[[], None]]:
    """Forward passes in bf16 of tensors that are on the device already, and nothing else."""
    loops = {}
    for way, dtype in (("bf16 weights", torch.bfloat16), ("bf16 autocast", torch.float32)):
        models = [
            model.to(dtype).to(memory_format=torch.channels_last)
            for model in setting.models(name, NUM_CHECKPOINTS)
        ]
        autocasts = dtype == torch.float32
        loops[way] = partial(_forward, models, setting.tensors(dtype), setting.device, autocasts)
    return loops


@torch.inference_mode()
def _forward(
    models: list[nn.Module], tensors: list[torch.Tensor], device: str, autocasts: bool
) -> None:
    for x in tensors:
        for model in models:
            with torch.autocast(device, torch.bfloat16, enabled=autocasts):
                model(x)


def check(name: str, setting: Setting) -> str:
    """Hold the losses against those of the CPU."""
    few = Setting("cpu", min(8, setting.batch_size), 1, 1, setting.side_px, setting.tiny)
    expected = probe(make_prober(few.models(name, 1), few, "float32"), few.batches(), 1, False)
    loss = expected[0]["trajectory/loss"]
    worst = {}
    for precision, tolerance in TOLERANCES.items():
        models = setting.models(name, 1)
        actual = probe(make_prober(models, setting, precision), few.batches(), 1, False)
        worst[precision] = float(np.abs(actual[0]["trajectory/loss"] - loss).max() / loss.mean())
        if worst[precision] > tolerance:
            raise SystemExit(f"{name}, {precision}: losses differ by {worst[precision]:.3g}")
    shown = ", ".join(f"{precision} {value:.2g}" for precision, value in worst.items())
    return f"{name}: largest difference of a loss from the CPU's float32, of the mean loss: {shown}"


def measure(name: str, setting: Setting) -> tuple[list[Figure], list[str]]:
    """All figures of one model."""
    notes = [check(name, setting)]
    batches = setting.batches()
    num_images = setting.batch_size * len(batches) * NUM_CHECKPOINTS
    prober = make_prober(setting.models(name, NUM_CHECKPOINTS), setting)
    ways: dict[str, Callable[[], Any]] = {
        **{f"bare, {way}": loop for way, loop in bare_loops(name, setting).items()},
        "probes": lambda: probe(prober, batches, NUM_CHECKPOINTS, False),
        "vog": lambda: probe(prober, batches, NUM_CHECKPOINTS, True),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for work in ways.values():
        work()  # warms up
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    used = []
    for _ in range(setting.repeats):
        for way, work in ways.items():
            seconds[way].append(setting.timed_s(work))
            used.append(_utilisation(setting))
            print(f"{name}: {way}: {seconds[way][-1]:.3g} s", flush=True)
    if setting.device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
        notes.append(f"{name}: {peak:.2f} GiB at most, {NUM_CHECKPOINTS} checkpoints in 1 process")
    if any(value is not None for value in used):
        notes.append(f"{name}: utilisation after each run {sorted(set(used))} %")
    shared = shared_s(name, setting)
    rates = {way: tuple(num_images / s for s in taken) for way, taken in seconds.items()}
    rates |= {"a process a checkpoint": tuple(num_images / s for s in shared)}
    figures = [Figure(f"{name}: {way}", "image-checkpoints/s", r) for way, r in rates.items()]
    figures += [
        Figure(f"{name}: probes / {way}", "", ratios(rates["probes"], rates[way]))
        for way in ways
        if way.startswith("bare")
    ]
    return [
        *figures,
        Figure(f"{name}: VoG's cost / forward's", "", ratios(seconds["vog"], seconds["probes"])),
        Figure(f"{name}: processes / packed", "", ratios(seconds["probes"], shared)),
    ], notes


def _utilisation(setting: Setting) -> int | None:
    """Of the GPU in the last moments, in percent; None where nothing tells."""
    if setting.device == "cuda":
        with contextlib.suppress(Exception):  # needs a library of NVIDIA's that may be absent
            return int(torch.cuda.utilization())
    return None


def _one_process(name: str, setting: Setting, barrier: Any, seconds: Any) -> None:
    torch.set_num_threads(1)
    repeat_every_bit()
    prober = make_prober(setting.models(name, 1), setting)
    batches = setting.batches()
    probe(prober, batches, 1, False)
    for _ in range(setting.repeats):
        barrier.wait()
        seconds.put(setting.timed_s(lambda: probe(prober, batches, 1, False)))
        barrier.wait()


def shared_s(name: str, setting: Setting) -> list[float]:
    """Seconds of the slowest of several processes that share the device, a checkpoint each."""
    context = multiprocessing.get_context("spawn")
    barrier, seconds = context.Barrier(NUM_CHECKPOINTS), context.Queue()
    arguments = (name, setting, barrier, seconds)
    workers = [context.Process(target=_one_process, args=arguments) for _ in range(NUM_CHECKPOINTS)]
    for worker in workers:
        worker.start()
    slowest: list[float] = [
        max(seconds.get(timeout=600) for _ in workers) for _ in range(setting.repeats)
    ]
    for worker in workers:
        worker.join()
    return slowest


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", default="resnet50,vit_b")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="small models and pictures")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU: --device cpu --tiny tries the code without one")
    side_px = 32 if given.tiny else 224
    setting = Setting(
        given.device, given.batch_size, given.batches, given.repeats, side_px, given.tiny
    )
    if given.device == "cuda":
        repeat_every_bit()  # as an actor does; the bare loops run under the same settings
    device = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    about = (
        f"{device}; batches of {given.batch_size} images of {side_px} px, {NUM_CHECKPOINTS} "
        "checkpoints; targets: probes / bare loop at least 0.95, VoG / forward at most 2.2"
    )
    figures, notes = [], []
    for name in given.models.split(","):
        found, more = measure(name, setting)
        figures += found
        notes += more
        # After each: the time on a machine that is lent may end.
        report = Report("gpu" if given.device == "cuda" else "gpu-on-cpu", figures, [*notes, about])
        report.publish(is_kept=given.device == "cuda")


if __name__ == "__main__":
    main()
