"""One actor of a pool, as Ray Data starts it, and starts it again where it died."""

from dataclasses import replace

import pyarrow as pa
import ray

from ray_audit.engine.backends import wire
from ray_audit.engine.backends.stages import StageSettings
from ray_audit.engine.backends.wire import Envelope
from ray_audit.engine.ledger.attempts import MAX_CRASHES, given_up_batch, probe_name
from ray_audit.samples import Tail


class PoolActor:
    """An actor of one pool: Ray Data hands it a one-row table per batch.

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
        from ray_audit.engine.backends.worker import PoolWorker

        self._worker = PoolWorker(settings, positions, is_last, limit_s)
        self._attempts = settings.attempts
        self._first_position = positions[0]
        self._was_restarted = ray.get_runtime_context().was_current_actor_reconstructed
        self._num_unmarked = 1

    def __call__(self, table: pa.Table) -> pa.Table:
        """Probe the one batch of a table."""
        envelope = wire.decode(table)
        process = self._process_marked if self._was_restarted else self._worker.process
        return wire.encode(process(envelope))

    def _process_marked(self, envelope: Envelope) -> Envelope:
        """Once a process here has died, every batch is marked while it is under way.

        The first that comes after the death is the one that was under way: Ray keeps the order.
        """
        item, attempts = envelope.item, self._attempts
        if isinstance(item, Tail) or envelope.failures or attempts is None:
            return self._worker.process(envelope)
        name = probe_name(item.unit_id, envelope.set_id, self._first_position, envelope.name)
        num_before = attempts.begin(name, self._num_unmarked)
        self._num_unmarked = 0
        if num_before >= MAX_CRASHES:
            envelope = replace(envelope, failures=given_up_batch(item))
        processed = self._worker.process(envelope)
        if num_before < MAX_CRASHES:
            attempts.survived(name, num_before)
        return processed
