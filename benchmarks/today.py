"""An audit against the way it is done today, both beside the limit.

Today: for each checkpoint load it, decode and predict the whole set, keep the probabilities, and
rank the samples by cleanlab; after the last, cleanlab's filter. The limit is a bare loop of
forward passes over decoded tensors. Each measurement is a process of its own; the forms take turns.

    python -m benchmarks.today [--repeats 5] [--workload masks|frames|frames-long] [--quick]
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.bare import BATCH_INPUTS, as_input, bare_loop, load_models, two_processes
from benchmarks.engine_runs import Measured, check_losses, run_engine, start_ray
from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.processes import MemoryWatch
from benchmarks.sets import Workload, decoded, decoded_parts, make_data, model
from ray_audit.checkpoints.factory import build_model
from ray_audit.checkpoints.loading import load_weights
from ray_audit.config import AuditConfig

_UNET, _VIT = model("unet", 12, width=16), model("frame_transformer", 10, width=128)
WORKLOADS = {
    "masks": Workload("masks", "masks", 256, (120, 160), 12, _UNET, num_checkpoints=8),
    "frames": Workload("frames", "frames", 1024, (360, 640), 10, _VIT, 8, (112, 112)),
    # Four times as many, to tell what grows with a set from what does not.
    "frames-long": Workload("frames-long", "frames", 4096, (360, 640), 10, _VIT, 8, (112, 112)),
}
_QUICK = {
    "masks": {"num_samples": 1280, "num_checkpoints": 2, "size": (40, 60)},
    "frames": {"num_samples": 384, "num_checkpoints": 2, "size": (120, 160)},
    "frames-long": {"num_samples": 768, "num_checkpoints": 2, "size": (120, 160)},
}
_SMALLER = 4  # the set at which memory is measured again
_MEMORY_REPEATS = 3
_FEWEST_CRATES = 8  # of a set that tells a pace
_CONFIG, _LOSSES, _SOFTMIN = "config.json", "losses.npy", "softmin.npy"


def todays_route(config: AuditConfig, work: Workload, folder: Path) -> dict[str, Any]:
    """What people run: seconds, bytes decoded; losses (N, E) and last scores go to `folder`."""
    losses, num_bytes = [], 0
    p = labels = scores = np.empty(0)
    started = time.perf_counter()
    for epoch in range(work.num_checkpoints):
        net = build_model(config.model)
        load_weights(net, config.checkpoints.replace("*", f"epoch_{epoch + 1:03d}"))
        probabilities, given = [], []
        with torch.inference_mode():
            for inputs, targets in _batches(work, folder):
                logits = net(as_input(inputs))
                flat = logits.flatten(0, 1) if logits.ndim == 3 else logits
                probabilities.append(torch.softmax(flat, dim=1).numpy())
                given.append(targets.flatten() if logits.ndim == 3 else targets)
        p, labels = np.concatenate(probabilities), np.concatenate(given)
        num_bytes += 3 * work.num_samples * work.size[0] * work.size[1]
        scores = _rank(work, labels, p)
        losses.append(_losses(labels, p))
    _filter(work, labels, p)
    seconds = time.perf_counter() - started
    np.save(folder / _LOSSES, np.stack(losses, axis=1))
    np.save(folder / _SOFTMIN, scores)
    return {"seconds": seconds, "bytes_decoded": num_bytes}


def _batches(work: Workload, folder: Path) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    parts = decoded_parts(work, folder)
    while few := list(islice(parts, BATCH_INPUTS[work.kind])):
        inputs, targets = zip(*few, strict=True)
        yield torch.from_numpy(np.stack(inputs)), np.stack(targets).astype(np.int64)


def _rank(work: Workload, labels: np.ndarray, p: np.ndarray) -> np.ndarray:
    if work.kind == "masks":
        from cleanlab.segmentation.rank import get_label_quality_scores

        return np.asarray(get_label_quality_scores(labels, p, verbose=False)[0])
    from cleanlab.rank import get_label_quality_scores as rank_rows

    return np.asarray(rank_rows(labels, p))


def _filter(work: Workload, labels: np.ndarray, p: np.ndarray) -> None:
    # In one process: by default it starts one a core, and was seen to take many times as long.
    if work.kind == "masks":
        from cleanlab.segmentation.filter import find_label_issues

        find_label_issues(labels, p, n_jobs=1, verbose=False)
        return
    from cleanlab.filter import find_label_issues as filter_rows

    filter_rows(labels, p, n_jobs=1)


def _losses(labels: np.ndarray, p: np.ndarray) -> np.ndarray:
    """To compare with; a small part of the time."""
    p_label = np.take_along_axis(p, labels[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(p_label).reshape(len(p), -1).mean(axis=1))


def bare(config: AuditConfig, work: Workload, folder: Path) -> dict[str, Any]:
    """The limit: tensors decoded beforehand, one process of two threads."""
    inputs, targets = decoded(work, folder)
    models = load_models(config, work.num_checkpoints)
    losses, seconds = bare_loop(models, inputs, targets, BATCH_INPUTS[work.kind], 2)
    np.save(folder / _LOSSES, losses)
    return {"seconds": seconds}


def engine(config: AuditConfig, work: Workload, folder: Path) -> dict[str, Any]:
    """Ours on Ray; answers compared with the losses that the others left."""
    start_ray()
    return _compared(run_engine(config), work, folder)


def one_process(config: AuditConfig, work: Workload, folder: Path) -> dict[str, Any]:
    """Ours in one process, likewise; with the threads that today's route has."""
    num_threads = torch.get_num_threads()
    measured = run_engine(config, local=True, threads_per_actor=num_threads)
    return _compared(measured, work, folder)


