"""Peak memory of the driver and of each actor, at 1 and at 8 times the samples.

Each size runs in a driver process and a Ray of its own. What is compared is anonymous memory
(the object store is shared memory of a fixed size, and is left out), sampled five times a second.

    python -m benchmarks.memory [--repeats 5] [--quick]
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.processes import MemoryWatch
from benchmarks.sets import WORKLOADS, make_data
from ray_audit.config import AuditConfig
from ray_audit.engine.run.audit import run_audit

BASE_IMAGES = 512
GROWTH = 8
QUICK_IMAGES = 128


def run_size(num_images: int) -> dict[str, float]:
    """One audit in this process."""
    work = replace(WORKLOADS["images"], num_samples=num_images, size=(48, 48))
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
    options = parser(__doc__)
    options.add_argument("--only", type=int, help="run one size and print its figures")
    arguments = options.parse_args()
    if arguments.only:
        print(json.dumps(run_size(arguments.only)))
        return
    base = QUICK_IMAGES if arguments.quick else BASE_IMAGES
    small, large = [], []
    for _ in range(arguments.repeats):
        small.append(in_own_process(base))
        large.append(in_own_process(base * GROWTH))
    figures = []
    for who in ("driver", "actor"):
        ones, eights = ([run[who] / 2**20 for run in runs] for runs in (small, large))
        figures += [
            Figure(f"{who}, {base} images", "MiB", tuple(ones)),
            Figure(f"{who}, {base * GROWTH} images", "MiB", tuple(eights)),
            Figure(f"{who}, {GROWTH} times the samples", "times", ratios(eights, ones)),
        ]
    notes = ["peak anonymous memory, sampled every 0.2 s"]
    Report("memory", figures, notes).publish(is_kept=not arguments.quick)


if __name__ == "__main__":
    main()
