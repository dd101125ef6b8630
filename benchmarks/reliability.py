"""What faults cost, what a night costs on which little or nothing changed, requests to S3.

The tables of nights and of runs with faults are compared with those of undisturbed runs before
their time counts. Run `make soak` for the many kills; its last result is repeated here. Three
repeats of the faults take about ten minutes, of the nights half an hour and more.

    python -m benchmarks.reliability [--repeats 5] [--only faults|nights|requests]
"""

import json
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import RESULTS, Figure, Report, parser, ratios
from benchmarks.plain_training import save_epoch
from benchmarks.sets import WORKLOADS, make_data
from ray_audit.checkpoints.factory import build_model
from ray_audit.config import AuditConfig
from ray_audit.engine.run.audit import run_audit
from ray_audit.engine.run.dry_run import dry_run
from tests.faults.audits import assert_survived, slow_videos, undisturbed
from tests.faults.conftest import faulty_store
from tests.faults.drivers import Driver, committed
from tests.faults.nodes import Nodes, kill_node
from tests.faults.processes import kill, pool_actors
from tests.support.tables import assert_identical

NUM_IMAGES = 2048
NUM_VIDEOS = 16
SLEEP_S = 0.2
NUM_CHECKPOINTS = WORKLOADS["images"].num_checkpoints


class FaultyRuns:
    """Wall times of one audit, undisturbed and with one fault half-way."""

    def __init__(self, folder: Path) -> None:
        # A model that sleeps: its time hardly depends on what else the machine does.
        self._videos = slow_videos(folder, num=NUM_VIDEOS, sleep_s=SLEEP_S)
        self._oracle = undisturbed(self._videos)
        self._half = NUM_VIDEOS * 7 // 2
        self._number = 0

    def seconds(self, fault: str) -> float:
        """Time of one audit with a fault, from its start to its manifest."""
        self._number += 1
        self._output = self._videos.folder / f"out-{self._number}"
        engine = {"batch_size": 2, "actors_per_pool": 3}
        with Nodes() as nodes:
            nodes.head(num_cpus=2)
            workers = [nodes.worker(num_cpus=2) for _ in range(2)]
            self._spec = self._videos.spec_file(output=str(self._output), engine=engine)
            started_s = time.monotonic()
            with self._driver(nodes) as driver:
                if fault != "none":
                    assert driver.wait_until(lambda: committed(self._output) >= self._half)
                if fault == "actor":
                    kill(next(p for node in workers for p in pool_actors(node.pid)))
                if fault == "node":
                    kill_node(next(node for node in workers if pool_actors(node.pid)))
                if fault != "driver":
                    driver.completes(limit_s=300)
            if fault == "driver":
                with self._driver(nodes) as driver:
                    driver.completes(limit_s=300)
            seconds = time.monotonic() - started_s
        assert_survived(self._output, self._oracle)
        return seconds

    def _driver(self, nodes: Nodes) -> Driver:
        return Driver(self._spec, "--address", nodes.address, env=nodes.env)


def faults(repeats: int) -> list[Figure]:
    """Time lost to one fault half-way: seconds, and as a share of the undisturbed run.

    Kinds take turns, so that what else the machine does falls on all of them alike.
    """
    kinds = ("none", "actor", "driver", "node")
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as name:
        runs = FaultyRuns(Path(name))
        for number in range(repeats):
            for kind in kinds:
                times[kind].append(runs.seconds(kind))
                print(f"{number + 1} of {repeats}, {kind}: {times[kind][-1]:.1f} s", flush=True)
    quiet = times["none"]
    figures = [Figure("undisturbed, with the start of the pools", "s", tuple(quiet))]
    for kind in kinds[1:]:
        lost_s = tuple(faulty_s - none for faulty_s, none in zip(times[kind], quiet, strict=True))
        share = tuple(ratio - 1 for ratio in ratios(times[kind], quiet))
        figures.append(Figure(f"lost to the death of one {kind}", "s", lost_s))
        figures.append(Figure(f"lost to the death of one {kind}", "of the run", share))
    return figures


VARIANTS: dict[str, dict[str, Any]] = {
    "without VoG": {"scores": ["csl"]},
    "with vog.keep_moments": {"scores": ["csl", "vog"], "vog": {"keep_moments": True}},
}


def nights(repeats: int) -> list[Figure]:
    """A full night, one without a change, and one with a new checkpoint; what moments cost."""
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for _ in range(repeats):
        for name, changes in VARIANTS.items():
            with tempfile.TemporaryDirectory() as folder:
                measured[name].append(_nights(Path(folder), changes))
    kept = measured["with vog.keep_moments"]
    return [
        *(figure for name in VARIANTS for figure in _night_figures(name, measured[name])),
        Figure(
            "full night, moments kept against not",
            "times",
            tuple(night["full"] / night["full, not kept"] for night in kept),
        ),
        Figure(
            "moments on disk",
            "bytes a pixel a sample",
            tuple(night["bytes_per_px"] for night in kept),
        ),
    ]


