"""VoG against a batched loop of input gradients, and against the textbook form.

The loop: frozen parameters, one backward a batch, moments. The textbook form: for each sample a
backward through the parameters too, all gradients kept, reduced at the end. One thread, the probe
as an actor runs it, batches made beforehand; CPU time, the forms in turn. Memory: by how much a
process grows with 2 and with 16 checkpoints of the same size.

    python -m benchmarks.vog [--repeats 5] [--quick]
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.bare import as_input, bare_vog, load_models
from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.processes import peak_bytes, reset_peak
from benchmarks.sets import Workload, decoded, make_data, model
from ray_audit.config import AuditConfig
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.backends.stages import StageSettings, decode_unit
from ray_audit.engine.backends.wire import Crate
from ray_audit.engine.backends.worker import PoolWorker
from ray_audit.engine.planning.plan import make_plan, read_inputs
from ray_audit.scores.vog import vog_from_gradients

BATCH = 32
WIDTHS = (8, 32, 64)
NUM_TEXTBOOK = 16  # samples of the textbook form, which is slow
MEMORY_CHECKPOINTS = (2, 16)
_DAY = "2026-01-31"


def workload(width: int, num_images: int, num_checkpoints: int) -> Workload:
    """A small CNN of a width."""
    cnn = model("small_cnn", 10, width=width)
    return Workload("vog", "images", num_images, (64, 64), 10, cnn, num_checkpoints)


def written(work: Workload, folder: Path) -> AuditConfig:
    """The dataset, with VoG asked for and the batch size of the loop."""
    extra = {"scores": ["csl", "vog"], "engine": {"batch_size": BATCH}}
    return make_data(replace(work, extra=extra), folder)


class Ours:
    """An actor that holds all checkpoints, and the crates of a dataset, ready."""

    def __init__(self, config: AuditConfig, folder: Path, num_checkpoints: int) -> None:
        inputs = read_inputs(config, folder / "index", None, _DAY)
        plan = make_plan(inputs, LocalBackend().resources())
        settings = StageSettings(
            config, inputs.checkpoints, inputs.required, str(folder / "index"), "cpu"
        )
        self._pool = PoolWorker(settings, tuple(range(num_checkpoints)), is_last=True)
        self._crates: list[Crate] = [
            crate for work in plan.work for crate in decode_unit(settings, work)
        ]

    def run(self) -> np.ndarray:
        """VoG of every sample, in key order."""
        done = [self._pool.process(crate) for crate in self._crates]
        arrays = [envelope.item.arrays for crate in done for envelope in crate.batches]
        return np.concatenate([array["vog/sum"] / array["vog/num_px"] for array in arrays])


def textbook(models: list[nn.Module], inputs: Tensor, targets: Tensor) -> np.ndarray:
    """VoG (N,): a backward a sample, parameters included, and every gradient kept."""
    kept = []
    for net in models:
        net.requires_grad_(True)
        of_checkpoint = []
        for n in range(len(inputs)):
            leaf = as_input(inputs[n : n + 1]).requires_grad_()
            F.cross_entropy(net(leaf), targets[n : n + 1]).backward()
            of_checkpoint.append(leaf.grad[0].numpy().copy())
            net.zero_grad()
        kept.append(np.stack(of_checkpoint))
        net.requires_grad_(False)
    return np.asarray(vog_from_gradients(np.stack(kept), channel_axis=2))


def cpu_of(function: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """What it gives, and its CPU seconds."""
    started = time.process_time()
    answer = function()
    return answer, time.process_time() - started


def figures_of(width: int, num_images: int, repeats: int) -> list[Figure]:
    """The three forms for a model."""
    work = workload(width, num_images, 4)
    few = slice(0, NUM_TEXTBOOK)
    loop, ours, book = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = written(work, folder)
        inputs, targets = decoded(work, folder)
        models = load_models(config, work.num_checkpoints)
        mine = Ours(config, folder, work.num_checkpoints)
        mine.run()
        for _ in range(repeats):
            expected, seconds = cpu_of(lambda: bare_vog(models, inputs, targets, BATCH, 1)[0])
            loop.append(seconds / len(inputs))
            actual, seconds = cpu_of(mine.run)
            ours.append(seconds / len(inputs))
            kept, seconds = cpu_of(lambda: textbook(models, inputs[few], targets[few]))
            book.append(seconds / NUM_TEXTBOOK)
            for answer, right in ((actual, expected), (kept, expected[few])):
                if not np.allclose(answer, right, rtol=1e-3, atol=1e-7):
                    raise SystemExit(f"the answers differ by {np.abs(answer - right).max()}")
    num = sum(p.numel() for p in models[0].parameters())
    who = f"{num:,} parameters, "
    each = [
        tuple(1000 * s / work.num_checkpoints for s in seconds) for seconds in (loop, ours, book)
    ]
    unit = "ms/sample/checkpoint"
    return [
        Figure(f"{who}batched loop", unit, each[0]),
        Figure(f"{who}ours", unit, each[1]),
        Figure(f"{who}textbook form", unit, each[2]),
        Figure(f"{who}ours / batched loop", "", ratios(ours, loop)),
        Figure(f"{who}textbook form / ours", "", ratios(book, ours)),
    ]


def grown_bytes(form: str, num_checkpoints: int) -> int:
    """By how much this process grows beyond its models and inputs."""
    work = workload(8, 64, num_checkpoints)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = written(work, folder)
        if form == "ours":
            run = Ours(config, folder, num_checkpoints).run
        else:
            inputs, targets = decoded(work, folder)
            models = load_models(config, num_checkpoints)

            def run() -> np.ndarray:
                return textbook(models, inputs, targets)

        reset_peak()
        before = peak_bytes()
        run()
        return peak_bytes() - before


def memory_figures(repeats: int) -> list[Figure]:
    """Growth in a process of its own, by number of checkpoints."""
    figures = []
    for form, named in (("ours", "ours"), ("textbook", "textbook form")):
        for num in MEMORY_CHECKPOINTS:
            command = [sys.executable, "-m", "benchmarks.vog", "--only", form, "--of", str(num)]
            grown = [
                json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
                for _ in range(repeats)
            ]
            values = tuple(num_bytes / 2**20 for num_bytes in grown)
            figures.append(Figure(f"memory, {named}, {num} checkpoints", "MiB", values))
    return figures


def main() -> None:
    """Run and publish."""
    options = parser(__doc__)
    options.add_argument("--only", choices=["ours", "textbook"], help="measure memory of one form")
    options.add_argument("--of", type=int, help="checkpoints, with --only")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    if chosen.only:
        print(grown_bytes(chosen.only, chosen.of))
        return
    num_images = 64 if chosen.quick else 256
    widths = WIDTHS[:1] if chosen.quick else WIDTHS
    figures = [
        figure for width in widths for figure in figures_of(width, num_images, chosen.repeats)
    ]
    figures += memory_figures(min(chosen.repeats, 5))
    notes = [
        f"small CNN of widths {', '.join(map(str, WIDTHS))} on {num_images} images of 64x64 px, 4 "
        f"checkpoints, batches of {BATCH}; the textbook form on {NUM_TEXTBOOK} of them",
        "answers compared; ours also computes losses, margins and the other columns of a record",
        "memory beyond models and decoded inputs: 64 images, width 8",
    ]
    Report("vog", figures, notes).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
