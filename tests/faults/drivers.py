"""`ray-audit run` in a process of its own, which may be killed, and what it left."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_audit.tables.manifest import Manifest, latest_complete
from tests.faults.processes import kill_tree

REPOSITORY = Path(__file__).parents[2]
DATE = "2026-01-31"


@dataclass(frozen=True)
class Tables:
    """A complete run, as `tests.support.tables` compares it."""

    run_uri: str
    manifest: Manifest

    @property
    def counts(self) -> dict[str, Any]:
        return self.manifest.counts


def tables_of(output):
    run_uri = f"{output}/runs/{latest_complete(str(output))}"
    return Tables(run_uri, Manifest.read(run_uri))


def committed(output):
    """Number of crates below a local output."""
    return sum(1 for _ in Path(output).glob("units/*/*/[!.]*.parquet"))


class Driver:
    """A running audit or training; as a context manager it leaves no process behind."""

    def __init__(self, spec_file, *options, env=None, command="run"):
        arguments = [sys.executable, "-m", "ray_audit", command, str(spec_file), "--json"]
        arguments += ["--date", DATE] if command == "run" else []
        folder = Path(spec_file).parent
        self.log = folder / f"driver-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*arguments, *options],
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | (env or {}),
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def pid(self):
        return self.process.pid

    def kill(self):
        """SIGKILL the driver and the Ray that it started."""
        kill_tree(self.pid)
        self.process.wait()

    def wait_until(self, condition, limit_s=240):
        """Wait for a condition; False where the driver ended before it came true."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"waited {limit_s} s in vain\n{self.text()}"
            time.sleep(0.02)
        return True

    def ended(self, limit_s=120):
        """The exit code."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end within {limit_s} s\n{self.text()}") from None

    def text(self):
        return self.log.read_text(errors="replace")

    def completes(self, limit_s=120):
        """It must end well."""
        assert self.ended(limit_s) == 0, self.text()
