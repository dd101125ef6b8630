"""All that a GPU is asked, in ten minutes: its answers first, then its speed.

Step by step, each in a process that is ended when its time or that of the session is over; one that
fails does not keep the others from running. What needs Ray comes last, and is left out where there
is none.

    python -m benchmarks.gpu_session [--minutes 9.5] [--to FOLDER] [--device cpu --tiny]

The folder gets what each step has printed, and the results.
"""

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import RESULTS

_GRACE_S = 5.0


@dataclass(frozen=True)
class Step:
    """A process.

    Attributes:
        name: what it finds out.
        command: arguments of Python.
        limit_s: longest time.
        needs_ray: whether it is left out where there is no Ray.
    """

    name: str
    command: tuple[str, ...]
    limit_s: float
    needs_ray: bool = False


@dataclass(frozen=True)
class Ended:
    """How a step ended: its exit status, None where its time was over."""

    step: Step
    status: int | None
    took_s: float

    def __str__(self) -> str:
        how = "its time was over" if self.status is None else f"exit status {self.status}"
        return f"{self.step.name}: {how}, {self.took_s:.0f} s"


def steps(device: str, tiny: bool) -> list[Step]:
    """What decides first comes first."""
    options = ["--device", device, *(["--tiny"] if tiny else [])]
    few = ["--samples", "384", "--batch-size", "16"] if tiny else []
    probes = ["--repeats", "1", "--batches", "2", "--batch-size", "16"] if tiny else ["--repeats=3"]
    in_one = ("-m", "benchmarks.gpu_engine", "--only=one actor", *options, *few)
    one_model, tests = "--models=resnet50", ("-m", "pytest", "-q")
    return [
        Step("answers of the probes", (*tests, "tests/gpu/test_probes.py"), 150),
        Step("probes beside bare loops", ("-m", "benchmarks.gpu", *options, *probes), 180),
        Step("engine in one process", (*in_one, "--local", one_model), 120),
        Step(
            "tables of whole audits", ("-m", "pytest", "-q", "tests/gpu/test_engine.py"), 120, True
        ),
        Step("engine on Ray, one actor", (*in_one, one_model), 150, True),
        Step("the same of ViT-B", (*in_one, "--models=vit_b"), 150, True),
    ]


def ended(steps: Iterable[Step], limit_s: float, has_ray: bool, logs: Path) -> Iterator[Ended]:
    """Run the steps for which there is time, one after another; the output of each is a file."""
    end_s = time.monotonic() + limit_s
    for number, step in enumerate(steps, start=1):
        left_s = min(step.limit_s, end_s - time.monotonic() - _GRACE_S)
        if left_s <= 0 or (step.needs_ray and not has_ray):
            continue
        log = logs / f"{number}-{step.name.replace(' ', '-')}.log"
        yield _one(step, left_s, log)


def _one(step: Step, limit_s: float, log: Path) -> Ended:
    started_s, status = time.monotonic(), None
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *step.command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(limit_s)
        if status is None:
            _end(process)
    return Ended(step, status, time.monotonic() - started_s)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """With all that it has started in its group; Ray's own processes follow their driver."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S / 2)


def main() -> None:
    """Run all, and say how each ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=9.5)
    parser.add_argument("--to", type=Path, default=RESULTS / "gpu-session")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="small models and pictures")
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    if given.device == "cuda":
        os.environ["RAY_AUDIT_REQUIRE_GPU"] = "1"
    has_ray = importlib.util.find_spec("ray") is not None
    some = steps(given.device, given.tiny)
    failed = []
    for how in ended(some, 60 * given.minutes, has_ray, given.to):
        print(how, flush=True)
        if how.status:
            failed.append(how.step.name)
        for result in RESULTS.glob("gpu*.json"):
            shutil.copy(result, given.to)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; see {given.to}")


if __name__ == "__main__":
    main()
