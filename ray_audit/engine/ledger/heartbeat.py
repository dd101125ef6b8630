"""The sign of life of a run that goes on: `running.json` in its folder, until it ends."""

import contextlib
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from ray_audit import storage
from ray_audit.config import EngineConfig
from ray_audit.errors import RayAuditError
from ray_audit.processes import is_gone
from ray_audit.tables.manifest import RUNNING

_EVERY_S = 30.0
_MARGIN_S = 60.0


@dataclass(frozen=True)
class HeartbeatState:
    """What a run writes of itself now and then.

    Attributes:
        host: machine of the driver.
        pid: its process there.
        started_s: Unix time of its start.
        written_s: Unix time of this sign.
        stale_after_s: silence after which the run is held to be dead.
        num_units: work units committed so far by this call.
        num_expected: work units that it set out to run.
    """

    host: str
    pid: int
    started_s: float
    written_s: float
    stale_after_s: float
    num_units: int
    num_expected: int

    @classmethod
    def read(cls, run_uri: str) -> Self | None:
        """The sign of a run, or None where there is none."""
        with contextlib.suppress(RayAuditError, ValueError, TypeError):
            return cls(**json.loads(storage.read_bytes(storage.join(run_uri, RUNNING))))
        return None

    def is_stale(self, now_s: float) -> bool:
        """Whether the run has been silent for too long to be alive."""
        return now_s - self.written_s > self.stale_after_s

    def has_died_here(self) -> bool:
        """Whether its process was one of this machine, and is no more."""
        return self.host == socket.gethostname() and is_gone(self.pid)


class Heartbeat:
    """Writes the signs of life of one run; what cannot be written is left out.

    Args:
        run_uri: the run's folder.
        engine: its timeouts say how long it may be silent.
        num_expected: work units that it sets out to run.
    """

    def __init__(self, run_uri: str, engine: EngineConfig, num_expected: int) -> None:
        now_s = time.time()
        self._uri = storage.join(run_uri, RUNNING)
        silence_s = max(engine.start_timeout_s, engine.stall_timeout_s) + _MARGIN_S
        self._sign = HeartbeatState(
            socket.gethostname(), os.getpid(), now_s, 0.0, silence_s, 0, num_expected
        )

    def beat(self, num_units: int, force: bool = False) -> None:
        """Say that so many units are committed, unless that was said a moment ago."""
        now_s = time.time()
        if not force and now_s - self._sign.written_s < _EVERY_S:
            return
        changes = {"written_s": now_s, "num_units": num_units}
        self._sign = HeartbeatState(**(asdict(self._sign) | changes))
        with contextlib.suppress(RayAuditError):
            storage.write_bytes(self._uri, json.dumps(asdict(self._sign)).encode())

    @staticmethod
    def some_died_here(output: str) -> bool:
        """Whether a run's process on this machine is no more, though its sign is on its disk."""
        fs, path = storage.filesystem(output)
        signs = Path(path).glob(f"runs/*/{RUNNING}") if "file" in fs.protocol else ()
        states = (HeartbeatState.read(str(sign.parent)) for sign in signs)
        return any(state is not None and state.has_died_here() for state in states)

    def end(self) -> None:
        """Take the sign away."""
        with contextlib.suppress(RayAuditError):
            storage.remove(self._uri)
