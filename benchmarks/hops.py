"""What a hop costs: pools of one checkpoint each against one pool that holds all.

By number of checkpoints and by size of a batch, with a model that computes next to nothing and
input that needs no decoding. CPU time of the driver, of Ray and of all workers, a batch, in equal
stretches of one run; the bytes of a batch as it travels are counted in `benchmarks.payload`.

    python -m benchmarks.hops [--repeats 5] [--quick]
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import ray

from benchmarks.engine_runs import CpuTimeline, run_engine, start_ray
from benchmarks.harness import Figure, Report, parser
from benchmarks.light import CLIP_FRAMES, make_features
from ray_audit.config import AuditConfig

_FEATURES = 8192
_CLIP_BYTES = CLIP_FRAMES * _FEATURES * 4
_UNITS, _CLIPS_PER_UNIT = 48, 96
_CASES = ((2, 12), (4, 12), (8, 12), (4, 3), (4, 48))  # checkpoints, clips in a batch


@dataclass(frozen=True)
class Cost:
    """Of one layout, in equal stretches of a run.

    Attributes:
        cpu_s: CPU seconds of everything, a batch.
        batches_per_s: once every process is up.
    """

    cpu_s: tuple[float, ...]
    batches_per_s: tuple[float, ...]


def cost_of(config: AuditConfig, batch: int, packed: int, repeats: int) -> Cost:
    """One run; `packed` checkpoints an actor, one actor a pool."""
    timeline = CpuTimeline()
    layout = {"checkpoints_per_actor": packed, "actors_per_pool": 1, "batch_size": batch}
    measured = run_engine(config, timeline, **layout)
    num_samples = measured.outcome.counts["scored"]
    num_batches = measured.outcome.manifest.timing["num_batches"]
    rates = [rate * num_batches / num_samples for rate in timeline.rates(repeats)]
    return Cost(tuple(both for _, both in timeline.cpu_per_batch(repeats)), tuple(rates))


def figures_of(num: int, batch: int, num_units: int, repeats: int) -> list[Figure]:
    """Strict and packed, with `num` checkpoints and `batch` clips a batch."""
    with tempfile.TemporaryDirectory() as name:
        config = make_features(Path(name), num_units, _CLIPS_PER_UNIT, _FEATURES, num)
        packed = cost_of(config, batch, num, repeats)
        strict = cost_of(config, batch, 1, repeats)
    who = f"{num} checkpoints, {batch * _CLIP_BYTES / 2**20:.3g} MiB: "
    per_hop = tuple(
        1e6 * (s - p) / (num - 1) for s, p in zip(strict.cpu_s, packed.cpu_s, strict=True)
    )
    return [
        Figure(f"{who}packed, CPU a batch", "ms", tuple(1e3 * s for s in packed.cpu_s)),
        Figure(f"{who}strict, CPU a batch", "ms", tuple(1e3 * s for s in strict.cpu_s)),
        Figure(f"{who}CPU of each further hop", "us", per_hop),
        Figure(f"{who}packed", "batches/s", packed.batches_per_s),
        Figure(f"{who}strict", "batches/s", strict.batches_per_s),
    ]


def main() -> None:
    """Run and publish."""
    chosen = parser(__doc__).parse_args()
    num_units = 6 if chosen.quick else _UNITS
    cases = ((2, 3),) if chosen.quick else _CASES
    start_ray(num_cpus=4, object_store_memory=2 * 2**30)  # eight pools want a share of a CPU each
    figures = []
    for num, batch in cases:
        figures += figures_of(num, batch, num_units, chosen.repeats)
    ray.shutdown()
    notes = [
        f"{num_units * _CLIPS_PER_UNIT} clips of {_CLIP_BYTES // 1024} KiB, one actor a pool",
        "spread: over equal stretches of one run, all processes up",
    ]
    Report("hops", figures, notes).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
