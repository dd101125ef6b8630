"""What the engine pays for a batch, with a model that costs nothing and batches of 1 MiB.

Batches a second, CPU for each in the driver and in all processes, and objects in the store; of this
checkout, and of an earlier one beside it, in turns. Each figure is what three times the batches
take longer, from the first commit to the last: by the first one decoders have run ahead while the
actors started, and that they have done so is not to count as pace.

    python -m benchmarks.crates [--before CHECKOUT] [--repeats 5] [--quick]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from benchmarks.engine_runs import Timeline, start_ray
from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.light import CLIP_FRAMES, make_features
from benchmarks.processes import cpu_s
from ray_audit.config import AuditConfig
from ray_audit.engine.run.audit import run_audit
from tests.faults.processes import below

BATCHES_PER_UNIT = 128
CLIPS_PER_BATCH = 1
NUM_FEATURES = 32_768
NUM_ACTORS = 2
NUM_BATCHES = 1024
LARGER = 3  # times the batches, of the longer run
_HERE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Spent:
    """At one moment: clock, and CPU of this process and of all together, in seconds."""

    clock_s: float
    driver_s: float
    all_s: float

    def since(self, before: "Spent") -> dict[str, float]:
        """From another moment to this one, by name."""
        now, then = vars(self), vars(before)
        return {name: now[name] - then[name] for name in now}


class Cpu:
    """CPU time of this process and of all below it; what ends counts as it was last seen."""

    def __init__(self) -> None:
        self._used: dict[int, float] = {}
        self._looking_s = 0.0

    def look(self) -> Spent:
        """Look; what that costs itself does not count."""
        started_s = time.thread_time()
        for pid in below(os.getpid()):
            self._used[pid] = max(cpu_s(pid), self._used.get(pid, 0.0))
        self._looking_s += time.thread_time() - started_s
        driver_s = time.process_time() - self._looking_s
        return Spent(time.monotonic(), driver_s, driver_s + sum(self._used.values()))


class Commits(Timeline):
    """A reporter that takes clock and CPU at the first commit and at the last.

    In between it looks once a second, for processes that end: a look costs as much as some batches.

    Attributes:
        spent: at these two.
    """

    _EVERY_S = 1.0

    def __init__(self, num_batches: int) -> None:
        super().__init__()
        self._num_batches = num_batches
        self._cpu, self._next_s = Cpu(), 0.0
        self.spent: list[Spent] = []

    def progress(self, progress: Any) -> None:
        """Look, where it is the first or the last batch, or time."""
        is_last = progress.num_batches == self._num_batches and len(self.spent) == 1
        if (progress.num_batches and not self.spent) or is_last:
            self.spent.append(self._cpu.look())
        elif time.monotonic() >= self._next_s:
            self._cpu.look()
            self._next_s = time.monotonic() + self._EVERY_S


def one_run(num_batches: int) -> dict[str, float]:
    """In this process, on a Ray of its own: from the first commit to the last."""
    start_ray(num_cpus=NUM_ACTORS + 2)
    with tempfile.TemporaryDirectory() as name:
        num_units, clips = num_batches // BATCHES_PER_UNIT, BATCHES_PER_UNIT * CLIPS_PER_BATCH
        config = make_features(Path(name), num_units, clips, NUM_FEATURES)
        os.sync()  # else the system writes these files while the engine runs
        engine = {"actors_per_pool": NUM_ACTORS, "batch_size": CLIPS_PER_BATCH}
        commits = Commits(num_batches)
        run_audit(AuditConfig.parse(config.model_dump() | {"engine": engine}), reporter=commits)
        num_objects = sum(path.is_file() for path in Path(name, "out/units").rglob("*"))
    ray.shutdown()
    first, last = commits.spent
    return last.since(first) | {"objects": num_objects}


def longer(short: dict[str, float], long: dict[str, float], num_more: int) -> dict[str, float]:
    """What each batch of those that a longer run has more took."""
    each = {name: (long[name] - short[name]) / num_more for name in short}
    return {
        "batches_per_s": 1 / each["clock_s"],
        "driver_ms": 1e3 * each["driver_s"],
        "all_ms": 1e3 * each["all_s"],
        "cores": each["all_s"] / each["clock_s"],
        "objects": 1e3 * each["objects"],
    }


def in_own_process(checkout: Path, num_batches: int) -> dict[str, float]:
    """The same with the code of a checkout."""
    command = [sys.executable, __file__, "--one", str(num_batches)]
    env = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=env, cwd=checkout
    )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(checkouts: dict[str, Path], num_batches: int, repeats: int) -> Report:
    """All checkouts, in turns."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(repeats):
        for name, checkout in checkouts.items():
            short = in_own_process(checkout, num_batches)
            long = in_own_process(checkout, LARGER * num_batches)
            runs[name].append(longer(short, long, (LARGER - 1) * num_batches))
            print(f"{name}: {runs[name][-1]}", file=sys.stderr, flush=True)

    def values(name: str, what: str) -> tuple[float, ...]:
        return tuple(run[what] for run in runs[name])

    figures = [
        Figure(f"{name}: {title}", unit, values(name, what))
        for name in checkouts
        for what, title, unit in (
            ("batches_per_s", "batches that cost nothing", "batches/s"),
            ("driver_ms", "driver, CPU a batch", "ms"),
            ("all_ms", "all processes, CPU a batch", "ms"),
            ("cores", "cores that are busy", ""),
            ("objects", "objects for 1,000 batches", ""),
        )
    ]
    if "before" in checkouts:
        for what, title in (("batches_per_s", "batches/s"), ("driver_ms", "driver, CPU a batch")):
            quotients = ratios(values("now", what), values("before", what))
            figures.append(Figure(f"now / before: {title}", "times", quotients))
    notes = [
        f"batches of 1 MiB ({CLIPS_PER_BATCH} clip of {CLIP_FRAMES} frames, {NUM_FEATURES} "
        f"features), {BATCHES_PER_UNIT} a file, {NUM_ACTORS} actors, one pool",
        f"what {LARGER * num_batches:,} batches take longer than {num_batches:,}, from the first "
        "commit to the last; runs took turns, each on a Ray of its own",
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
    num_batches = 2 * BATCHES_PER_UNIT if chosen.quick else NUM_BATCHES
    measure(checkouts, num_batches, chosen.repeats).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
