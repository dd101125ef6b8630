"""The engine on Ray: Ray Data streams batches from decode tasks through pools of actors.

This is the only module that imports ray.data.
"""

import contextlib
import json
import logging
import os
import queue
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy

from ray_audit.config import EngineConfig
from ray_audit.engine import wire
from ray_audit.engine.attempts import MOST_CRASHES, given_up_batch, probe_name
from ray_audit.engine.layout import (
    ClusterResources,
    Layout,
    NodeResources,
    free_gpu_bytes,
    gpus_each,
)
from ray_audit.engine.live_metrics import observed
from ray_audit.engine.mapper import Item, Result
from ray_audit.engine.moments import KeptMoments
from ray_audit.engine.plan import Plan, UnitWork
from ray_audit.engine.stages import StageSettings, commit, decode_marked
from ray_audit.engine.wire import Envelope, Receipt
from ray_audit.errors import RunError, StalledError
from ray_audit.samples import Tail, WorkUnit

# Ray's defaults retry for ever. What kills its process is given up after three times, by its
# markers; these numbers only bound what the markers cannot see, such as nodes that go away.
_MAX_RETRIES = 10
_MAX_RESTARTS = 30
# While a lost node is not yet known as lost, each call to an actor there uses one up. How often an
# actor may crash is limited by its restarts, not by these.
_MAX_TASK_RETRIES = 100
_BATCHES_PER_STALL = 5  # a hang is cut short three times before the whole run counts as stalled
_CONNECT_TIMEOUT_S = 10.0
_NUM_STARTS = 3
_TOO_SLOW = "timed out during startup"
_HEAD_EVERY_S, _HEAD_SILENCE_S = 5.0, 30.0
# Of the kinds that Ray names as a resource of a node; of a kind with two sizes the smaller.
_GPU_GIB = {
    f"accelerator_type:{kind}": gib
    for kind, gib in {
        "T4": 15, "P100": 16, "V100": 16, "A10": 23, "A10G": 23, "L4": 23, "L40S": 45, "A100": 40,
        "A100-40G": 40, "A100-80G": 80, "H100": 80, "H200": 140, "B200": 180,
    }.items()
}  # fmt: skip
# Ray bundles blocks to fill a larger batch, and would mix work units.
_ROW_BY_ROW = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}


class RayEngine:
    """Runs a plan on the Ray cluster that this process is connected to."""

    def __init__(self, engine: EngineConfig) -> None:
        self._engine = engine

    def resources(self) -> ClusterResources:
        """What the live nodes offer, or `engine.cluster_max` where an autoscaler adds nodes."""
        nodes = tuple(_node(n["Resources"]) for n in ray.nodes() if n["Alive"])
        if len(nodes) == 1 and nodes[0].num_gpus:
            free = free_gpu_bytes()
            nodes = (replace(nodes[0], gpu_bytes=min(free) if free else nodes[0].gpu_bytes),)
        store = sum(n["Resources"].get("object_store_memory", 0) for n in ray.nodes() if n["Alive"])
        most = self._engine.cluster_max
        if most:
            nodes = (_node(most),)
        return ClusterResources(nodes, int(store))

    def relay(self, plan: Plan, settings: StageSettings) -> Iterator[Receipt]:
        """Run all work of the plan; a receipt for each committed batch and tail.

        Raises:
            StalledError: nothing was committed for too long.
            RunError: Ray gave up.
        """
        if plan.layout is None:
            return
        # A dataset of few batches is no fault of the pools; Ray says so from a thread of its own.
        warnings.filterwarnings("ignore", message="The (min|max)imum number of concurrent")
        dataset = _pipeline(plan, plan.layout, settings)
        yield from observed(
            _watched(dataset, self._engine), plan, dataset, counts=settings.recount is None
        )

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_gpu: bool = False,
    ) -> Iterator[Result]:
        """Apply a function to each item on the cluster; results in the items' order."""
        gpus = gpus_each(self.resources(), self._engine) if on_gpu else 0.0
        task = ray.remote(num_cpus=0.5, num_gpus=gpus, max_retries=_MAX_RETRIES)(_apply)
        shared = ray.put(function)
        num_at_once = max(2, int(2 * self.resources().num_cpus))
        waiting: list[Any] = []
        for item in items:
            waiting.append(task.remote(shared, item))
            if len(waiting) >= num_at_once:
                yield _result(waiting.pop(0), self._engine.stall_timeout_s)
        for reference in waiting:
            yield _result(reference, self._engine.stall_timeout_s)


