"""Saves in the background, so that whoever asked gets an answer in a bounded time.

A store that does not answer holds a write for minutes. One thread writes, always the latest state:
a write that was late can never replace a newer one.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ray_audit.errors import RayAuditError, RunError
from ray_audit.supervisor import LateError, within

Value = TypeVar("Value")
LIMIT_S = 20.0
_RETRY_S = 10.0
_MAX_WAITING = 8


class Saver:
    """Writes a state that others change.

    Args:
        write: writes the state as it is when it is called.
        limit_s: how long `save` waits.
        retry_s: pause after a write that failed.
    """

    def __init__(
        self, write: Callable[[], None], limit_s: float = LIMIT_S, retry_s: float = _RETRY_S
    ) -> None:
        self._write, self._limit_s, self._retry_s = write, limit_s, retry_s
        self._changed = threading.Condition()
        self._requested = self._saved = self._failed = 0
        self._error: RayAuditError | None = None
        self._thread: threading.Thread | None = None

    def save(self) -> None:
        """Return when the state of this moment is stored.

        Raises:
            RunError: it is not, yet: the store answered badly or not at all. It is tried again.
        """
        with self._changed:
            self._requested += 1
            mine = self._requested
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="saver", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            self._changed.wait_for(lambda: max(self._saved, self._failed) >= mine, self._limit_s)
            if self._saved >= mine:
                return
            why = str(self._error) if self._failed >= mine else "the store does not answer"
        raise RunError(f"not saved yet, and tried again: {why}")

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._requested > self._saved)
                target = self._requested
            try:
                self._write()
                error = None
            except RayAuditError as failure:
                error = failure
            with self._changed:
                self._error = error
                if error is None:
                    self._saved = target
                else:
                    self._failed = target
                self._changed.notify_all()
                if error is not None:
                    # The next decision, or a while, is a reason to try again.
                    seen = self._requested
                    self._changed.wait_for(lambda: self._requested > seen, self._retry_s)  # noqa: B023


_places = threading.BoundedSemaphore(_MAX_WAITING)


def answered(limit_s: float, what: str, call: Callable[[], Value]) -> Value:
    """The result of a call of a store that may hang.

    Raises:
        RunError: there is none after `limit_s`, or too many calls hang already.
        BaseException: what the call raised.
    """
    if not _places.acquire(timeout=limit_s):
        raise RunError(f"{what}: the store does not answer; try again later")

    def freeing() -> Value:
        try:
            return call()
        finally:
            _places.release()

    start_s = time.monotonic()
    try:
        return within(limit_s, freeing)
    except LateError:
        waited_s = time.monotonic() - start_s
        message = f"{what}: no answer of the store within {waited_s:.0f} s; try again later"
        raise RunError(message) from None
