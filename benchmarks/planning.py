"""What planning takes of a set of very many units: time, and memory of the driver.

Synthetic videos, a unit each, eight checkpoints; each measurement is a process of its own. First
with nothing committed, then with everything committed as two crates a unit, as a listing says it.

    python -m benchmarks.planning [--repeats 3] [--quick]
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.harness import Figure, Report, parser
from benchmarks.processes import peak_bytes, reset_peak
from ray_audit import storage
from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.config import AuditConfig
from ray_audit.engine.ledger import record_sets
from ray_audit.engine.ledger.crates import START, CrateName
from ray_audit.engine.ledger.record_sets import RequiredRecords
from ray_audit.engine.planning.layout import ClusterResources, NodeResources
from ray_audit.engine.planning.plan import Inputs, committed, make_plan
from ray_audit.samples import Shard, WorkUnit
from ray_audit.sources import Listing
from ray_audit.sources.units import group_units
from ray_audit.storage import StoredObject

NUMBERS = (100_000, 1_000_000)
_CLUSTER = ClusterResources((NodeResources(64, 8, 2**38, 2**34),), 2**36)
_NUM_CHECKPOINTS = 8


def specification() -> AuditConfig:
    """Of videos that are not there."""
    return AuditConfig.parse(
        {
            "dataset": {
                "kind": "video",
                "uri": "/none/*.mp4",
                "labels": {"frames": "/none/frames.csv"},
                "classes": ["a", "b"],
                "clip": {"frames": 8, "stride": 4},
            },
            "model": {"factory": "m:f", "input": {"size": [112, 112]}},
            "checkpoints": "/none/checkpoints/*",
            "output": "/none/out",
        }
    )


def listed(num: int) -> list[Shard]:
    """What a listing of so many videos gives."""
    return [
        Shard(
            f"clips/{i:08d}.mp4",
            f"s3://bucket/clips/{i:08d}.mp4",
            10_000_000 + i,
            f"etag{i:08x}",
            label_digest=f"{i:016x}",
            num_labelled=300,
        )
        for i in range(num)
    ]


def files_of(units: tuple[WorkUnit, ...], set_id: str) -> Iterator[StoredObject]:
    """Two crates of each unit, as a store lists them."""
    middle = "a" * 12
    names = (
        CrateName(0, 64, START, middle),
        CrateName(64, 75, middle, "b" * 12, is_end=True),
    )
    for unit in units:
        for name in names:
            uri = record_sets.crate_uri("/none/out", unit.unit_id, set_id, name, ())
            yield StoredObject(uri, 1000, "etag")


def one_run(num: int) -> dict[str, float]:
    """In this process: seconds of CPU, and bytes a unit at the peak."""
    shards, config = listed(num), specification()
    checkpoints = tuple(
        Checkpoint(i, f"c{i}", f"/c{i}", 10**8, f"d{i}") for i in range(_NUM_CHECKPOINTS)
    )
    required = RequiredRecords.of(checkpoints, None, "all")
    reset_peak()
    before, started = peak_bytes(), time.process_time()
    units = tuple(group_units(shards, "salt"))
    inputs = Inputs(
        config, Listing(tuple(shards), (), ""), checkpoints, units, required, "2026-01-01"
    )
    plan = make_plan(inputs, _CLUSTER, {})
    planned_s = time.process_time() - started
    planned_bytes = peak_bytes() - before
    if len(plan.work) != num:
        raise SystemExit(f"{len(plan.work)} units are planned")
    del plan
    whole = required.set_for(required.order)
    files = files_of(units, whole.set_id)
    storage.list_prefix = lambda _: files  # type: ignore[assignment,return-value]
    record_sets.read_sets = lambda _: {whole.set_id: whole}
    started = time.process_time()
    again = make_plan(inputs, _CLUSTER, committed(inputs))
    resumed_s = time.process_time() - started
    if again.work:
        raise SystemExit(f"{len(again.work)} units are planned again")
    return {
        "planned_s": planned_s,
        "planned_bytes": planned_bytes / num,
        "resumed_s": resumed_s,
        "resumed_bytes": (peak_bytes() - before) / num,
    }


def in_own_process(num: int) -> Any:
    """The same in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.planning", "--one", str(num)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(numbers: tuple[int, ...], repeats: int) -> Report:
    """All numbers of units, in turns."""
    runs: dict[int, list[dict[str, float]]] = {num: [] for num in numbers}
    for _ in range(repeats):
        for num, found in runs.items():
            found.append(in_own_process(num))
    figures = []
    for num, found in runs.items():
        for what, title in (("planned", "nothing committed"), ("resumed", "all committed")):
            seconds = tuple(run[f"{what}_s"] for run in found)
            kib = tuple(run[f"{what}_bytes"] / 1024 for run in found)
            figures.append(Figure(f"{num:,} units, {title}: CPU", "s", seconds))
            figures.append(Figure(f"{num:,} units, {title}: memory", "KiB a unit", kib))
    notes = [
        "synthetic videos, a unit each; grouped, named and planned; listings are not counted: "
        "what a store takes to give one is its own",
        "memory: by which the process had grown at its peak, beyond the listed shards",
    ]
    return Report("planning", figures, notes)


def main() -> None:
    """Run and publish, or one run."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--one", type=int, help="one run of so many units")
    chosen = options.parse_args()
    if chosen.one is not None:
        print(json.dumps(one_run(chosen.one)))
        return
    numbers = (10_000,) if chosen.quick else NUMBERS
    measure(numbers, chosen.repeats).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