def _result(reference: Any, limit_s: float) -> Any:
    try:
        return ray.get(reference, timeout=limit_s)
    except ray.exceptions.GetTimeoutError as error:
        raise StalledError(
            f"no part of the tables was made for {limit_s:g} s (engine.stall_timeout_s): look at "
            "`ray status` for CPUs that others hold; run again, and the records are reused"
        ) from error
    except ray.exceptions.RayError as error:
        raise RunError(f"a reduction failed: {_cause(error)}") from error


def _apply(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


def _node(resources: dict[str, float]) -> NodeResources:
    memory = int(resources.get("memory", 0)) or 64 * 2**30
    found = [_GPU_GIB[name] for name in resources if name in _GPU_GIB]
    gpu_bytes = min(found) * 2**30 if found else None
    return NodeResources(resources.get("CPU", 0.0), resources.get("GPU", 0.0), memory, gpu_bytes)


def _pipeline(plan: Plan, layout: Layout, settings: StageSettings) -> Any:
    """Declare the relay: units, decode, one pool after another, commit."""
    rows = [{"work": _work_json(work)} for work in plan.work]
    num_decoders = min(layout.num_decoders, len(rows))
    last = len(layout.hops) - 1
    limit_s = settings.config.engine.stall_timeout_s / _BATCHES_PER_STALL
    with DataContext.current(_quiet_context()), warnings.catch_warnings():
        # Finite retries can be given in no other way than by the remote arguments.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _decode,
            fn_args=(settings,),
            compute=TaskPoolStrategy(size=num_decoders),
            num_cpus=layout.cpus_per_decoder,
            max_retries=_MAX_RETRIES,
            **_ROW_BY_ROW,
        )
        for index, positions in enumerate(layout.hops):
            pool = ActorPoolStrategy(
                size=layout.actors_per_pool,
                max_tasks_in_flight_per_actor=layout.in_flight_per_actor,
            )
            dataset = dataset.map_batches(
                _Pool,
                fn_constructor_args=(settings, positions, index == last, limit_s),
                compute=pool,
                num_cpus=layout.cpus_per_actor,
                num_gpus=layout.gpus_per_actor or None,
                max_restarts=_MAX_RESTARTS,
                max_task_retries=_MAX_TASK_RETRIES,
                **_ROW_BY_ROW,
            )
        return dataset.map_batches(
            _commit,
            fn_args=(settings,),
            compute=TaskPoolStrategy(size=layout.num_decoders),
            num_cpus=layout.cpus_per_committer,
            max_retries=_MAX_RETRIES,
            **_ROW_BY_ROW,
        )


def _quiet_context() -> DataContext:
    context = DataContext.get_current().copy()
    context.target_max_block_size = 1  # one ready batch a block: it moves on when it is ready
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.verbose_stats_logs = False
    context.execution_options.preserve_order = False
    context.issue_detectors_config.detectors = []
    context.custom_execution_callback_classes = [_Remembered]
    return context


def _work_json(work: UnitWork) -> str:
    kept = asdict(work.kept) if work.kept is not None else None
    values = {"unit": work.unit.to_json(), "positions": work.positions, "kept": kept}
    return json.dumps(values)


def _work_of(text: str) -> UnitWork:
    values = json.loads(text)
    kept = values["kept"]
    if kept is not None:
        kept = KeptMoments(kept["num_checkpoints"], tuple(kept["uris"]))
    return UnitWork(WorkUnit.from_json(values["unit"]), tuple(values["positions"]), kept)


def _decode(table: pa.Table, settings: StageSettings) -> Iterator[pa.Table]:
    for text in table["work"].to_pylist():
        for envelope in decode_marked(settings, _work_of(text)):
            yield wire.encode(envelope)


class _Pool:
    def __init__(
        self, settings: StageSettings, positions: tuple[int, ...], is_last: bool, limit_s: float
    ) -> None:
        # Imported here, so that decoding and committing processes do without torch.
        from ray_audit.engine.pool import PoolWorker

        self._worker = PoolWorker(settings, positions, is_last, limit_s)
        self._attempts = settings.attempts
        self._first_position = positions[0]
        self._was_restarted = ray.get_runtime_context().was_current_actor_reconstructed
        self._num_unmarked = 1

    def __call__(self, table: pa.Table) -> pa.Table:
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
        if num_before >= MOST_CRASHES:
            envelope = replace(envelope, failures=given_up_batch(item))
        processed = self._worker.process(envelope)
        if num_before < MOST_CRASHES:
            attempts.survived(name, num_before)
        return processed


