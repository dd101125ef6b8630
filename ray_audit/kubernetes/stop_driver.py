"""What the head's pod runs before it is stopped: the audit ends while its cluster is still there.

    python -m ray_audit.kubernetes.stop_driver

At SIGTERM `ray start` takes its node down, and kills the driver of a job without a word
(findings/a_head_that_ends_kills_the_drivers_of_jobs.sh): a run would end without `failure.json`.
As `preStop` of the head this tells the driver first, and waits for its end. What was committed is
whole either way.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

COMMAND, MODULE = "ray-audit", "ray_audit"
WAIT_S = 75.0  # of the pod's grace; Ray takes up to 35 s of it after this
_POLL_S = 0.2


def drivers() -> set[int]:
    """Pids of the commands that run on this machine; not of this one."""
    return {pid for pid in _pids() if _is_driver(pid)} - {os.getpid()}


def _pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def _is_driver(pid: int) -> bool:
    """Whether a process is `ray-audit`, or Python that runs it: as a script, or by `-m`.

    A RayJob of the manifests starts the script, `ray-audit submit` the module.
    """
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it ended meanwhile
        return False
    if arguments[1:3] == [b"-m", MODULE.encode()]:
        return True
    return any(Path(os.fsdecode(argument)).name == COMMAND for argument in arguments[:2])


def stop(wait_s: float = WAIT_S) -> bool:
    """Send SIGTERM to every driver and wait for their end; whether all have ended.

    Args:
        wait_s: how long to wait, in seconds.
    """
    signalled = drivers()
    for pid in signalled:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline_s = time.monotonic() + wait_s
    while signalled & drivers():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(_POLL_S)
    return True


def main() -> int:
    """0 where no driver is left, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wait-s", type=float, default=WAIT_S)
    return 0 if stop(parser.parse_args().wait_s) else 1


if __name__ == "__main__":
    sys.exit(main())
