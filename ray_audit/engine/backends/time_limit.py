"""The end of a process in which one of many short pieces of work hangs."""

import contextlib
import faulthandler
import math
import sys
import time
from collections.abc import Iterator

_SLACK = 0.1


class TimeLimit:
    """Ends this process where a piece of work takes longer; its log then says where it was.

    The watch is in C, for a model that hangs in native code may hold Python's lock. It is a thread
    that starts and ends, which costs as much as a small batch. So it goes on from one piece of work
    to the next, and begins anew when a tenth of the limit has passed: the end comes after the limit
    or up to a tenth later. Who does something else in between says so by `rest`.

    Args:
        limit_s: of one piece, in seconds; None for no limit.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._since_s = -math.inf

    @contextlib.contextmanager
    def around(self, rests: bool = False) -> Iterator[None]:
        """One piece of work; `rests` where something else may come right behind it."""
        if self._limit_s is not None:
            self._watch(self._limit_s)
        try:
            yield
        finally:
            if rests:
                self.rest()

    def _watch(self, limit_s: float) -> None:
        now_s = time.monotonic()
        if now_s - self._since_s < _SLACK * limit_s:
            return
        self._since_s = now_s
        later_s = (1 + _SLACK) * limit_s
        faulthandler.dump_traceback_later(later_s, exit=True, file=sys.__stderr__ or sys.stderr)

    def rest(self) -> None:
        """Nothing is watched until the next piece of work."""
        if self._since_s > -math.inf:
            self._since_s = -math.inf
            faulthandler.cancel_dump_traceback_later()
