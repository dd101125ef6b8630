"""Work that may hang: done in a thread of its own, and left behind after too long a silence.

A thread cannot be ended from outside. So its owner waits for it and, when it has said nothing for
too long, goes on as after any other error: clears up, says where the work stood, and ends. What was
left behind does nothing more, should it wake up: its next step ends it.
"""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextvars import ContextVar
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from ray_audit.errors import StalledError

if TYPE_CHECKING:
    from ray_audit.samples import Batch

Value = TypeVar("Value")

_GRACE_S = 5.0
"""For the step under way, where the owner is interrupted."""
_FIRST = "its first step"
_CURRENT: ContextVar["Supervisor | None"] = ContextVar("supervisor", default=None)
_left_behind: list[threading.Thread] = []
_owns_process = threading.Event()


class _LeftBehind(BaseException):
    """Ends work that nobody waits for any more; nothing on its way swallows it."""


def step(stage: str, what: str, batch: "Batch | None" = None) -> None:
    """Say what begins now: a sign of life, and what is told if there is no other one.

    Args:
        stage: of the work, e.g. `probe`.
        what: it is done with, e.g. the name of a checkpoint.
        batch: whose samples it is about.
    """
    supervisor = _CURRENT.get()
    if supervisor is None:
        return
    if supervisor.is_at_work_here():
        supervisor.note(stage, what, batch)
    else:  # a thread that works ahead: alive, and not what the work waits for
        supervisor.beat()


def stepwise(items: Iterable[Value], stage: str, what: str) -> Iterator[Value]:
    """The same items; making each of them is a step."""
    iterator = iter(items)
    while True:
        step(stage, what)
        try:
            item = next(iterator)
        except StopIteration:
            return
        yield item


def supervised(limit_s: float | None, stage: str, work: Callable[[], Value]) -> Value:
    """Give what one piece of work gives; see `Supervisor`.

    Raises:
        StalledError: it made no step for too long.
    """
    supervisor = Supervisor(limit_s, stage)
    try:
        return supervisor.call(work)
    finally:
        supervisor.close()


class LateError(Exception):
    """A call did not end in time, and was left behind in its thread."""


def within(limit_s: float | None, call: Callable[[], Value]) -> Value:
    """Give what a call gives that makes no steps, unless it takes too long.

    Args:
        limit_s: longest time, in seconds; None for a call that may take any.
        call: may hang; it runs in a thread of its own, which does not keep the process alive.

    Raises:
        LateError: it did not end in time.
        BaseException: what it raised.
    """
    answer: Future[Value] = Future()
    threading.Thread(target=_done, args=(answer, call), daemon=True, name="within").start()
    if not wait([answer], limit_s).done:
        raise LateError
    return answer.result()


def is_any_left_behind() -> bool:
    """Whether work that hung, or was interrupted, is still there."""
    return any(thread.is_alive() for thread in _left_behind)


def own_process() -> None:
    """Let supervisors end this process where they cannot even be told that time is up.

    Code that hangs while it holds Python's lock lets no other thread run: then a watch outside of
    Python ends the process after twice the limit, and prints where it was.
    """
    _owns_process.set()


def watch_from_outside(limit_s: float | None) -> None:
    """Begin, or begin again, to wait for twice the limit; None ends the watch."""
    if not _owns_process.is_set():
        return
    if limit_s is None:
        faulthandler.cancel_dump_traceback_later()
    else:
        file = sys.__stderr__ or sys.stderr
        faulthandler.dump_traceback_later(2 * limit_s, exit=True, file=file)


class Supervisor:
    """Has work done in a thread, one call after another, and waits for it.

    Work that is supervised already is done where it is: its steps count for the outer supervisor.

    Args:
        limit_s: longest time between two steps, in seconds; None sets no limit, and no thread.
        stage: what it does, until the work says it by a step.
    """

    def __init__(self, limit_s: float | None, stage: str) -> None:
        self._limit_s, self._stage = limit_s, stage
        self._orders: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_left = False
        self.note(stage, _FIRST)

    def note(self, stage: str, what: str, batch: "Batch | None" = None) -> None:
        """Take a sign of life and where the work is; see `step`."""
        self.beat()
        self._at = (stage, what, batch)

    def beat(self) -> None:
        """Take a sign of life."""
        if self._is_left:
            raise _LeftBehind
        self._at_s = time.monotonic()
        watch_from_outside(self._limit_s)

    def is_at_work_here(self) -> bool:
        """Whether the calling thread is the one in which the work is done."""
        return threading.current_thread() is self._thread

    def call(self, work: Callable[[], Value]) -> Value:
        """Give what the work gives.

        Raises:
            StalledError: it made no step for too long.
            BaseException: what it raised.
        """
        if self._limit_s is None or _CURRENT.get() is not None:
            return work()
        answer: Future[Value] = Future()
        self._start()
        self.note(self._stage, _FIRST)
        self._orders.put((answer, work))
        try:
            while not wait([answer], self._left_s()).done:
                if not self._left_s():
                    raise StalledError(self._sentence())
        except BaseException as error:
            self._leave(answer, 0 if isinstance(error, StalledError) else _GRACE_S)
            raise
        finally:
            watch_from_outside(None)
        return answer.result()

    def each(self, items: Iterable[Value]) -> Iterator[Value]:
        """The same items, each made in the thread.

        Raises:
            StalledError: one of them made no step for too long.
        """
        iterator = iter(items)
        try:
            while made := self.call(lambda: _next(iterator)):
                yield made[0]
        finally:
            close = getattr(iterator, "close", None)
            if close is not None and not self._is_left:
                self.call(close)
            self.close()

    def close(self) -> None:
        """Let the thread end, once it has done what it does."""
        self._orders.put(None)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="supervised", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        _CURRENT.set(self)
        while (order := self._orders.get()) is not None:
            _done(*order)
            del order  # what it gave may be large

    def _left_s(self) -> float:
        return max(0.0, self._at_s + (self._limit_s or 0.0) - time.monotonic())

    def _leave(self, answer: "Future[Any]", grace_s: float) -> None:
        self._is_left = True
        if wait([answer], grace_s).done:
            self._is_left = False  # it is at rest
        elif self._thread is not None:
            _left_behind.append(self._thread)

    def _sentence(self) -> str:
        stage, what, batch = self._at
        return (
            f"nothing moved for {self._limit_s:g} s (engine.stall_timeout_s) in {stage}, at "
            f"{what}{_samples(batch)}. Look for a lock, a download or a device that does not "
            "answer; where it was only slow, raise the limit. The same command goes on from what "
            "was kept"
        )


def _next(items: Iterator[Value]) -> tuple[Value] | tuple[()]:
    for item in items:
        return (item,)
    return ()


def _done(answer: "Future[Value]", work: Callable[[], Value]) -> None:
    try:
        answer.set_result(work())
    except BaseException as error:  # handed to the owner
        answer.set_exception(error)


def _samples(batch: "Batch | None") -> str:
    if batch is None or not batch.samples.num_rows:
        return ""
    names = batch.samples["sample_id"]
    first, last = names[0].as_py(), names[-1].as_py()
    return f", sample {first}" if first == last else f", {len(names)} samples, {first} to {last}"
