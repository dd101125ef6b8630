"""Runs of the engine on the Ray of this process, and what they are measured by."""

import os
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.processes import cpu_s
from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.engine.run.audit import RunOutcome, run_audit
from tests.faults.processes import below

_FEWEST_POINTS = 4


class Timeline:
    """A reporter that remembers when the pools had done how many samples.

    Attributes:
        points: by the pools' own clock, and how many then, of each commit.
        up_s: time of the first commit; None before.
    """

    def __init__(self) -> None:
        self.points: list[tuple[float, int]] = []
        self.up_s: float | None = None
        self._num_before = 0
        self._started_s = time.time()

    def phase(self, text: str) -> None:
        """Nothing to note."""

    def plan(self, plan: Any) -> None:
        """Nothing to note."""

    def progress(self, progress: Any) -> None:
        """Note the batch just committed, at the time of the pools' own clock."""
        num_samples = progress.num_samples - self._num_before
        self._num_before = progress.num_samples
        if num_samples:
            # With the first commit a process of each kind is up; other actors may still start.
            self.up_s = self.up_s or time.time()
            self.points.append((progress.probed_at_s, num_samples))

    def steady(self) -> list[tuple[float, int]]:
        """Batches that were done after every process was up, in order."""
        points = [point for point in sorted(self.points) if point[0] >= (self.up_s or 0.0)]
        if len(points) < _FEWEST_POINTS:
            raise SystemExit(
                f"only {len(points)} of {len(self.points)} batches came after the first commit: "
                "take more samples"
            )
        return points

    def steady_rate(self) -> float:
        """Samples per second once every process is up."""
        return rate_of(self.steady())

    def rates(self, num_stretches: int) -> list[float]:
        """Samples per second in equal stretches of the steady part."""
        points = self.steady()
        edges = np.linspace(0, len(points) - 1, num_stretches + 1).round().astype(int)
        return [rate_of(points[a : b + 1]) for a, b in pairwise(edges)]

    def start_up_s(self) -> float:
        """Seconds until the pools had done the first batch."""
        return min(self.points)[0] - self._started_s

    def until_last_s(self) -> float:
        """Seconds until the pools had done the last batch."""
        return max(self.points)[0] - self._started_s


class CpuTimeline(Timeline):
    """Also samples the CPU time of this process and of all below it, now and then.

    Attributes:
        samples: batches committed, CPU seconds of this process, and of all together.
    """

    _EVERY_S = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.samples: list[tuple[int, float, float]] = []
        self._used: dict[int, float] = {}
        self._next_s = self._looking_s = 0.0

    def progress(self, progress: Any) -> None:
        """Note the batch, and the CPU time from the first commit on."""
        super().progress(progress)
        if not self.points or time.time() < self._next_s:
            return
        started_s = time.thread_time()
        # What a process that has ended used still counts.
        self._used |= {pid: max(cpu_s(pid), self._used.get(pid, 0.0)) for pid in below(os.getpid())}
        self._looking_s += time.thread_time() - started_s
        driver_s = time.process_time() - self._looking_s
        all_s = driver_s + sum(self._used.values())
        self.samples.append((progress.num_batches, driver_s, all_s))
        self._next_s = time.time() + self._EVERY_S

    def cpu_per_batch(self, num_stretches: int) -> list[tuple[float, float]]:
        """CPU seconds a batch, of this process and of all, in equal stretches of the run."""
        edges = np.linspace(0, len(self.samples) - 1, num_stretches + 1).round().astype(int)
        ends = [self.samples[i] for i in edges]
        pairs = [(b, a) for a, b in pairwise(ends) if b[0] > a[0]]
        if len(pairs) < num_stretches:
            raise SystemExit(f"only {len(self.samples)} samples of CPU time: take more batches")
        return [((b[1] - a[1]) / (b[0] - a[0]), (b[2] - a[2]) / (b[0] - a[0])) for b, a in pairs]


def rate_of(points: list[tuple[float, int]]) -> float:
    """Samples per second from the first batch to the last; the first itself does not count."""
    return sum(num for _, num in points[1:]) / (points[-1][0] - points[0][0])


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        start_up_s: until the first batch.
        whole_s: of the call, with tables and findings.
        outcome: the run; its folder is gone.
        tables: `trajectories` and `scores`, in the order of shards and frames.
        timeline: its batches.
    """

    start_up_s: float
    whole_s: float
    outcome: RunOutcome
    tables: dict[str, pa.Table]
    timeline: Timeline

    @property
    def samples_per_s(self) -> float:
        """Once every process is up."""
        return self.timeline.steady_rate()


def run_engine(
    config: AuditConfig, timeline: Timeline | None = None, local: bool = False, **engine: Any
) -> Measured:
    """A run from nothing, in a folder of its own, on the Ray that this process has, or in it."""
    values = config.model_dump()
    values["engine"] |= engine
    with tempfile.TemporaryDirectory(prefix="bench-") as output:
        values["output"] = output
        timeline = timeline or Timeline()
        started = time.perf_counter()
        outcome = run_audit(AuditConfig.parse(values), local=local, reporter=timeline)
        whole_s = time.perf_counter() - started
        tables = {name: _table(outcome, name) for name in ("trajectories", "scores")}
    return Measured(timeline.start_up_s(), whole_s, outcome, tables, timeline)


def _table(outcome: RunOutcome, name: str) -> pa.Table:
    table = outcome.manifest.table(outcome.run_uri, name)
    ids = table["sample_id"].to_pylist()
    return table.take(sorted(range(len(ids)), key=lambda i: storage.natural_key(ids[i])))


def start_ray(**options: Any) -> None:
    """A Ray of this process, quiet."""
    import ray  # some runs are made where there is none

    ray.init(include_dashboard=False, log_to_driver=False, **options)


def check_losses(measured: Measured, losses: np.ndarray) -> None:
    """The engine must give the bare loop's numbers before its speed means anything."""
    actual = np.stack(measured.tables["trajectories"]["loss"].to_numpy())
    if not np.allclose(actual, losses, rtol=1e-3, atol=1e-4):
        raise SystemExit(f"the answers differ by {np.abs(actual - losses).max()}")