def _compared(measured: Measured, work: Workload, folder: Path) -> dict[str, Any]:
    if (folder / _LOSSES).exists():
        check_losses(measured, np.load(folder / _LOSSES))
    if work.kind == "masks" and (folder / _SOFTMIN).exists():
        actual, expected = measured.tables["scores"]["softmin"], np.load(folder / _SOFTMIN)
        if not np.allclose(actual.to_numpy(), expected, atol=1e-3):
            raise SystemExit("soft-min differs from cleanlab's")
    points = measured.timeline.points
    num_decoded = measured.outcome.manifest.timing["num_decoded"]
    return {
        "rate": measured.samples_per_s if len(points) >= _FEWEST_CRATES else None,
        "start_up_s": measured.start_up_s,
        "whole_s": measured.whole_s,
        "bytes_decoded": 3 * num_decoded * work.size[0] * work.size[1],
    }


FORMS = {"today": todays_route, "bare": bare, "engine": engine, "local": one_process}


def in_own_process(form: str, folder: Path, work: Workload) -> dict[str, Any]:
    """One form on a folder, in a fresh process; what it gives, and its peak of memory."""
    command = [sys.executable, "-m", "benchmarks.today", "--only", form, "--data", str(folder)]
    command += ["--workload", work.name, "--samples", str(work.num_samples)]
    command += ["--checkpoints", str(work.num_checkpoints), "--size", *map(str, work.size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _run_once(form: str, folder: Path, work: Workload) -> dict[str, Any]:
    config = AuditConfig.parse(json.loads((folder / _CONFIG).read_text(encoding="utf-8")))
    watch = MemoryWatch()
    watch.start()
    result = FORMS[form](config, work, folder)
    watch.stop()
    return result | {"memory": watch.sum_bytes}


def _written(work: Workload, folder: Path) -> AuditConfig:
    config = make_data(work, folder)
    text = json.dumps(config.model_dump(mode="json"))
    (folder / _CONFIG).write_text(text, encoding="utf-8")
    return config


def measure(work: Workload, repeats: int) -> Report:
    """All forms in turn; memory also on a set of a quarter of the size."""
    runs: list[dict[str, Any]] = []
    small: list[dict[str, Any]] = []
    smaller = replace(work, num_samples=work.num_samples // _SMALLER)
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as small_name:
        folder, small_folder = Path(name), Path(small_name)
        config = _written(work, folder)
        _written(smaller, small_folder)
        for number in range(repeats):
            run = {form: in_own_process(form, folder, work) for form in FORMS}
            run["two"] = {"seconds": two_processes("forward", config, work, folder)}
            runs.append(run)
            if number < _MEMORY_REPEATS:
                forms = ("today", "engine", "local")
                small.append({f: in_own_process(f, small_folder, smaller) for f in forms})
    notes = [work.described, "answers checked: losses of every checkpoint, cleanlab's soft-min"]
    return Report(f"today-{work.name}", _figures(work, runs, small), notes)


def _figures(
    work: Workload, runs: list[dict[str, Any]], small: list[dict[str, Any]]
) -> list[Figure]:
    one = [run["bare"]["seconds"] for run in runs]
    two = [run["two"]["seconds"] for run in runs]
    limit = [min(pair) for pair in zip(one, two, strict=True)]
    today = [run["today"]["seconds"] for run in runs]
    ours = [work.num_samples / run["engine"]["rate"] for run in runs]
    whole = [run["engine"]["whole_s"] for run in runs]
    local = [run["local"]["whole_s"] for run in runs]

    def memory(form: str, of: list[dict[str, Any]]) -> tuple[float, ...]:
        return tuple(run[form]["memory"] / 2**20 for run in of)

    def decoded_mb(form: str) -> tuple[float, ...]:
        return tuple(run[form]["bytes_decoded"] / 2**20 for run in runs)

    num, few = work.num_samples, work.num_samples // _SMALLER
    return [
        Figure("bare loop, 1 process of 2 threads", "s", tuple(one)),
        Figure("bare loop, 2 processes of 1 thread", "s", tuple(two)),
        Figure("today's route", "s", tuple(today)),
        Figure("ours, at the pace of the pools once up", "s", tuple(ours)),
        Figure("ours, all: start of Ray's pools, tables, findings", "s", tuple(whole)),
        Figure("ours in one process, all: no Ray", "s", tuple(local)),
        Figure("today's route / better bare loop", "", ratios(today, limit)),
        Figure("ours, pools up / better bare loop", "", ratios(ours, limit)),
        Figure("ours, all / today's route", "", ratios(whole, today)),
        Figure("ours in one process, all / today's route", "", ratios(local, today)),
        Figure("decoded by today's route", "MiB", decoded_mb("today")),
        Figure("decoded by ours", "MiB", decoded_mb("engine")),
        Figure("memory of the bare loop", "MiB", memory("bare", runs)),
        Figure(f"memory of today's route, {few} samples", "MiB", memory("today", small)),
        Figure(f"memory of today's route, {num} samples", "MiB", memory("today", runs)),
        Figure(f"memory of ours, all processes, {few} samples", "MiB", memory("engine", small)),
        Figure(f"memory of ours, all processes, {num} samples", "MiB", memory("engine", runs)),
        Figure(f"memory of ours, one process, {few} samples", "MiB", memory("local", small)),
        Figure(f"memory of ours, one process, {num} samples", "MiB", memory("local", runs)),
    ]


def main() -> None:
    """Run and publish."""
    options = parser(__doc__)
    options.add_argument("--workload", choices=[*WORKLOADS, "all"], default="all")
    options.add_argument("--only", choices=FORMS, help="measure one form on --data")
    options.add_argument("--data", type=Path)
    options.add_argument("--samples", type=int)
    options.add_argument("--checkpoints", type=int)
    options.add_argument("--size", type=int, nargs=2)
    chosen = options.parse_args()
    if chosen.only:
        sizes = {"num_samples": chosen.samples, "num_checkpoints": chosen.checkpoints}
        work = replace(WORKLOADS[chosen.workload], size=tuple(chosen.size), **sizes)
        print(json.dumps(_run_once(chosen.only, chosen.data, work)))
        return
    for name in WORKLOADS if chosen.workload == "all" else [chosen.workload]:
        work = replace(WORKLOADS[name], **_QUICK[name]) if chosen.quick else WORKLOADS[name]
        measure(work, chosen.repeats).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
