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
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy

from ray_audit.config import EngineConfig
from ray_audit.engine import wire
from ray_audit.engine.layout import ClusterResources, Layout, NodeResources
from ray_audit.engine.live_metrics import observed
from ray_audit.engine.plan import Plan, UnitWork
from ray_audit.engine.stages import StageSettings, commit, decode_unit
from ray_audit.engine.wire import Receipt
from ray_audit.errors import RunError, StalledError
from ray_audit.samples import WorkUnit

Item = TypeVar("Item")
Result = TypeVar("Result")

# Ray's defaults retry for ever: a decoder that kills its process would loop without end.
_MAX_RETRIES = 3
_CONNECT_TIMEOUT_S = 10.0
# Ray bundles blocks to fill a larger batch, and would mix work units.
_ROW_BY_ROW = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}


class RayEngine:
    """Runs a plan on the Ray cluster that this process is connected to."""

    def __init__(self, engine: EngineConfig) -> None:
        self._engine = engine

    def resources(self) -> ClusterResources:
        """What the live nodes offer, or `engine.cluster_max` where an autoscaler adds nodes."""
        nodes = tuple(_node(n["Resources"]) for n in ray.nodes() if n["Alive"])
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
        dataset = _pipeline(plan, plan.layout, settings)
        yield from observed(
            _watched(dataset, self._engine), plan, dataset, counts=settings.recount is None
        )

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply a function to each item on the cluster; results in the items' order."""
        task = ray.remote(num_cpus=0.5, max_retries=_MAX_RETRIES)(_apply)
        shared = ray.put(function)
        num_at_once = max(2, int(2 * self.resources().num_cpus))
        waiting: list[Any] = []
        for item in items:
            waiting.append(task.remote(shared, item))
            if len(waiting) >= num_at_once:
                yield _result(waiting.pop(0))
        for reference in waiting:
            yield _result(reference)


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        raise RunError(f"a reduction failed: {_cause(error)}") from error


def _apply(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


def _node(resources: dict[str, float]) -> NodeResources:
    memory = int(resources.get("memory", 0)) or 64 * 2**30
    return NodeResources(resources.get("CPU", 0.0), resources.get("GPU", 0.0), memory)


def _pipeline(plan: Plan, layout: Layout, settings: StageSettings) -> Any:
    """Declare the relay: units, decode, one pool after another, commit."""
    rows = [{"work": _work_json(work)} for work in plan.work]
    last = len(layout.hops) - 1
    with DataContext.current(_quiet_context()), warnings.catch_warnings():
        # Finite retries can be given in no other way than by the remote arguments.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _decode,
            fn_args=(settings,),
            compute=TaskPoolStrategy(size=layout.num_decoders),
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
                fn_constructor_args=(settings, positions, index == last),
                compute=pool,
                num_cpus=layout.cpus_per_actor,
                num_gpus=layout.gpus_per_actor or None,
                max_restarts=_MAX_RETRIES,
                max_task_retries=_MAX_RETRIES,
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
    return context


def _work_json(work: UnitWork) -> str:
    return json.dumps({"unit": work.unit.to_json(), "positions": work.positions})


def _decode(table: pa.Table, settings: StageSettings) -> Iterator[pa.Table]:
    for text in table["work"].to_pylist():
        values = json.loads(text)
        work = UnitWork(WorkUnit.from_json(values["unit"]), tuple(values["positions"]))
        for envelope in decode_unit(settings, work):
            yield wire.encode(envelope)


class _Pool:
    def __init__(self, settings: StageSettings, positions: tuple[int, ...], is_last: bool) -> None:
        # Imported here, so that decoding and committing processes do without torch.
        from ray_audit.engine.pool import PoolWorker

        self._worker = PoolWorker(settings, positions, is_last)

    def __call__(self, table: pa.Table) -> pa.Table:
        return wire.encode(self._worker.process(wire.decode(table)))


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

    threading.Thread(target=pull, name="receipts", daemon=True).start()
    try:
        yield from _receipts(inbox, engine)
    finally:
        stopped.set()


def _receipts(
    inbox: "queue.Queue[Receipt | BaseException | None]", engine: EngineConfig
) -> Iterator[Receipt]:
    limit_s, what = engine.start_timeout_s, "engine.start_timeout_s"
    while True:
        try:
            got = inbox.get(timeout=limit_s)
        except queue.Empty:
            raise StalledError(
                f"no batch was committed for {limit_s:g} s ({what}): look at `ray status` for "
                "resources that never come, and at the actors' logs for a model that hangs"
            ) from None
        if got is None:
            return
        if isinstance(got, BaseException):
            raise RunError(f"Ray gave up: {_cause(got)}") from got
        yield got
        limit_s, what = engine.stall_timeout_s, "engine.stall_timeout_s"


def _cause(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:500]


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
    try:
        with _silent_stderr():
            ray.init(
                address=address,
                include_dashboard=False if address is None else None,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"Ray at {address}" if address else "Ray on this machine"
        raise RunError(f"{where} could not be used: {_cause(error)}") from error
    return address is None


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
