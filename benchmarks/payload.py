"""What travels between the stages of the relay, counted; and values against references.

Bytes of a batch as it leaves each stage, a checkpoint a pool, from the shipped stages themselves.
Then a chain of actors, as Ray Data calls them: each copies the batch into its answer (as now), or
gets it by a reference that travels in a small row. Time of one hop, the forms in turn.

    python -m benchmarks.payload [--repeats 5] [--quick]
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from benchmarks.engine_runs import start_ray
from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.sets import Workload, make_data, model
from ray_audit.config import AuditConfig
from ray_audit.engine.backends import wire
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.backends.stages import StageSettings, decode_unit
from ray_audit.engine.backends.wire import Crate, Envelope
from ray_audit.engine.backends.worker import PoolWorker
from ray_audit.engine.ledger.crates import START, CrateName
from ray_audit.engine.planning.plan import make_plan, read_inputs
from ray_audit.samples import Batch
from ray_audit.task import Task

NUM_POOLS = 3
SETS = {
    "images": Workload("images", "images", 64, (96, 96), 10, model("small_cnn", 10, width=4)),
    "masks": Workload("masks", "masks", 12, (120, 160), 12, model("unet", 12, width=4)),
    "frames": Workload(
        *("frames", "frames", 32, (120, 160), 10, model("frame_transformer", 10, width=8)),
        video_frames=(32, 16),
    ),
}
SIZES_MIB = (0.75, 3.0, 12.0)
_NUM_HOPS = 40
_DAY = "2026-01-31"


def travelled(config: AuditConfig, folder: Path) -> Iterator[tuple[int, int, list[int]]]:
    """Samples, bytes of pixels, and bytes on the wire after each stage, of each crate."""
    inputs = read_inputs(config, folder / "index", None, _DAY)
    plan = make_plan(inputs, LocalBackend().resources())
    settings = StageSettings(
        config, inputs.checkpoints, inputs.required, str(folder / "index"), "cpu"
    )
    pools = [PoolWorker(settings, (i,), is_last=i == NUM_POOLS - 1) for i in range(NUM_POOLS)]
    for work in plan.work:
        for crate in decode_unit(settings, work):
            if not crate.batches:
                continue
            pixels = sum(envelope.item.arrays["inputs"].nbytes for envelope in crate.batches)
            sizes = [wire.encode(crate).nbytes]
            for pool in pools:
                crate = pool.process(_received(crate))
                failures = [f for envelope in crate.batches for f in envelope.failures]
                if failures or crate.fatal:
                    raise SystemExit(f"{crate.fatal or failures[0]}")
                sizes.append(wire.encode(crate).nbytes)
            yield sum(e.item.samples.num_rows for e in crate.batches), pixels, sizes


def _received(crate: Crate) -> Crate:
    return wire.decode(wire.encode(crate))


def byte_figures(name: str, scores: list[str]) -> list[Figure]:
    """Bytes a sample after each stage; the spread is over crates."""
    work = SETS[name]
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        values = make_data(work, folder).model_dump()
        values |= {"scores": scores, "checkpoints": f"{folder}/checkpoints/epoch_00[123]*"}
        batches = list(travelled(AuditConfig.parse(values), folder))
    stages = ["decode", *(f"pool {i + 1}" for i in range(NUM_POOLS - 1)), "the last pool"]
    who = f"{name}, {'VoG' if 'vog' in scores else 'losses'}: "
    figures = [Figure(f"{who}pixels as decoded", "B/sample", tuple(b[1] / b[0] for b in batches))]
    for place, stage in enumerate(stages):
        per_sample = tuple(sizes[place] / num for num, _, sizes in batches)
        figures.append(Figure(f"{who}after {stage}", "B/sample", per_sample))
    return figures


@ray.remote(num_cpus=0.1)
class _Hop:
    """What an actor of a pool does to a batch, without the model."""

    def by_value(self, table: pa.Table) -> pa.Table:
        return wire.encode(wire.decode(table))

    def by_reference(self, row: list[Any]) -> list[Any]:
        wire.decode(ray.get(row[0]))
        return row


def hop_times(size_mib: float, repeats: int) -> dict[str, list[float]]:
    """Seconds of one hop in a chain of two actors, by value and by reference."""
    table = _batch_of(int(size_mib * 2**20))
    actors = [_Hop.remote() for _ in range(2)]  # type: ignore[attr-defined]
    seconds: dict[str, list[float]] = {"value": [], "reference": []}
    for number in range(repeats + 1):
        for form in seconds:
            taken_s = _chain(actors, form, table)
            if number:  # the first warms up
                seconds[form].append(taken_s)
    for actor in actors:
        ray.kill(actor)
    return seconds


def _chain(actors: list[Any], form: str, table: pa.Table) -> float:
    reference = ray.put(table)
    passed: Any = reference if form == "value" else [reference]
    started = time.perf_counter()
    for number in range(_NUM_HOPS):
        actor = actors[number % len(actors)]
        call = actor.by_value if form == "value" else actor.by_reference
        passed = call.remote(passed)
    ray.get(passed)
    return (time.perf_counter() - started) / _NUM_HOPS


def _batch_of(num_bytes: int) -> pa.Table:
    from ray_audit.samples import SAMPLE_SCHEMA

    num = 16
    pixels = np.zeros((num, 3, 1, num_bytes // num // 3), np.uint8)
    columns = {name: [None] * num for name in SAMPLE_SCHEMA.names}
    samples = pa.table(columns, schema=SAMPLE_SCHEMA)
    batch = Batch("unit", 0, Task.CLASS, samples, {"inputs": pixels})
    name = CrateName(0, 1, START, START)
    return wire.encode(Crate("unit", (0,), "set", name, (Envelope(batch, "name"),)))


def hop_figures(repeats: int) -> list[Figure]:
    """By size of a batch."""
    figures = []
    for size in SIZES_MIB:
        seconds = hop_times(size, repeats)
        for form, values in seconds.items():
            micros = tuple(1e6 * s for s in values)
            figures.append(Figure(f"a hop of {size:g} MiB by {form}", "us", micros))
        quotient = ratios(seconds["reference"], seconds["value"])
        figures.append(Figure(f"{size:g} MiB: reference / value", "", quotient))
    return figures


def main() -> None:
    """Run and publish."""
    chosen = parser(__doc__).parse_args()
    figures = []
    for name in SETS:
        for scores in (["csl"], ["csl", "vog"]):
            figures += byte_figures(name, scores)
    start_ray(num_cpus=2, object_store_memory=2**30)
    figures += hop_figures(chosen.repeats)
    ray.shutdown()
    notes = [
        f"{NUM_POOLS} pools of one checkpoint; the spread of bytes is over batches: rows, names "
        "and a header go with each",
        "images of 96x96 px, masks of 160x120 px with 12 classes, frames of 160x120 px",
        f"hops: {_NUM_HOPS} in a chain of two actors, which decode and encode the batch",
    ]
    Report("payload", figures, notes).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