def _night_figures(name: str, measured: list[dict[str, float]]) -> list[Figure]:
    full = Figure(
        f"full night, {NUM_IMAGES} images, {NUM_CHECKPOINTS} checkpoints, {name}",
        "s",
        tuple(night["full"] for night in measured),
    )
    kinds = ("same date again", "next date, no change", "one new checkpoint")
    return [
        full,
        *(
            Figure(
                f"{kind}, {name}",
                "of a full night",
                tuple(night[kind] / night["full"] for night in measured),
            )
            for kind in kinds
        ),
    ]


def _nights(folder: Path, changes: dict[str, Any]) -> dict[str, float]:
    work = replace(WORKLOADS["images"], num_samples=NUM_IMAGES)
    config = make_data(work, folder)
    values = config.model_dump() | changes
    values["model"] |= {"input": {"size": work.size}}
    config = AuditConfig.parse(values)
    took: dict[str, float] = {}
    if config.vog.keep_moments:
        without = AuditConfig.parse(values | {"vog": {}, "output": f"{folder}/not-kept"})
        _, took["full, not kept"] = _night(without, "2026-01-01")
    stated_bytes = dry_run(config, None, True, None, None, calibrate=False).moments_bytes
    first, took["full"] = _night(config, "2026-01-01")
    assert first.counts["scored"] == NUM_IMAGES
    if config.vog.keep_moments:
        on_disk = sum(path.stat().st_size for path in folder.glob("out/units/*/*/*.moments"))
        num_px = NUM_IMAGES * math.prod(work.size)
        assert stated_bytes == 8 * num_px
        took["bytes_per_px"] = on_disk / num_px
    _, took["same date again"] = _night(config, "2026-01-01")
    second, took["next date, no change"] = _night(config, "2026-01-02")
    assert second.manifest.plan["num_new"] == 0
    assert_identical(second, first)
    torch.manual_seed(NUM_CHECKPOINTS)
    save_epoch(build_model(config.model), folder / "checkpoints", NUM_CHECKPOINTS + 1)
    third, took["one new checkpoint"] = _night(config, "2026-01-03")
    fresh, _ = _night(AuditConfig.parse(values | {"output": f"{folder}/fresh"}), "2026-01-03")
    assert_identical(third, fresh)
    print({name: round(value, 2) for name, value in took.items()}, flush=True)
    return took


def _night(config: AuditConfig, date: str) -> tuple[Any, float]:
    started_s = time.monotonic()
    outcome = run_audit(config, local=True, logical_date=date)
    return outcome, time.monotonic() - started_s


def requests() -> list[Figure]:
    """Requests that an audit from S3 to S3 makes, counted before the server."""
    with tempfile.TemporaryDirectory() as name, faulty_store(fraction=0) as store:
        videos = slow_videos(Path(name), num=NUM_VIDEOS)
        uri = store.put(name)
        labels = {"frames": f"{uri}/data/frames.csv"}
        dataset = videos.values["dataset"] | {"uri": f"{uri}/data/*.mp4", "labels": labels}
        checkpoints = f"{uri}/checkpoints/*.safetensors"
        spec = videos.spec_file(dataset=dataset, checkpoints=checkpoints, output=f"{uri}/out")
        with Driver(spec, "--local", env=store.env) as driver:
            driver.completes(limit_s=300)
        counts = store.counts()["requests"]
    reads = sum(n for request, n in counts.items() if ".mp4" in request)
    writes = sum(n for request, n in counts.items() if request.startswith("PUT "))
    return [
        Figure("requests for the content of a shard", "a shard", (reads / NUM_VIDEOS,)),
        Figure("writes (6 batches and a tail a shard)", "a shard", (writes / NUM_VIDEOS,)),
        Figure("all requests", "a shard", (sum(counts.values()) / NUM_VIDEOS,)),
    ]


def soaked() -> list[str]:
    """What the last soak said."""
    path = RESULTS / "soak.json"
    if not path.exists():
        return ["no soak was run here: `make soak`"]
    last = json.loads(path.read_text())
    counts = [f"{last['survived'].get(k, 0)} of {n} {k} kills" for k, n in last["injected"].items()]
    return [f"soak of {last['minutes']} min, seed {last['seed']}: survived {', '.join(counts)}"]


def main() -> None:
    """Run and publish."""
    options = parser(__doc__)
    options.add_argument("--only", choices=("faults", "nights", "requests"))
    arguments = options.parse_args()
    figures: list[Figure] = []
    if arguments.only in (None, "requests"):
        figures += requests()
    if arguments.only in (None, "nights"):
        figures += nights(arguments.repeats)
    if arguments.only in (None, "faults"):
        figures += faults(arguments.repeats)
    name = f"reliability-{arguments.only}" if arguments.only else "reliability"
    notes = [] if arguments.only == "requests" else ["all tables equal to undisturbed runs"]
    Report(name, figures, [*soaked(), *notes]).publish(is_kept=not arguments.quick)


if __name__ == "__main__":
    main()
