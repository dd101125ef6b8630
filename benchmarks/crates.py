"""What the engine pays for a batch, with a model that costs nothing and batches of 1 MiB.

Batches a second, the driver's CPU for each, and objects in the store; of this checkout, and of an
earlier one beside it, in turns:

    python -m benchmarks.crates [--before CHECKOUT] [--repeats 5] [--quick]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray

from benchmarks.engine_runs import CpuTimeline, start_ray
from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.light import CLIP_FRAMES, make_features
from ray_audit.config import AuditConfig
from ray_audit.engine.run.audit import run_audit

BATCHES_PER_UNIT = 128
CLIPS_PER_BATCH = 1
NUM_FEATURES = 32_768
NUM_ACTORS = 2
NUM_BATCHES = {"before": 256, "now": 1536}
"""So many that each runs for a while: what is compared is a batch."""
_HERE = Path(__file__).resolve().parents[1]


def one_run(num_batches: int) -> dict[str, Any]:
    """In this process, on a Ray of its own."""
    num_units = max(1, num_batches // BATCHES_PER_UNIT)
    start_ray(num_cpus=NUM_ACTORS + 2)
    with tempfile.TemporaryDirectory() as name:
        config = make_features(
            Path(name), num_units, BATCHES_PER_UNIT * CLIPS_PER_BATCH, NUM_FEATURES
        )
        engine = {"actors_per_pool": NUM_ACTORS, "batch_size": CLIPS_PER_BATCH}
        timeline, started = CpuTimeline(), time.time()
        run_audit(AuditConfig.parse(config.model_dump() | {"engine": engine}), reporter=timeline)
        whole_s = time.time() - started
        num_objects = sum(path.is_file() for path in Path(name, "out/units").rglob("*"))
    ray.shutdown()
    first, last = timeline.samples[0], timeline.samples[-1]
    num = last[0] - first[0]
    return {
        "batches_per_s": timeline.steady_rate() / (CLIPS_PER_BATCH * CLIP_FRAMES),
        "driver_s": (last[1] - first[1]) / num,
        "all_s": (last[2] - first[2]) / num,
        "objects": 1000 * num_objects / num_batches,
        "whole_s": whole_s,
    }


def in_own_process(checkout: Path, num_batches: int) -> dict[str, Any]:
    """The same with the code of a checkout."""
    command = [sys.executable, __file__, "--one", str(num_batches)]
    env = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=env, cwd=checkout
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(checkouts: dict[str, Path], numbers: dict[str, int], repeats: int) -> Report:
    """All checkouts, in turns."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    for _ in range(repeats):
        for name, checkout in checkouts.items():
            runs[name].append(in_own_process(checkout, numbers[name]))
            print(f"{name}: {runs[name][-1]}", file=sys.stderr, flush=True)

    def values(name: str, what: str) -> tuple[float, ...]:
        return tuple(run[what] for run in runs[name])

    figures = []
    for name in checkouts:
        figures += [
            Figure(
                f"{name}: batches that cost nothing", "batches/s", values(name, "batches_per_s")
            ),
            Figure(
                f"{name}: driver, CPU a batch",
                "ms",
                tuple(1e3 * value for value in values(name, "driver_s")),
            ),
            Figure(
                f"{name}: all processes, CPU a batch",
                "ms",
                tuple(1e3 * value for value in values(name, "all_s")),
            ),
            Figure(f"{name}: objects for 1,000 batches", "", values(name, "objects")),
        ]
    if "before" in checkouts:
        for what, title in (("batches_per_s", "batches/s"), ("driver_s", "driver, CPU a batch")):
            quotients = ratios(values("now", what), values("before", what))
            figures.append(Figure(f"now / before: {title}", "times", quotients))
    notes = [
        f"batches of 1 MiB ({CLIPS_PER_BATCH} clip of {CLIP_FRAMES} frames, {NUM_FEATURES} "
        f"features), {BATCHES_PER_UNIT} a file, {NUM_ACTORS} actors, one pool",
        "once all processes are up; runs before and now took turns, each on a Ray of its own",
    ]
    return Report("crates", figures, notes)


def main() -> None:
    """Run and publish, or one run."""
    options = parser(__doc__)
    options.add_argument("--one", type=int, help="one run of so many batches")
    options.add_argument("--before", type=Path, help="an earlier checkout to compare with")
    chosen = options.parse_args()
    if chosen.one is not None:
        print(json.dumps(one_run(chosen.one)))
        return
    checkouts = {"before": chosen.before, "now": _HERE} if chosen.before else {"now": _HERE}
    numbers = dict.fromkeys(checkouts, 4 * BATCHES_PER_UNIT) if chosen.quick else NUM_BATCHES
    measure(checkouts, numbers, chosen.repeats).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
