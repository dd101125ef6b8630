"""How the engine scales on one machine, with a model that sleeps instead of computing.

1, 2 and 4 actors on one node, and 1, 2 and 3 nodes (raylets) of two actors each. Efficiency: the
rate over that of one, divided by how many there are. Then batches that cost nothing: how many the
driver can take a second, and what each costs it.

    python -m benchmarks.scaling [--repeats 5] [--quick]
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import ray

from benchmarks.engine_runs import CpuTimeline, Timeline, run_engine, start_ray
from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.light import CLIP_FRAMES, make_features
from tests.faults.nodes import Nodes

SLEEP_S = 0.4
BATCHES_PER_ACTOR = 100
CLIPS_PER_BATCH = 4
ACTORS = (1, 2, 4)
NODES = (1, 2, 3)
ACTORS_PER_NODE = 2
NUM_FREE_BATCHES = 1500
_CLIPS_PER_UNIT = 64
_FEATURES = 64


def one_run(num_actors: int, num_batches: int, sleep_s: float, repeats: int) -> dict[str, Any]:
    """On the Ray of this process; values of equal stretches of the run."""
    num_units = max(1, num_batches * CLIPS_PER_BATCH // _CLIPS_PER_UNIT)
    with tempfile.TemporaryDirectory() as name:
        config = make_features(
            Path(name), num_units, _CLIPS_PER_UNIT, _FEATURES, num_checkpoints=1, sleep_s=sleep_s
        )
        timeline = CpuTimeline()
        layout = {"actors_per_pool": num_actors, "batch_size": CLIPS_PER_BATCH}
        measured = run_engine(config, timeline, **layout)
    if measured.outcome.counts["scored"] != num_units * _CLIPS_PER_UNIT * CLIP_FRAMES:
        raise SystemExit(f"{measured.outcome.counts}")
    per_batch = CLIPS_PER_BATCH * CLIP_FRAMES
    rates = [rate / per_batch for rate in timeline.rates(repeats)]
    if sleep_s:
        rates = sleeping_rates(timeline, per_batch, sleep_s, repeats)
    return {
        "batches_per_s": rates,
        "driver_s": [driver for driver, _ in timeline.cpu_per_batch(repeats)],
    }


def sleeping_rates(
    timeline: Timeline, per_batch: int, sleep_s: float, num_stretches: int
) -> list[float]:
    """Batches a second in equal stretches of time, while every actor has work.

    A crate is committed with its last batch, and those of all actors at about the same time:
    counted by commits a stretch has a crate of each actor more or less. So each batch counts when
    it was done, a pause before the next of its crate.

    Args:
        timeline: of the run.
        per_batch: samples in a batch.
        sleep_s: pause of a batch.
        num_stretches: between the first commit and three quarters of the batches.
    """
    pairs = [(at_s, num // per_batch) for at_s, num in timeline.points]
    done = np.sort([at_s - place * sleep_s for at_s, num in pairs for place in range(num)])
    edges = np.linspace(timeline.up_s or 0.0, done[3 * len(done) // 4], num_stretches + 1)
    rates: list[float] = (np.diff(np.searchsorted(done, edges)) / np.diff(edges)).tolist()
    return rates


def in_own_process(
    num_actors: int, num: int, sleep_s: float, repeats: int, nodes: Nodes | None = None
) -> Any:
    """The same in a driver of its own; on a Ray of its own where there are no nodes."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--actors", str(num_actors)]
    command += ["--batches", str(num), "--sleep", str(sleep_s), "--repeats", str(repeats)]
    command += ["--address", nodes.address] if nodes else []
    env = os.environ | (nodes.env if nodes else {})
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    return json.loads(done.stdout.splitlines()[-1])


def on_nodes(num_nodes: int, per_actor: int, repeats: int) -> Any:
    """A cluster of so many raylets on this machine, all of one size."""
    with Nodes() as nodes:
        nodes.head(ACTORS_PER_NODE + 1)
        for _ in range(num_nodes - 1):
            nodes.worker(ACTORS_PER_NODE + 1)
        actors = num_nodes * ACTORS_PER_NODE
        return in_own_process(actors, per_actor * actors, SLEEP_S, repeats, nodes)


def efficiency(rates: dict[int, list[float]], num: int) -> tuple[float, ...]:
    """Rate of `num` over `num` times that of one."""
    return ratios(rates[num], [num * rate for rate in rates[1]])


def measure(per_actor: int, num_free: int, repeats: int) -> Report:
    """All of it."""
    actors, nodes, driver = {}, {}, {}
    for num in ACTORS:
        run = in_own_process(num, num * per_actor, SLEEP_S, repeats)
        actors[num], driver[num] = run["batches_per_s"], run["driver_s"]
    for num in NODES:
        nodes[num] = on_nodes(num, per_actor, repeats)["batches_per_s"]
    free = in_own_process(2, num_free, 0.0, repeats)
    per_batch = CLIPS_PER_BATCH * CLIP_FRAMES
    figures = [Figure(f"{n} actors", "batches/s", tuple(actors[n])) for n in ACTORS]
    figures += [Figure(f"{n} actors: efficiency", "", efficiency(actors, n)) for n in ACTORS[1:]]
    figures += [Figure(f"{n} raylets", "batches/s", tuple(nodes[n])) for n in NODES]
    figures += [Figure(f"{n} raylets: efficiency", "", efficiency(nodes, n)) for n in NODES[1:]]
    figures += [
        Figure("driver, CPU a batch, 4 actors", "ms", tuple(1e3 * s for s in driver[4])),
        Figure(
            "driver, CPU a 1,000 samples, 4 actors",
            "ms",
            tuple(1e6 * s / per_batch for s in driver[4]),
        ),
        Figure("batches that cost nothing", "batches/s", tuple(free["batches_per_s"])),
        Figure("driver, CPU a batch then", "ms", tuple(1e3 * s for s in free["driver_s"])),
        Figure(
            "driver on a core of its own would take",
            "batches/s",
            tuple(1 / s for s in free["driver_s"]),
        ),
    ]
    notes = [
        f"{per_batch} samples a batch, {1000 * SLEEP_S:g} ms of sleep for each; "
        f"{per_actor} batches an actor; {ACTORS_PER_NODE} actors a raylet",
        "spread: over equal stretches of one run, all actors at work; every sample was scored",
    ]
    return Report("scaling", figures, notes)


def main() -> None:
    """Run and publish, or one run."""
    options = parser(__doc__)
    options.add_argument("--actors", type=int, help="one run with so many actors")
    options.add_argument("--batches", type=int, default=100)
    options.add_argument("--sleep", type=float, default=SLEEP_S)
    options.add_argument("--address", help="a cluster to run on")
    chosen = options.parse_args()
    if chosen.actors is None:
        per_actor, num_free = (16, 100) if chosen.quick else (BATCHES_PER_ACTOR, NUM_FREE_BATCHES)
        measure(per_actor, num_free, chosen.repeats).publish(is_kept=not chosen.quick)
        return
    if chosen.address:
        ray.init(address=chosen.address, log_to_driver=False)
    else:
        start_ray(num_cpus=max(ACTORS) + 2)
    print(json.dumps(one_run(chosen.actors, chosen.batches, chosen.sleep, chosen.repeats)))
    ray.shutdown()


if __name__ == "__main__":
    main()
