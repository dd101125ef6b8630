"""Engine throughput against a bare torch loop over the same decoded tensors.

Steady state, with every process up: sample-checkpoints per second, the engine decoding its input
from files, the bare loop reading tensors from memory and computing logits and losses only. Bare
loops: one process of 2 threads, and 2 processes of 1 thread; the better one is the limit. Of images
with a class also the strict relay, a pool of one actor for each checkpoint: by the time that more
samples take, since at the first commit its first pools have done most of theirs.

    python -m benchmarks.relay [--repeats 5] [--workload images|masks] [--quick]
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import ray

from benchmarks.bare import BATCH_INPUTS, bare_loop, load_models, two_processes
from benchmarks.engine_runs import check_losses, run_engine, start_ray
from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.sets import WORKLOADS, Workload, decoded, make_data
from ray_audit.config import AuditConfig

_PER_S = "sample-checkpoints/s"
_LARGER = 3  # times the samples, of the longer run of a strict relay
_QUICK = {"images": {"num_samples": 960, "num_checkpoints": 2}, "masks": {"num_samples": 150}}


def measure(work: Workload, repeats: int) -> Report:
    """Engine and bare loops in turn."""
    one, two, engine, up, strict = [], [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = make_data(work, folder)
        inputs, targets = decoded(work, folder)
        models = load_models(config, work.num_checkpoints)
        total = len(inputs) * work.num_checkpoints
        for _ in range(repeats):
            losses, seconds = bare_loop(models, inputs, targets, BATCH_INPUTS[work.kind], 2)
            one.append(total / seconds)
            two.append(total / two_processes("forward", config, work, folder))
            measured = run_engine(config)
            check_losses(measured, losses)
            engine.append(measured.samples_per_s * work.num_checkpoints)
            up.append(measured.start_up_s)
            if work.kind == "images":
                strict.append(strict_relay(work, config, losses))
    better = [max(pair) for pair in zip(one, two, strict=True)]
    figures = [
        Figure("bare loop, 1 process of 2 threads", _PER_S, tuple(one)),
        Figure("bare loop, 2 processes of 1 thread", _PER_S, tuple(two)),
        Figure("engine, the planner's choice", _PER_S, tuple(engine)),
        Figure("engine / better bare loop", "", ratios(engine, better)),
        Figure("start-up to the first batch", "s", tuple(up)),
    ]
    if strict:
        pools = f"strict relay of {work.num_checkpoints} one-checkpoint pools"
        figures += [
            Figure(pools, _PER_S, tuple(strict)),
            Figure(f"{pools} / better bare loop", "", ratios(strict, better)),
        ]
    notes = [work.described, "answers checked: trajectories equal the bare loop's losses"]
    return Report(f"relay-{work.name}", figures, notes)


def strict_relay(work: Workload, config: AuditConfig, losses: np.ndarray) -> float:
    """Sample-checkpoints a second that more samples take, in pools of one checkpoint each."""
    pools = {"checkpoints_per_actor": 1, "actors_per_pool": 1}
    short = run_engine(config, **pools)
    check_losses(short, losses)
    larger = replace(work, num_samples=_LARGER * work.num_samples)
    with tempfile.TemporaryDirectory() as name:
        long = run_engine(make_data(larger, Path(name)), **pools)
    seconds = long.timeline.until_last_s() - short.timeline.until_last_s()
    return (larger.num_samples - work.num_samples) * work.num_checkpoints / seconds


def main() -> None:
    """Run and publish."""
    options = parser(__doc__)
    options.add_argument("--workload", choices=[*WORKLOADS, "all"], default="all")
    chosen = options.parse_args()
    start_ray()
    for name in WORKLOADS if chosen.workload == "all" else [chosen.workload]:
        work = replace(WORKLOADS[name], **_QUICK[name]) if chosen.quick else WORKLOADS[name]
        measure(work, chosen.repeats).publish(is_kept=not chosen.quick)
    ray.shutdown()


if __name__ == "__main__":
    main()
