"""The processes below a benchmark: their memory and their CPU time, from /proc."""

import os
import threading
from pathlib import Path

from tests.faults.processes import below

_EVERY_S = 0.2
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class MemoryWatch(threading.Thread):
    """Peaks of anonymous memory while it runs.

    Shared memory is left out: the object store has a fixed size.

    Attributes:
        driver_bytes: of this process.
        actor_bytes: of the largest actor of a pool below it.
        sum_bytes: of this process and of all Ray workers below it together.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.driver_bytes = self.actor_bytes = self.sum_bytes = 0
        self._stop_requested = threading.Event()

    def run(self) -> None:
        """Sample until asked to stop."""
        while not self._stop_requested.wait(_EVERY_S):
            driver = anonymous_bytes(os.getpid())
            workers = {pid: name for pid, name in below(os.getpid()).items() if is_worker(name)}
            num_bytes = {pid: anonymous_bytes(pid) for pid in workers}
            actors = [num_bytes[pid] for pid, name in workers.items() if "PoolActor" in name]
            self.driver_bytes = max(self.driver_bytes, driver)
            self.actor_bytes = max([self.actor_bytes, *actors])
            self.sum_bytes = max(self.sum_bytes, driver + sum(num_bytes.values()))

    def stop(self) -> None:
        """Stop and wait."""
        self._stop_requested.set()
        self.join()


def is_worker(command: str) -> bool:
    """Whether a command line is that of a Ray worker: an actor or task, or an idle one."""
    return command.startswith("ray::")


def anonymous_bytes(pid: int) -> int:
    """RssAnon of a process; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines.get("RssAnon", "0 kB").split()[0]) * 1024


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, in user and kernel mode; 0 where it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS_PER_S


def reset_peak() -> None:
    """Let the peak of this process begin anew at what is resident now (see proc(5))."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_bytes() -> int:
    """Peak of this program alone: that of `getrusage` begins with what its parent held."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
