"""A lease in object storage: who works on an output now, so that nobody pays for the same twice.

It saves cost and is no lock: two holders at once do no harm, since runs commit under names that do
not depend on who did the work. No clock is compared with another machine's: a lease is dead when
its content has not changed for its own time to live, by the watcher's clock.
"""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Self

from ray_audit import storage
from ray_audit.errors import StorageError

TTL_S = 120.0
_POLLS_PER_TTL = 12
_BEATS_PER_TTL = 4
_SETTLE_S = 1.0


@dataclass(frozen=True)
class LeaseState:
    """What the object holds.

    Attributes:
        holder: random name of who holds it.
        purpose: what for, e.g. a date.
        beat: grows while the holder lives.
        ttl_s: how long it may stay as it is before it counts as dead.
        ended: whether the holder gave it back.
    """

    holder: str
    purpose: str
    beat: int
    ttl_s: float
    ended: bool = False

    @classmethod
    def read(cls, uri: str) -> Self | None:
        """What is there; None where nothing is, or nothing that can be read."""
        with contextlib.suppress(StorageError, ValueError, TypeError):
            return cls(**json.loads(storage.read_bytes(uri)))
        return None


class Lease:
    """One party's view of a lease.

    Args:
        uri: the object.
        purpose: told to others.
        ttl_s: silence after which others take it.
        clock_s, sleep: replaced in tests.
    """

    def __init__(
        self,
        uri: str,
        purpose: str,
        ttl_s: float = TTL_S,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._uri, self._clock_s, self._sleep = uri, clock_s, sleep
        self._mine = LeaseState(uuid.uuid4().hex, purpose, 0, ttl_s)

    def acquire(self, wait_s: float, waiting: Callable[[LeaseState], None]) -> bool:
        """Take it when it is free or dead.

        Args:
            wait_s: how long to wait for another holder.
            waiting: told of the holder whenever there is a new one.

        Returns:
            Whether it is held; False where another held it for all of `wait_s`.
        """
        start_s = self._clock_s()
        seen, seen_s, announced = None, start_s, ""
        while True:
            now_s, current = self._clock_s(), LeaseState.read(self._uri)
            if current != seen:
                seen, seen_s = current, now_s
            if current is None or current.ended or now_s - seen_s > current.ttl_s:
                if self._take():
                    return True
                continue
            if now_s - start_s >= wait_s:
                return False
            if current.holder != announced:
                announced = current.holder
                waiting(current)
            self._sleep(current.ttl_s / _POLLS_PER_TTL)

    def _take(self) -> bool:
        """Write, and look who was last: of several at once one is."""
        self._write()
        self._sleep(_SETTLE_S)
        now = LeaseState.read(self._uri)
        return now is not None and now.holder == self._mine.holder

    def _write(self) -> None:
        self._mine = replace(self._mine, beat=self._mine.beat + 1)
        storage.write_bytes(self._uri, json.dumps(asdict(self._mine)).encode())

    def renew(self) -> bool:
        """Show that the holder lives; False where another has taken the lease meanwhile."""
        current = LeaseState.read(self._uri)
        if current is not None and current.holder != self._mine.holder:
            return False
        self._write()
        return True

    def release(self) -> None:
        """Give it back, unless another has taken it."""
        current = LeaseState.read(self._uri)
        if current is not None and current.holder == self._mine.holder:
            self._mine = replace(self._mine, ended=True)
            self._write()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Renew it from a thread while the block runs, and give it back at its end."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self._mine.ttl_s / _BEATS_PER_TTL):
                with contextlib.suppress(StorageError):
                    if not self.renew():
                        return

        thread = threading.Thread(target=beat, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            with contextlib.suppress(StorageError):
                self.release()
