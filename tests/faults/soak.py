"""Many kills, one after another: every audit must end with the tables of an undisturbed one.

    python -m tests.faults.soak --minutes 15 --seed 0

Rounds of five kinds take turns; within a round, what is killed and when is drawn from the seed.
Prints what was injected and survived, writes benchmarks/results/soak.json, and ends with 1 where
a table differed, a run did not end, or files or processes of the killed ones were left behind.
"""

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import RESULTS, machine
from tests.faults.audits import assert_nothing_left, assert_survived, slow_videos, undisturbed
from tests.faults.drivers import Driver, committed
from tests.faults.nodes import Nodes, kill_node
from tests.faults.processes import below, kill, outliving, pool_actors, raylet

KINDS = ("local_driver", "actors", "nodes", "raylets", "ray_driver")
NUM_DRIVER_KILLS = 6
NUM_ACTOR_KILLS = 8
NUM_NODE_KILLS = 4
ORPHANS_S = 150
"""Ray's two agents wait for a minute for the cluster of a driver that was killed."""


@dataclass
class Soak:
    """The set that is audited again and again, and what happened to it."""

    folder: Path
    random: random.Random
    injected: Counter = field(default_factory=Counter)
    survived: Counter = field(default_factory=Counter)
    problems: list = field(default_factory=list)
    rounds: list = field(default_factory=list)

    def __post_init__(self):
        self.videos = slow_videos(self.folder, num=24, num_frames=8)  # a crate each
        self.oracle = undisturbed(self.videos)

    def round(self, number, kind):
        """One audit in a folder of its own."""
        output = str(self.folder / f"out-{number}")
        before, started_s = self.injected.copy(), time.monotonic()
        try:
            getattr(self, kind)(output)
            assert_survived(output, self.oracle)
            assert_nothing_left(output)
            self.survived += self.injected - before
        except Exception:  # one round that fails does not end the soak
            self.problems.append(f"round {number}, {kind}: {traceback.format_exc()[-3000:]}")
        seconds = round(time.monotonic() - started_s, 1)
        self.rounds.append({"kind": kind, "seconds": seconds})
        faults = dict(self.injected - before)
        print(f"round {number:3d} {kind:14s} {seconds:6.1f} s  {faults}", flush=True)

    def local_driver(self, output):
        """Kill the driver of the one-process engine."""
        self._kill_drivers(output, "--local")

    def ray_driver(self, output):
        """Kill the driver alone: the Ray that it started has to end by itself."""
        self._kill_drivers(output)

    def _kill_drivers(self, output, *options):
        """Every other time as soon as it has got somewhere, else at a random time."""
        spec, others = self.videos.spec_file(output=output), {}
        for number in range(NUM_DRIVER_KILLS):
            goal = committed(output) + self.random.randint(1, 2) if number % 2 else 0
            with Driver(spec, *options) as driver:
                if not driver.wait_until(lambda goal=goal: committed(output) >= goal):
                    break
                if self._later(driver, 1.0 if goal else 12.0):
                    others |= below(driver.pid)
                    kill(driver.pid)
                    driver.process.wait()
                    self.injected["driver on Ray" if not options else "driver"] += 1
        with Driver(spec, *options) as driver:
            driver.completes(limit_s=600)
        assert not outliving(others, ORPHANS_S)

    def _later(self, driver, max_delay_s):
        """Wait for a random time; False where the run ended meanwhile."""
        at_s = time.monotonic() + self.random.uniform(0, max_delay_s)
        return driver.wait_until(lambda: time.monotonic() > at_s)

    def actors(self, output):
        """Kill one actor after another, of any pool, while the run goes on."""
        with Driver(self.videos.spec_file(output=output)) as driver:
            others = {}
            for _ in range(NUM_ACTOR_KILLS):
                if not driver.wait_until(lambda: pool_actors(driver.pid)):
                    break
                found = pool_actors(driver.pid)
                others |= below(driver.pid)
                if found:
                    kill(self.random.choice(found))
                    self.injected["actor"] += 1
                self._later(driver, 2.0)
            driver.completes(limit_s=600)
            assert not outliving(others, 60)

    def nodes(self, output):
        """Kill every process of a worker node that holds actors."""
        self._kill_nodes(output, "node", kill_node)

    def raylets(self, output):
        """Kill the raylet of a worker node alone: its workers have to end by themselves."""
        self._kill_nodes(output, "raylet", lambda node: kill(raylet(node.pid)))

    def _kill_nodes(self, output, fault, kill_it):
        engine = {"batch_size": 2, "actors_per_pool": 3}
        with Nodes() as nodes:
            nodes.head(num_cpus=2)
            workers = [nodes.worker(num_cpus=2) for _ in range(2)]
            spec, others = self.videos.spec_file(output=output, engine=engine), {}
            with Driver(spec, "--address", nodes.address, env=nodes.env) as driver:
                for _ in range(NUM_NODE_KILLS):
                    if not driver.wait_until(
                        lambda: any(pool_actors(worker.pid) for worker in workers)
                    ):
                        break
                    self._later(driver, 3.0)
                    workers.append(nodes.worker(num_cpus=2))  # what an autoscaler would do
                    candidates = [worker for worker in workers if pool_actors(worker.pid)]
                    if candidates:
                        node = self.random.choice(candidates)
                        workers.remove(node)
                        others |= below(node.pid)
                        kill_it(node)
                        self.injected[fault] += 1
                driver.completes(limit_s=600)
            assert not outliving(others, 60)

    def table(self):
        """Faults by kind, in Markdown."""
        lines = ["| fault | injected | survived |", "|---|---|---|"]
        lines += [f"| {kind} | {n} | {self.survived[kind]} |" for kind, n in self.injected.items()]
        return "\n".join(lines)


def main():
    """Go on for as long as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    kinds = options.kinds
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        soak = Soak(Path(name), random.Random(options.seed))
        started_s, number = time.monotonic(), 0
        while time.monotonic() < started_s + 60 * options.minutes:
            soak.round(number, kinds[number % len(kinds)])
            number += 1
    print(soak.table(), *soak.problems, sep="\n")
    RESULTS.mkdir(exist_ok=True)
    content = {
        "machine": machine(),
        "seed": options.seed,
        "minutes": round((time.monotonic() - started_s) / 60, 1),
        "injected": soak.injected,
        "survived": soak.survived,
        "rounds": soak.rounds,
        "problems": soak.problems,
    }
    (RESULTS / "soak.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    sys.exit(bool(soak.problems))


if __name__ == "__main__":
    main()
