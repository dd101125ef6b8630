"""One actor of a pool, as Ray Data starts it, and starts it again where it died."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pyarrow as pa
import ray

from ray_audit.engine.backends import wire
from ray_audit.engine.backends.stages import StageSettings, commit
from ray_audit.engine.backends.wire import Crate, Envelope
from ray_audit.engine.ledger.attempts import (
    MAX_CRASHES,
    Attempts,
    probe_name,
)
from ray_audit.processes import loaded_for_good

if TYPE_CHECKING:
    from ray_audit.probes.targets import ReadyBatch

CRATES_AT_ONCE = 2
"""Calls side by side in an actor: one computes, while another reads, packs or commits its crate."""


class PoolActor:
    """An actor of one pool: Ray Data hands it a one-row table per crate.

    Calls may overlap; only one of them is at the models at a time. The last pool commits its crates
    and hands on receipts, so that records do not cross the cluster once more, and the next crate
    is computed while the store is waited for.

    Args:
        settings: shared settings.
        positions: checkpoints that it holds, in order.
        is_last: whether batches end their way here.
        limit_s: longest time of a batch at one checkpoint.
    """

    def __init__(
        self, settings: StageSettings, positions: tuple[int, ...], is_last: bool, limit_s: float
    ) -> None:
        # Imported here, so that decoding and committing processes do without torch.
        with loaded_for_good():
            from ray_audit.engine.backends.worker import PoolWorker

        self._settings, self._is_last = settings, is_last
        self._at_models = threading.Lock()
        self._attempts = settings.attempts
        self._pulse = None if self._attempts is None else Pulse(self._attempts, limit_s)
        beat = None if self._pulse is None else self._pulse.beat
        self._worker = PoolWorker(settings, positions, is_last, limit_s, beat)
        self._first_position = positions[0]
        self._was_restarted = ray.get_runtime_context().was_current_actor_reconstructed

    def __call__(self, table: pa.Table) -> pa.Table:
        """Probe the batches of the one crate of a table; then hand it on, or commit it."""
        crate = wire.decode(table)
        first = None if self._was_restarted else self._worker.first_ready(crate)
        with self._at_models:
            crate = self._probed(crate, first)
        if not self._is_last:
            return wire.encode(crate)
        return pa.table({"receipt": [commit(self._settings, crate).to_json()]})

    def _probed(self, crate: Crate, first: "Future[ReadyBatch] | None") -> Crate:
        if self._pulse is not None:
            self._pulse.begin()
        if self._was_restarted:
            return self._worker.processed(crate, self._marked(crate))
        return self._worker.process(crate, first)

    def _marked(self, crate: Crate) -> Iterator[Envelope]:
        """Once a process here has died, every batch is marked while it is under way.

        Of the crate that was under way then nobody knows which batch it was: the first death is
        charged to none.
        """
        for envelope in crate.batches:
            if envelope.is_lost or self._attempts is None:
                yield self._worker.probe(envelope, crate.positions)
                continue
            name = probe_name(crate.unit_id, crate.set_id, self._first_position, envelope.name)
            num_before = self._attempts.begin(name)
            if num_before >= MAX_CRASHES:
                trials = _Trials(self._attempts, name, self._pulse)
                yield self._worker.probe_each(envelope, crate.positions, trials)
                continue
            yield self._worker.probe(envelope, crate.positions)
            self._attempts.survived(name, num_before)


class _Trials:
    """Markers of what is tried of a batch that is deadly, one by one.

    Args:
        attempts: where they go.
        name: of the batch's own markers.
        pulse: whose signs of life say that this goes on.
    """

    def __init__(self, attempts: Attempts, name: str, pulse: "Pulse | None") -> None:
        self._attempts, self._name, self._pulse = attempts, name, pulse

    def has_died(self, what: str) -> bool:
        """Whether a process has died while it tried this."""
        if self._pulse is not None:
            self._pulse.give()
        return self._attempts.begin(self._marker(what)) > 0

    def survived(self, what: str) -> None:
        """Remove its marker."""
        self._attempts.survived(self._marker(what), 0)

    def _marker(self, what: str) -> str:
        # Beside those of the batch, which are counted by their folder.
        return f"{self._name}-alone/{what}"


class Pulse:
    """Signs of life of an actor that works on one crate for long.

    Args:
        attempts: where they go.
        every_s: least time between two, and from the beginning of a crate to its first.
    """

    def __init__(self, attempts: Attempts, every_s: float) -> None:
        self._attempts, self._every_s = attempts, every_s
        self._who, self._number = os.urandom(8).hex(), 0
        self.begin()

    def begin(self) -> None:
        """A crate begins."""
        self._last_s = time.monotonic()

    def beat(self) -> None:
        """Give one, if it is time."""
        if time.monotonic() - self._last_s >= self._every_s:
            self.give()

    def give(self) -> None:
        """Give one."""
        self._last_s = time.monotonic()
        self._number += 1
        self._attempts.beat(self._who, self._number)
