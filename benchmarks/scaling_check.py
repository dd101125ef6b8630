"""The scaling model against a measured small cluster: `python -m benchmarks.scaling_check`.

One small run gives the paces; the model then predicts runs that differ from it: three times the
data, all checkpoints in one pool, two actors a pool. Only the time from the first batch to the last
counts, by the pools' own clock. The probe sleeps, so that other work on the machine hardly changes
what is measured: what is checked is the arithmetic of pools, hops and actors, and no processor.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import Figure, Report, ratios
from benchmarks.scaling_model import Pace, Prediction, Workload, predict
from ray_audit.config import AuditConfig
from ray_audit.engine.planning.layout import ClusterResources, NodeResources
from ray_audit.engine.run.audit import SilentReporter, run_audit
from ray_audit.engine.run.progress import Progress

_SLEEP_S = 0.4  # of one checkpoint for one batch
_NUM_FRAMES, _SIZE, _NUM_CHECKPOINTS = 66, 32, 2  # 66 frames are 32 clips, 4 batches of 8
_CLUSTER = ClusterResources((NodeResources(2, 0, 8 * 2**30),), 2 * 2**30)
_APART = {"checkpoints_per_actor": 1, "actors_per_pool": 1}


@dataclass(frozen=True)
class Case:
    """One run: how many videos, and how the checkpoints are laid out."""

    name: str
    num_videos: int
    engine: dict[str, int]


SMALL = Case("the run that gives the paces", 4, _APART)
CASES = (
    Case("three times the videos", 12, _APART),
    Case("both checkpoints in one pool", 12, _APART | {"checkpoints_per_actor": 2}),
    Case("two actors a pool", 12, _APART | {"actors_per_pool": 2}),
)


@dataclass
class Steady(SilentReporter):
    """The time of the pools from the first batch to the last."""

    probed_at_s: dict[int, float] = field(default_factory=dict)

    def progress(self, progress: Progress) -> None:
        """Keep when each batch was through, in the order of the commits."""
        self.probed_at_s.setdefault(progress.num_batches, progress.probed_at_s)

    @property
    def batch_s(self) -> float:
        """Seconds for one batch; the first batch only starts the clock."""
        times = [at_s for number, at_s in self.probed_at_s.items() if number]
        return (max(times) - min(times)) / (len(times) - 1)


@dataclass(frozen=True)
class Measured:
    """A run of a case."""

    config: AuditConfig
    timing: dict[str, Any]
    batch_s: float

    @property
    def steady_s(self) -> float:
        """Seconds for all batches at the pace between the first and the last."""
        return float(self.batch_s * self.timing["num_batches"])


@contextmanager
def _spec(case: Case) -> Iterator[AuditConfig]:
    from tests.support.small_sets import MODELS, labelled_videos

    with tempfile.TemporaryDirectory() as folder:
        videos = labelled_videos(Path(folder), num=case.num_videos, num_frames=_NUM_FRAMES)
        kwargs = {"num_classes": 3, "sleep_s": _SLEEP_S}
        chosen = [f"{folder}/checkpoints/epoch_{e}.safetensors" for e in range(_NUM_CHECKPOINTS)]
        yield videos.config(
            model={
                "factory": f"{MODELS}:SlowFrameModel",
                "kwargs": kwargs,
                "input": {"size": [_SIZE, _SIZE]},
            },
            checkpoints=chosen,
            scores=["csl"],
            engine={"batch_size": 8, **case.engine},
        )


def measure(case: Case) -> Measured:
    """Run a case on the local Ray."""
    with _spec(case) as config:
        steady = Steady()
        timing = run_audit(config, reporter=steady).manifest.timing
        return Measured(config, timing, steady.batch_s)


def paces(small: Measured) -> Pace:
    """What the small run tells: a decoded frame, a probed frame, and the rest of a batch."""
    num_batches, num_frames = small.timing["num_batches"], SMALL.num_videos * _NUM_FRAMES
    probe_s = small.timing["probe_s"] / _NUM_CHECKPOINTS  # of one pool, which holds one
    return Pace(
        decode_s=small.timing["decode_s"] / num_frames,
        probe_s=probe_s / workload(SMALL, small).num_probed,
        hop_s=max(0.0, small.batch_s - probe_s / num_batches),
        list_s=0.0,
        start_up_s=0.0,
    )


def workload(case: Case, measured: Measured) -> Workload:
    """What a case asks for."""
    num_frames = case.num_videos * _NUM_FRAMES
    return Workload(measured.config, num_frames, 1.0, case.num_videos, 1e5, _NUM_CHECKPOINTS, 10**4)


def predicted(case: Case, measured: Measured, small: Measured) -> Prediction:
    """The model's answer for a case, by the small run's paces and the batches of its own."""
    work = workload(case, measured)
    return predict(work, paces(small), _CLUSTER, measured.config.engine)


def check(repeats: int) -> Report:
    """Calibrate, predict and measure, several times."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    guessed: dict[str, list[float]] = {case.name: [] for case in CASES}
    actual: dict[str, list[float]] = {case.name: [] for case in CASES}
    limits: dict[str, str] = {}
    hops_s = []
    try:
        for _ in range(repeats):
            small = measure(SMALL)
            hops_s.append(paces(small).hop_s)
            for case in CASES:
                measured = measure(case)
                found = predicted(case, measured, small)
                guessed[case.name].append(found.total_s)
                actual[case.name].append(measured.steady_s)
                limits[case.name] = found.limit
    finally:
        ray.shutdown()
    figures = [Figure("a batch besides its probes", "s", tuple(hops_s))]
    for name, seconds in actual.items():
        quotients = ratios(guessed[name], seconds)
        figures.append(Figure(f"{name}: measured", "s", tuple(seconds)))
        figures.append(Figure(f"{name}: predicted / measured", "", quotients))
    return Report(
        "scaling_model", figures, [f"{name}: limit {what}" for name, what in limits.items()]
    )


def main() -> None:
    """Check, and publish what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    check(parser.parse_args().repeats).publish()


if __name__ == "__main__":
    main()
