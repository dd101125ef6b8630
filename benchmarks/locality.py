"""How many batches are probed on the node that holds them, by Ray Data's own choice of actor.

Several nodes (raylets) on this machine, two pools with an actor on each node, and a model that
sleeps. A batch that stays is not copied between nodes. Where actors were chosen blindly, one in
as many as there are nodes would stay.

    python -m benchmarks.locality [--repeats 5] [--quick]
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray

from benchmarks.engine_runs import run_engine
from benchmarks.harness import Figure, Report, parser
from benchmarks.light import CLIP_FRAMES, make_features
from ray_audit.engine.backends.ray import pipeline, watchdog
from tests.faults.nodes import Nodes

NODES = (2, 3)
_POOLS = 2
_CPUS_PER_NODE = 4
_SLEEP_S = 0.1
_UNITS, _CLIPS_PER_UNIT, _CLIPS_PER_BATCH, _FEATURES = 24, 48, 12, 2048


class _Counted(watchdog.RememberedExecutor):
    """Keeps, at a run's end, how many batches of each pool stayed and how many moved."""

    runs: list[list[tuple[int, int]]] = []  # noqa: RUF012

    def after_execution_succeeds(self, executor: Any) -> None:
        pools = [operator for operator in executor._topology if "PoolActor" in operator.name]
        self.runs.append([(pool._locality_hits, pool._locality_misses) for pool in pools])


def counted_runs(num_nodes: int, num_units: int, repeats: int) -> list[list[tuple[int, int]]]:
    """On the cluster of this process: for each run and pool, batches that stayed and that moved."""
    vars(pipeline)["RememberedExecutor"] = _Counted
    with tempfile.TemporaryDirectory() as name:
        config = make_features(
            Path(name), num_units, _CLIPS_PER_UNIT, _FEATURES, _POOLS, sleep_s=_SLEEP_S
        )
        for _ in range(repeats):
            run_engine(
                config,
                checkpoints_per_actor=1,
                actors_per_pool=num_nodes,
                batch_size=_CLIPS_PER_BATCH,
            )
    return _Counted.runs


def on_nodes(num_nodes: int, num_units: int, repeats: int) -> list[Figure]:
    """A cluster, and a driver of its own that runs on it."""
    with Nodes() as nodes:
        nodes.head(_CPUS_PER_NODE)
        for _ in range(num_nodes - 1):
            nodes.worker(_CPUS_PER_NODE)
        command = [sys.executable, "-m", "benchmarks.locality", "--nodes", str(num_nodes)]
        command += ["--address", nodes.address, "--units", str(num_units)]
        command += ["--repeats", str(repeats)]
        env = os.environ | nodes.env
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    runs = json.loads(done.stdout.splitlines()[-1])
    return [
        Figure(
            f"{num_nodes} raylets, pool {pool + 1}: batches that stayed",
            "",
            tuple(run[pool][0] / sum(run[pool]) for run in runs),
        )
        for pool in range(_POOLS)
    ]


def main() -> None:
    """Run and publish, or the runs of one cluster."""
    options = parser(__doc__)
    options.add_argument("--nodes", type=int, help="runs on a cluster of so many nodes")
    options.add_argument("--address", help="that cluster")
    options.add_argument("--units", type=int, default=_UNITS)
    chosen = options.parse_args()
    if chosen.nodes:
        ray.init(address=chosen.address, log_to_driver=False)
        print(json.dumps(counted_runs(chosen.nodes, chosen.units, chosen.repeats)))
        ray.shutdown()
        return
    num_units, repeats = (4, 1) if chosen.quick else (chosen.units, chosen.repeats)
    figures = [figure for num in NODES for figure in on_nodes(num, num_units, repeats)]
    batch_bytes = _CLIPS_PER_BATCH * CLIP_FRAMES * _FEATURES * 4
    notes = [
        f"{num_units} files, {num_units * _CLIPS_PER_UNIT // _CLIPS_PER_BATCH} batches of "
        f"{batch_bytes / 2**20:.3g} MiB, {1000 * _SLEEP_S:g} ms of sleep for each in each pool",
        "one actor a node and pool; spread: over runs, each counted whole, the start included",
    ]
    Report("locality", figures, notes).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
