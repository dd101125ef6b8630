"""What tables and findings cost after the last batch: their share of a run, on Ray.

Images with a class each and images with masks. First a whole run, of which the time from the first
commit on counts; then days without news, whose tables are made of the same records: with the
records of the first pass held for the second, and read twice. CPU time is of all processes.

    python -m benchmarks.reduction [--repeats 3] [--quick]
"""

import contextlib
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import ray

from benchmarks.engine_runs import CpuTimeline, start_ray
from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.processes import cpu_s
from benchmarks.sets import WORKLOADS, make_data
from ray_audit.config import AuditConfig
from ray_audit.engine.backends.ray.pipeline import RayBackend
from ray_audit.engine.run.audit import run_audit
from tests.faults.processes import below

NUM_SAMPLES = {"images": 8192, "masks": 4096}
_QUICK = {"images": 2304, "masks": 1280}
_CHECKPOINTS = 2
WAYS = {"held": None, "read twice": 0}


@dataclass(frozen=True)
class Spent:
    """Seconds of the clock, and of CPU of this process and all below it."""

    wall_s: float
    cpu_s: float

    def since(self, other: "Spent") -> "Spent":
        """What was spent between two moments."""
        return Spent(self.wall_s - other.wall_s, self.cpu_s - other.cpu_s)

    def share_beside(self, other: "Spent") -> tuple[float, float]:
        """Of the clock and of CPU, where both are a whole."""
        wall = self.wall_s / (self.wall_s + other.wall_s)
        return wall, self.cpu_s / (self.cpu_s + other.cpu_s)


class Phases(CpuTimeline):
    """What was spent when the first crate was committed, the last, and when tables were begun."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Spent] = []
        self.reducing: Spent | None = None

    def now(self) -> Spent:
        """So far; what a process below used that has ended counts as it was seen last."""
        self._used |= {pid: max(cpu_s(pid), self._used.get(pid, 0.0)) for pid in below(os.getpid())}
        return Spent(time.monotonic(), time.process_time() + sum(self._used.values()))

    def phase(self, text: str) -> None:
        """Note when tables begin to be made."""
        if text.startswith("reducing"):
            self.reducing = self.now()

    def progress(self, progress: Any) -> None:
        """Note the commit."""
        super().progress(progress)
        self.commits.append(self.now())


def run(config: AuditConfig, day: int) -> tuple[Spent | None, Spent]:
    """What was spent from the first commit to the last, if any, and on tables and findings."""
    phases = Phases()
    run_audit(config, reporter=phases, logical_date=f"2026-01-{day:02d}")
    ended, commits = phases.now(), phases.commits
    assert phases.reducing is not None
    relay = commits[-1].since(commits[0]) if commits else None
    return relay, ended.since(phases.reducing)


def measure(kind: str, num_samples: int, repeats: int) -> Report:
    """A whole run, then days that only make tables, in turns."""
    work = replace(WORKLOADS[kind], num_samples=num_samples, num_checkpoints=_CHECKPOINTS)
    spent: dict[str, list[Spent]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        config = make_data(work, Path(name))
        relay, tables = run(config, 1)
        assert relay is not None
        day = 1
        for _ in range(repeats + 1):  # the first of each starts the processes
            for way, held_bytes in WAYS.items():
                day += 1
                with _holding(held_bytes):
                    spent[way].append(run(config, day)[1])
    wall_share, cpu_share = tables.share_beside(relay)
    each = {way: found[1:] for way, found in spent.items()}
    cpus = {way: tuple(s.cpu_s for s in found) for way, found in each.items()}
    figures = [
        Figure("the pools, from the first commit to the last", "s", (relay.wall_s,)),
        Figure("tables and findings", "s", (tables.wall_s,)),
        Figure("tables and findings / both", "", (wall_share,)),
        Figure("tables and findings / both, of CPU time", "", (cpu_share,)),
    ]
    for way in WAYS:
        each_ms = tuple(1e3 * s / num_samples for s in cpus[way])
        figures.append(Figure(f"records {way}: CPU a sample", "ms", each_ms))
        figures.append(Figure(f"records {way}", "s", tuple(s.wall_s for s in each[way])))
    figures.append(Figure("held / read twice, of CPU time", "", ratios(*cpus.values())))
    return Report(f"reduction-{kind}", figures, [work.described])


def _holding(held_bytes: int | None) -> contextlib.AbstractContextManager[Any]:
    """Room for so many bytes of records; None leaves it."""
    if held_bytes is None:
        return contextlib.nullcontext()
    return mock.patch.object(RayBackend, "held_bytes", held_bytes)


def main() -> None:
    """Run and publish."""
    chosen = parser(__doc__, repeats=3).parse_args()
    start_ray()
    for kind, num_samples in (_QUICK if chosen.quick else NUM_SAMPLES).items():
        measure(kind, num_samples, chosen.repeats).publish(is_kept=not chosen.quick)
    ray.shutdown()


if __name__ == "__main__":
    main()
