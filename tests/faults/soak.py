"""Many kills, one after another: every audit must end with the tables of an undisturbed one.

    python -m tests.faults.soak --minutes 15 --seed 0

Rounds of four kinds take turns; within a round, what is killed and when is drawn from the seed.
Prints what was injected and survived, writes benchmarks/results/soak.json, and ends with 1 where
a table differed or a run did not end.
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
from tests.faults.audits import assert_survived, slow_videos, undisturbed
from tests.faults.drivers import Driver
from tests.faults.nodes import Nodes, kill_node
from tests.faults.processes import kill, pool_actors

KINDS = ("local_driver", "actors", "nodes", "ray_driver")
NUM_DRIVER_KILLS = 4
NUM_ACTOR_KILLS = 4


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
        self.videos = slow_videos(self.folder, num=8)
        self.oracle = undisturbed(self.videos)

    def round(self, number, kind):
        """One audit in a folder of its own."""
        output = str(self.folder / f"out-{number}")
        before, started_s = self.injected.copy(), time.monotonic()
        try:
            getattr(self, kind)(output)
            assert_survived(output, self.oracle)
            self.survived += self.injected - before
        except Exception:  # one round that fails does not end the soak
            self.problems.append(f"round {number}, {kind}: {traceback.format_exc()[-3000:]}")
        seconds = round(time.monotonic() - started_s, 1)
        self.rounds.append({"kind": kind, "seconds": seconds})
        faults = dict(self.injected - before)
        print(f"round {number:3d} {kind:14s} {seconds:6.1f} s  {faults}", flush=True)

    def local_driver(self, output):
        """Kill the driver of the one-process engine at random times."""
        self._kill_drivers(output, "--local", max_s=8.0)

    def ray_driver(self, output):
        """Kill the driver, and the Ray that it started, at random times."""
        self._kill_drivers(output, max_s=25.0)

    def _kill_drivers(self, output, *options, max_s):
        spec = self.videos.spec_file(output=output)
        for _ in range(NUM_DRIVER_KILLS):
            with Driver(spec, *options) as driver:
                at_s = time.monotonic() + self.random.uniform(0, max_s)
                if driver.wait_until(lambda at_s=at_s: time.monotonic() > at_s):
                    self.injected["driver"] += 1
        with Driver(spec, *options) as driver:
            driver.completes(limit_s=300)

    def actors(self, output):
        """Kill one actor after another, of any pool, while the run goes on."""
        with Driver(self.videos.spec_file(output=output)) as driver:
            for _ in range(NUM_ACTOR_KILLS):
                if not driver.wait_until(lambda: pool_actors(driver.pid)):
                    break
                found = pool_actors(driver.pid)
                if found:
                    kill(self.random.choice(found))
                    self.injected["actor"] += 1
                at_s = time.monotonic() + self.random.uniform(0.5, 2.5)
                driver.wait_until(lambda at_s=at_s: time.monotonic() > at_s)
            driver.completes(limit_s=300)

    def nodes(self, output):
        """Kill a worker node that holds actors, at a random time after they have started."""
        engine = {"batch_size": 2, "actors_per_pool": 3}
        with Nodes() as nodes:
            nodes.head(num_cpus=2)
            workers = [nodes.worker(num_cpus=2) for _ in range(2)]
            spec = self.videos.spec_file(output=output, engine=engine)
            with Driver(spec, "--address", nodes.address, env=nodes.env) as driver:
                for worker in self.random.sample(workers, 2):
                    if not driver.wait_until(lambda node=worker: pool_actors(node.pid)):
                        break
                    at_s = time.monotonic() + self.random.uniform(0, 4)
                    driver.wait_until(lambda at_s=at_s: time.monotonic() > at_s)
                    nodes.worker(num_cpus=2)  # what an autoscaler would do
                    kill_node(worker)
                    self.injected["node"] += 1
                driver.completes(limit_s=300)

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
    asked = parser.parse_args()
    kinds = asked.kinds
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        soak = Soak(Path(name), random.Random(asked.seed))
        started_s, number = time.monotonic(), 0
        while time.monotonic() < started_s + 60 * asked.minutes:
            soak.round(number, kinds[number % len(kinds)])
            number += 1
    print(soak.table(), *soak.problems, sep="\n")
    RESULTS.mkdir(exist_ok=True)
    content = {
        "machine": machine(),
        "seed": asked.seed,
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