def _commit(table: pa.Table, settings: StageSettings) -> pa.Table:
    receipt = commit(settings, wire.decode(table))
    return pa.table({"receipt": [receipt.to_json()]})


def _watched(dataset: Any, engine: EngineConfig) -> Iterator[Receipt]:
    """Receipts as they come, with a limit on the silence between two of them."""
    inbox: queue.Queue[Receipt | BaseException | None] = queue.Queue()
    stopped = threading.Event()

    def pull() -> None:
        try:
            for row in dataset.iter_rows():
                inbox.put(Receipt.from_json(row["receipt"]))
                if stopped.is_set():
                    return  # which ends the pipeline: nobody waits for the rest
            inbox.put(None)
        except BaseException as error:  # handed to the thread that waits
            inbox.put(error)

    puller = threading.Thread(target=pull, name="receipts", daemon=True)
    puller.start()
    try:
        yield from _receipts(inbox, engine, _Head())
    except StalledError:
        _shut_down(puller)  # nothing would end it: its actors would hold what they reserved
        raise
    finally:
        stopped.set()


class _Remembered:
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


def _receipts(
    inbox: "queue.Queue[Receipt | BaseException | None]", engine: EngineConfig, head: _Head
) -> Iterator[Receipt]:
    limit_s, what = engine.start_timeout_s, "engine.start_timeout_s"
    while True:
        got = _next(inbox, limit_s, what, head)
        if got is None:
            return
        if isinstance(got, BaseException):
            raise RunError(
                f"Ray gave up: {_cause(got)}. Where processes died, see the workers' logs and the "
                "nodes' memory; run again, and what was committed is reused"
            ) from got
        yield got
        limit_s, what = engine.stall_timeout_s, "engine.stall_timeout_s"


def _next(
    inbox: "queue.Queue[Receipt | BaseException | None]", limit_s: float, what: str, head: _Head
) -> Receipt | BaseException | None:
    deadline_s = time.monotonic() + limit_s
    while True:
        left_s = deadline_s - time.monotonic()
        try:
            return inbox.get(timeout=max(0.0, min(left_s, _HEAD_EVERY_S)))
        except queue.Empty:
            head.check()
        if left_s <= 0:
            raise StalledError(
                f"no batch was committed for {limit_s:g} s ({what}): look at `ray status` for "
                "resources that never come, and at the actors' and workers' logs for a model or a "
                "decoder that hangs. Where it was only slow, raise the limit; what was committed "
                "is reused"
            )


def _cause(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Ray puts advice of its own after the traceback: what we raised ourselves says more.
    ours = [line for line in lines if line.startswith("ray_audit.errors.")]
    return f"{type(error).__name__}: {(ours or lines or [''])[-1]}"[:500]


def connect(address: str | None) -> bool:
    """Connect to a Ray cluster, or start one in this machine; True if it was started here.

    A Ray that this process is connected to already is used as it is.

    Raises:
        RunError: nothing answers at the address, or Ray refuses.
    """
    if ray.is_initialized():
        return False
    _check_reachable(address)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # Ray Data's own actors make Ray's core print an error about arguments that they do keep.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for left in reversed(range(_NUM_STARTS)):
        try:
            _init(address)
            break
        except Exception as error:  # Ray raises bare ones too
            ray.shutdown()
            # It gives its own start half a minute, which a busy machine may not keep.
            if left and _TOO_SLOW in str(error):
                continue
            where = f"Ray at {address}" if address else "Ray on this machine"
            raise RunError(f"{where} could not be used: {_cause(error)}") from error
    return address is None


def _init(address: str | None) -> None:
    with _silent_stderr():
        ray.init(
            # None would join a cluster that was started on this machine, even a dead one.
            address=address or "local",
            include_dashboard=False if address is None else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )


def _check_reachable(address: str | None) -> None:
    """Fail at once where nothing listens: Ray itself would try for many minutes, in silence."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise RunError(
            f"no Ray cluster answers at {address} ({error}): check --address or RAY_ADDRESS, or "
            "leave it out to use a Ray on this machine"
        ) from error


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Ray's core writes to the file descriptor past every logger; errors still are exceptions."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def disconnect() -> None:
    """Stop the Ray that `connect` started."""
    ray.shutdown()
