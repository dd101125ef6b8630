"""Peak memory of the driver and of each actor, at 1 and at 8 times the samples.

Each size runs in a driver process and a Ray of its own. What is compared is anonymous memory
(the object store is shared memory of a fixed size, and is left out), sampled five times a second.

    python -m benchmarks.memory [--repeats 3]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import Figure, Report, ratios
from benchmarks.relay import WORKLOADS, make_data
from ray_audit.config import AuditConfig
from ray_audit.engine.run import run_audit

BASE_IMAGES = 512
GROWTH = 8
EVERY_S = 0.2


class MemoryWatch(threading.Thread):
    """Samples the anonymous memory of this process and of the actors that it started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.driver_bytes = 0
        self.actor_bytes = 0
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Sample until asked to stop."""
        while not self._stop_asked.wait(EVERY_S):
            self.driver_bytes = max(self.driver_bytes, anonymous_bytes(os.getpid()))
            for pid in actor_pids():
                self.actor_bytes = max(self.actor_bytes, anonymous_bytes(pid))

    def stop(self) -> None:
        """Stop and wait."""
        self._stop_asked.set()
        self.join()


def actor_pids() -> list[int]:
    """Processes of the pools' actors."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if name.startswith(b"ray::") and b"_Pool" in name:
            pids.append(int(folder.name))
    return pids


def anonymous_bytes(pid: int) -> int:
    """RssAnon of a process; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines.get("RssAnon", "0 kB").split()[0]) * 1024


def run_size(num_images: int) -> dict[str, float]:
    """One audit in this process."""
    work = replace(WORKLOADS["images"], num_images=num_images, size=(48, 48))
    with tempfile.TemporaryDirectory() as name:
        config = make_data(work, Path(name))
        values = config.model_dump()
        values |= {"scores": ["csl", "vog"], "checkpoints": f"{name}/checkpoints/epoch_00[12]*"}
        # One batch size: automatic batches follow the units, and more images have larger units.
        values["engine"] = {"batch_size": 16}
        watch = MemoryWatch()
        watch.start()
        started = time.monotonic()
        outcome = run_audit(AuditConfig.parse(values))
        watch.stop()
        if outcome.counts["scored"] != num_images:
            raise SystemExit(f"{outcome.counts} of {num_images} images")
    seconds = time.monotonic() - started
    return {"driver": watch.driver_bytes, "actor": watch.actor_bytes, "seconds": seconds}


def in_own_process(num_images: int) -> dict[str, float]:
    """The same in a fresh process, so that peaks do not mix."""
    command = [sys.executable, "-m", "benchmarks.memory", "--only", str(num_images)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", type=int, help="run one size and print its figures")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(run_size(arguments.only)))
        return
    small, large = [], []
    for _ in range(arguments.repeats):
        small.append(in_own_process(BASE_IMAGES))
        large.append(in_own_process(BASE_IMAGES * GROWTH))
    figures = []
    for who in ("driver", "actor"):
        ones, eights = ([one[who] / 2**20 for one in runs] for runs in (small, large))
        figures += [
            Figure(f"{who}, {BASE_IMAGES} images", "MiB", tuple(ones)),
            Figure(f"{who}, {BASE_IMAGES * GROWTH} images", "MiB", tuple(eights)),
            Figure(f"{who}, {GROWTH} times the samples", "times", ratios(eights, ones)),
        ]
    Report("memory", figures, ["peak anonymous memory, sampled every 0.2 s"]).publish()


if __name__ == "__main__":
    main()
