"""Receipts of a pipeline as they come, and an end of it where nothing comes any more."""

import queue
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import ray

from ray_audit.config import EngineConfig
from ray_audit.engine.backends.ray.connection import cause
from ray_audit.engine.backends.wire import Receipt
from ray_audit.errors import RunError, StalledError

_HEAD_EVERY_S, _HEAD_SILENCE_S = 5.0, 30.0
_LOOKS_PER_LIMIT = 10
# Ray asks tasks that yield to end and does not wait for it: until then they write markers.
_CANCELLED_S = 0.5


def watched(
    dataset: Any, engine: EngineConfig, beats: Callable[[], frozenset[str]]
) -> Generator[Receipt, None, None]:
    """Receipts as they come, with a limit on the silence between two of them.

    Args:
        dataset: whose rows they are.
        engine: limits.
        beats: signs of life of actors that work on one crate for long; where they change, there
            is a receipt of nothing.
    """
    inbox: queue.Queue[Receipt | BaseException | None] = queue.Queue()
    stopped = threading.Event()

    def pull() -> None:
        try:
            for receipt in _read(dataset):
                inbox.put(receipt)
                if stopped.is_set():
                    return  # which ends the pipeline: nobody waits for the rest
            inbox.put(None)
        except BaseException as error:  # handed to the thread that waits
            inbox.put(error)

    puller = threading.Thread(target=pull, name="receipts", daemon=True)
    puller.start()
    try:
        yield from _receipts(inbox, engine, _Head(), _Actors(beats))
    except (StalledError, KeyboardInterrupt, GeneratorExit):
        _shut_down(puller)  # nothing would end it: its actors would hold what they reserved
        raise
    finally:
        stopped.set()


def _read(dataset: Any) -> Iterator[Receipt]:
    # `iter_rows` asks for the next block first, and would tell of each commit when another is made:
    # findings/ray_rows_wait_for_the_next_block.sh.
    blocks = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    for block in blocks:
        yield from map(Receipt.from_json, block["receipt"].to_pylist())


class RememberedExecutor:
    """Called back by Ray Data: keeps what executes a dataset with the thread that pulls from it."""

    def before_execution_starts(self, executor: Any) -> None:
        """Keep it."""
        threading.current_thread().executor = executor  # type: ignore[attr-defined]

    def on_execution_step(self, executor: Any) -> None:
        """Ignore."""

    def after_execution_succeeds(self, executor: Any) -> None:
        """Ignore."""

    def after_execution_fails(self, executor: Any, error: Exception) -> None:
        """Ignore."""


def _shut_down(puller: threading.Thread) -> None:
    executor = getattr(puller, "executor", None)
    if executor is not None:
        executor.shutdown(force=True)
        time.sleep(_CANCELLED_S)


class _Head:
    """Watches whether the cluster's head still answers.

    Ray itself ends the whole process, without a word, a minute after the head has gone.
    """

    def __init__(self) -> None:
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._place = host.strip("[]"), int(port)
        self._answered_s = time.monotonic()

    def check(self) -> None:
        """Look for it.

        Raises:
            RunError: it has not answered for half a minute.
        """
        try:
            socket.create_connection(self._place, timeout=_HEAD_EVERY_S).close()
            self._answered_s = time.monotonic()
        except OSError as error:
            if time.monotonic() - self._answered_s > _HEAD_SILENCE_S:
                raise RunError(
                    f"the head node of the Ray cluster at {self._place[0]}:{self._place[1]} does "
                    f"not answer any more ({error}): start the cluster again and run again; what "
                    "was committed is reused"
                ) from error


class _Actors:
    """Whether actors that have sent nothing for long are at work."""

    def __init__(self, beats: Callable[[], frozenset[str]]) -> None:
        self._beats, self._known = beats, frozenset[str]()
        self._looked_s = time.monotonic()

    def are_at_work(self, every_s: float) -> bool:
        """Look, now and then, for signs of life that are new."""
        if time.monotonic() - self._looked_s < every_s:
            return False
        self._looked_s = time.monotonic()
        known, self._known = self._known, self._beats()
        return not self._known <= known


def _receipts(
    inbox: "queue.Queue[Receipt | BaseException | None]",
    engine: EngineConfig,
    head: _Head,
    actors: _Actors,
) -> Iterator[Receipt]:
    limit_s, what = engine.start_timeout_s, "engine.start_timeout_s"
    while True:
        receipt = _next(inbox, limit_s, what, head, actors)
        if receipt is None:
            return
        if isinstance(receipt, BaseException):
            raise RunError(
                f"Ray gave up: {cause(receipt)}. Where processes died, see the workers' logs and "
                "the nodes' memory; run again, and what was committed is reused"
            ) from receipt
        yield receipt
        limit_s, what = engine.stall_timeout_s, "engine.stall_timeout_s"


def _next(
    inbox: "queue.Queue[Receipt | BaseException | None]",
    limit_s: float,
    what: str,
    head: _Head,
    actors: _Actors,
) -> Receipt | BaseException | None:
    deadline_s = time.monotonic() + limit_s
    while True:
        left_s = deadline_s - time.monotonic()
        try:
            return inbox.get(timeout=max(0.0, min(left_s, _HEAD_EVERY_S)))
        except queue.Empty:
            head.check()
        if actors.are_at_work(limit_s / _LOOKS_PER_LIMIT):
            return Receipt(unit_id="")
        if left_s <= 0:
            raise StalledError(
                f"no batch was committed for {limit_s:g} s ({what}): look at `ray status` for "
                "resources that never come, and at the actors' and workers' logs for a model or a "
                "decoder that hangs. Where it was only slow, raise the limit; what was committed "
                "is reused"
            )
