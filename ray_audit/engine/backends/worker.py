"""One actor of the relay: its checkpoints, and what it does to the batches of a crate."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import zip_longest

import torch

from ray_audit.checkpoints.factory import build_model
from ray_audit.checkpoints.loading import load_weights
from ray_audit.engine.backends.isolation import (
    TogetherError,
    Trials,
    dying,
    isolated,
    others_together,
    raising,
)
from ray_audit.engine.backends.stages import StageSettings
from ray_audit.engine.backends.time_limit import TimeLimit
from ray_audit.engine.backends.wire import Crate, Envelope
from ray_audit.engine.ledger import adaptive
from ray_audit.engine.ledger.attempts import batch_failures, given_up_batch
from ray_audit.engine.ledger.moments import carried_on
from ray_audit.engine.planning.numeric import precision
from ray_audit.errors import MeasureError, StorageError
from ray_audit.probes.determinism import repeat_every_bit
from ray_audit.probes.payload import without_payload
from ray_audit.probes.prefix import shared_note
from ray_audit.probes.prober import Prober, ProbeSettings, ProbeTurn
from ray_audit.probes.targets import ReadyBatch
from ray_audit.samples import Batch, ShardFailure
from ray_audit.supervisor import step

_TOO_LARGE = (
    "the device has no memory for a batch at this model: lower engine.batch_bytes (2097152 is what "
    "a CPU takes), or engine.batch_size"
)


class PoolWorker:
    """One actor of a pool: holds its share of the checkpoints and probes batches with them.

    It never raises: a model that cannot be made marks each batch as fatal, because an actor that
    fails while it starts would only be started again. `note` says what its checkpoints share, if
    anything; `model_bytes` is what one of them holds.

    Args:
        settings: shared settings.
        positions: checkpoints of the pool, in order.
        is_last: whether batches end their way here.
        limit_s: longest time of a batch at one checkpoint, after which this process ends itself.
            None where the process is the user's own, which a supervisor watches.
        beat: called before each checkpoint's turn: a sign of life, or None.
    """

    def __init__(
        self,
        settings: StageSettings,
        positions: tuple[int, ...],
        is_last: bool,
        limit_s: float | None = None,
        beat: Callable[[], None] | None = None,
    ) -> None:
        self._limit_s, self._beat = limit_s, beat
        self._limit = TimeLimit(limit_s)
        self._ahead = ThreadPoolExecutor(1, "next batch")
        self._settings = settings
        self._is_last = is_last
        self._positions = positions
        self._fatal = self.note = ""
        self.model_bytes = 0
        torch.set_num_threads(settings.config.engine.threads_per_actor)
        if settings.device == "cuda":
            repeat_every_bit()
        try:
            self._fatal = settings.other_measures()
            self._prober = self._made()
            names = [settings.checkpoints[position].name for position in positions]
            self.note = shared_note(names, self._prober.chain)
        except (Exception, SystemExit) as error:  # a user's model may raise anything
            what = "the model could not be started"
            if isinstance(error, StorageError):  # expired credentials, say
                what = "the weights could not be read"
            self._fatal = f"{what}: {type(error).__name__}: {error}"

    def _made(self) -> Prober:
        config, device = self._settings.config, torch.device(self._settings.device)
        models = []
        for position in self._positions:
            model = build_model(config.model)
            load_weights(model, self._settings.checkpoints[position].uri, config.model.weights)
            models.append(model.to(device))
            tensors = model.state_dict().values()
            self.model_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        required = self._settings.required.vog
        gradient = config.vog.target if required else None
        probe = ProbeSettings.of(config, gradient, precision(config), config.engine.compile)
        return Prober(models, probe, device)

    def first_ready(self, crate: Crate) -> "Future[ReadyBatch] | None":
        """Begin to make a crate's first batch ready, while another crate is at the models."""
        return self._made_ready(next(iter(crate.batches), None), crate.positions)

    def process(self, crate: Crate, first: "Future[ReadyBatch] | None" = None) -> Crate:
        """Probe the batches of a crate, one after another.

        Args:
            crate: its batches, and which checkpoints they need.
            first: of `first_ready`, where that was asked before.
        """
        return self.processed(crate, self._in_turn(crate, first))

    def _in_turn(self, crate: Crate, following: "Future[ReadyBatch] | None") -> Iterator[Envelope]:
        """While a batch is at the models, a thread makes the next one ready for them."""
        for envelope, after in zip_longest(crate.batches, crate.batches[1:]):
            ready, following = following, self._made_ready(after, crate.positions)
            yield self._probe(envelope, crate.positions, ready)

    def _made_ready(
        self, envelope: Envelope | None, positions: tuple[int, ...]
    ) -> "Future[ReadyBatch] | None":
        if envelope is None or envelope.is_lost or not set(positions) & set(self._positions):
            return None
        # Of an adaptive audit what goes to a model depends on what the one before has said.
        if self._fatal or self._is_adaptive:
            return None
        return self._ahead.submit(self._prober.ready, envelope.item)

    def processed(self, crate: Crate, probed: Iterable[Envelope]) -> Crate:
        """The crate with its batches as they come out of `probe`."""
        # In each thread that calls: findings/another_thread_has_other_threads.sh shows why.
        torch.set_num_threads(self._settings.config.engine.threads_per_actor)
        fatal = crate.fatal or self._fatal
        if fatal:
            return replace(crate, fatal=fatal)
        batches = []
        try:
            for envelope in probed:
                if envelope.fatal:
                    return replace(crate, batches=(), fatal=envelope.fatal)
                batches.append(envelope)
        finally:
            self._limit.rest()
        notes = (*crate.notes, self.note) if self.note and batches else crate.notes
        return replace(crate, batches=tuple(batches), probed_at_s=time.time(), notes=notes)

    def probe(self, envelope: Envelope, positions: tuple[int, ...]) -> Envelope:
        """Probe a batch with each checkpoint that is held here and that its unit needs.

        Args:
            envelope: the batch.
            positions: of the checkpoints that its unit needs.
        """
        try:
            return self._probe(envelope, positions)
        finally:
            self._limit.rest()  # what comes before the next one may take any time

    def _probe(
        self,
        envelope: Envelope,
        positions: tuple[int, ...],
        ready: "Future[ReadyBatch] | None" = None,
    ) -> Envelope:
        """The same; `ready` is the batch as it comes to the device, where that has begun before."""
        item = envelope.item
        if self._fatal:
            return replace(envelope, fatal=self._fatal)
        if not envelope.is_lost:
            try:
                item = self._probed(item, positions, ready)
            except MeasureError as error:  # true of every batch
                return replace(envelope, fatal=str(error))
            except (Exception, SystemExit) as error:  # a user's model may raise anything
                item, failures = self._apart(item, positions, error)
                envelope = replace(envelope, item=item, failures=envelope.failures + failures)
        return self._passed_on(envelope, item)

    def _passed_on(self, envelope: Envelope, item: Batch) -> Envelope:
        """The batch on its way to the next pool; without pixels where there is none for it."""
        envelope = replace(envelope, item=item)
        if self._is_last or envelope.is_lost:
            bare = without_payload(item)
            keeps = self._settings.required.keep_moments and self._is_last
            item = carried_on(item, bare) if keeps else bare
        return replace(envelope, item=item)

    def probe_each(
        self, envelope: Envelope, positions: tuple[int, ...], trials: Trials
    ) -> Envelope:
        """Probe a batch on which processes have died: each input alone, then the others together.

        What dies once more by itself is given up; the whole batch, where no input can be told.
        """
        item = envelope.item
        failures = given_up_batch(item)
        if len(item.arrays["inputs"]) > 1 and not self._is_adaptive and not self._fatal:
            # Between two turns markers are written, to a store that may be slow.
            limited = partial(self._turn, item, rests=True)
            observe = partial(self._prober.observe, limited=limited)
            fails_on = partial(dying, observe, trials, failed=self._failed_alone)
            together = partial(others_together, observe, trials)
            with contextlib.suppress(TogetherError, torch.OutOfMemoryError):
                left, failures = isolated(item, self._turns(item, positions), together, fails_on)
                item = left if left.samples.num_rows else item
        return self._passed_on(replace(envelope, failures=envelope.failures + failures), item)

    def _apart(
        self, batch: Batch, positions: tuple[int, ...], error: BaseException
    ) -> tuple[Batch, tuple[ShardFailure, ...]]:
        """What is left of a batch of which a model raises, and the failures of the rest."""
        self._check_device(error)
        # Memory tells of the machine and not of a sample; who leaves an adaptive audit depends on
        # who else is in the batch.
        is_of_samples = not isinstance(error, torch.OutOfMemoryError) and not self._is_adaptive
        if is_of_samples and len(batch.arrays["inputs"]) > 1:
            observe = partial(self._prober.observe, limited=partial(self._turn, batch))
            fails_on = partial(raising, observe, failed=self._failed_alone)
            try:
                left, failures = isolated(batch, self._turns(batch, positions), observe, fails_on)
                return (left if left.samples.num_rows else batch), failures
            except (Exception, SystemExit) as again:
                self._check_device(again)
                error = again
        return batch, self._failed(batch, error)

    def _failed_alone(self, batch: Batch, error: BaseException) -> tuple[ShardFailure, ...]:
        self._check_device(error)
        if isinstance(error, torch.OutOfMemoryError):
            raise error
        return self._failed(batch, error)

    def _failed(self, batch: Batch, error: BaseException) -> tuple[ShardFailure, ...]:
        message = f"{type(error).__name__}: {error}"[:500]
        if isinstance(error, torch.OutOfMemoryError):
            message = f"{_TOO_LARGE}. {message}"[:500]
        return batch_failures(batch, type(error).__name__, message, attempts=1)

    def _check_device(self, error: BaseException) -> None:
        """The device answers nothing any more; Ray starts the process again."""
        if self._limit_s is not None and "CUDA error" in str(error):
            _end_process(error)

    @property
    def _is_adaptive(self) -> bool:
        return self._settings.required.rule is not None and self._settings.recount is None

    def _probed(
        self, batch: Batch, positions: tuple[int, ...], ready: "Future[ReadyBatch] | None"
    ) -> Batch:
        required, turns = self._settings.required, self._turns(batch, positions)
        if not turns:
            return batch
        observe = partial(self._prober.observe, limited=partial(self._turn, batch))
        if required.rule is not None and self._is_adaptive:
            return adaptive.observed(batch, turns, required.rule, observe)
        there = None if ready is None else ready.result()
        return batch.with_arrays(observe(batch, turns, ready=there))

    def _turns(self, batch: Batch, positions: tuple[int, ...]) -> dict[int, ProbeTurn]:
        """What each checkpoint that is held here and needed does with a batch, by its place."""
        required, last = self._settings.required, len(self._settings.checkpoints) - 1
        # Moments that the batch has brought along are continued; else all of the window must run.
        takes_gradients = self._settings.recount is None and (
            "vog/count" in batch.arrays or required.set_for(positions).vog
        )
        window = required.window if takes_gradients else ()
        return {
            index: ProbeTurn(position == last, position in window, self._settings.recount)
            for index, position in enumerate(self._positions)
            if position in positions
        }

    def _turn(
        self, batch: Batch, index: int | None, rests: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        what = "the device that runs the checkpoints"
        if index is not None:
            what = f"checkpoint {self._settings.checkpoints[self._positions[index]].name}"
        step("probe", what, batch)
        if self._beat is not None:
            self._beat()
        return self._limit.around(rests)


def _end_process(error: BaseException) -> None:
    sys.stderr.write(f"this process ends itself: {error}\n")
    sys.stderr.flush()
    os._exit(1)
