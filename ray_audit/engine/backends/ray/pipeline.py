"""The backend on Ray: Ray Data streams crates of batches from decode tasks through pools of actors.

This is the only module that imports ray.data.
"""

import json
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext, ExecutionResources, TaskPoolStrategy

from ray_audit.config import EngineConfig
from ray_audit.engine.backends import wire
from ray_audit.engine.backends.base import Held, Here, Item, Result, Value
from ray_audit.engine.backends.ray.actor import CRATES_AT_ONCE, PoolActor
from ray_audit.engine.backends.ray.connection import cause
from ray_audit.engine.backends.ray.lanes import in_lanes, split
from ray_audit.engine.backends.ray.live_metrics import observed
from ray_audit.engine.backends.ray.watchdog import RememberedExecutor, watched
from ray_audit.engine.backends.stages import StageSettings, decode_marked
from ray_audit.engine.backends.wire import Receipt
from ray_audit.engine.ledger.moments import KeptMoments
from ray_audit.engine.planning.layout import (
    ClusterResources,
    NodeResources,
    gpu_memory,
    gpus_each,
)
from ray_audit.engine.planning.plan import Plan, UnitWork
from ray_audit.errors import RayAuditError, RunError, StalledError
from ray_audit.samples import WorkUnit
from ray_audit.supervisor import supervised

# Ray's defaults retry for ever. What kills its process is given up after three times, by its
# markers; these numbers only bound what the markers cannot see, such as nodes that go away.
_MAX_RETRIES = 10
_MAX_RESTARTS = 30
# While a lost node is not yet known as lost, each call to an actor there uses one up. How often an
# actor may crash is limited by its restarts, not by these.
_MAX_TASK_RETRIES = 100
_BATCHES_PER_STALL = 5  # a hang is cut short three times before the whole run counts as stalled
_COPIES_AT_A_HOP = 2  # a crate, and what an actor makes of it
_LEAST_STORE_BYTES = 256 * 2**20  # Ray holds tasks back where less than two outputs of each fit
_HELD_SHARE = 4
# Ray holds a block for each unit before the first starts: some 3 KiB and 1 ms. So many fill pools
# for long; that they start anew for the next ones is little beside it.
UNITS_AT_ONCE = 20_000
# Of the kinds that Ray names as a resource of a node; of a kind with two sizes the smaller.
_GPU_GIB = {
    f"accelerator_type:{kind}": gib
    for kind, gib in {
        "T4": 15, "P100": 16, "V100": 16, "A10": 23, "A10G": 23, "L4": 23, "L40S": 45, "A100": 40,
        "A100-40G": 40, "A100-80G": 80, "H100": 80, "H200": 140, "B200": 180,
    }.items()
}  # fmt: skip


class RayBackend:
    """Runs a plan on the Ray cluster that this process is connected to."""

    def __init__(self, engine: EngineConfig) -> None:
        self._engine = engine

    def resources(self) -> ClusterResources:
        """What the live nodes offer, or `engine.cluster_max` where an autoscaler adds nodes."""
        nodes = tuple(_node(n["Resources"]) for n in ray.nodes() if n["Alive"])
        if len(nodes) == 1 and nodes[0].num_gpus:
            sizes = gpu_memory()
            if sizes:
                free, total = map(min, zip(*sizes, strict=True))
                nodes = (replace(nodes[0], gpu_bytes=free, total_gpu_bytes=total),)
        store = sum(n["Resources"].get("object_store_memory", 0) for n in ray.nodes() if n["Alive"])
        limits = self._engine.cluster_max
        if limits:
            nodes = (_node(limits),)
        return ClusterResources(nodes, int(store))

    def relay(self, plan: Plan, settings: StageSettings) -> Generator[Receipt, None, None]:
        """Run all work of the plan; a receipt for each committed crate.

        Raises:
            StalledError: nothing was committed for too long.
            RunError: Ray gave up.
        """
        if plan.layout is None:
            return
        datasets: list[Any] = []  # a driver that has lanes sees nothing of their queues
        if plan.layout.num_lanes > 1:
            lane = partial(_receipts, settings=settings, engine=self._engine)
            receipts = in_lanes(split(plan), lane)
        else:
            receipts = _receipts(plan, settings, self._engine, datasets)
        yield from observed(receipts, plan, datasets, counts=settings.recount is None)

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_gpu: bool = False,
    ) -> Iterator[Result]:
        """Apply a function to each item on the cluster; results in the items' order."""
        items = iter(items)
        few = list(islice(items, 2))
        if len(few) == 1 and not on_gpu:
            # Of one item nothing runs side by side, and a process for it takes seconds to start.
            yield _in_driver(function, few[0], self._engine.stall_timeout_s)
            return
        gpus = gpus_each(self.resources(), self._engine) if on_gpu else 0.0
        for reference in self._submitted(function, chain(few, items), num_gpus=gpus):
            yield _result(reference, self._engine.stall_timeout_s)

    @property
    def held_bytes(self) -> int:
        """A quarter of the object store, in which nothing else lies while tables are made."""
        return self.resources().object_store_bytes // _HELD_SHARE

    def map_holding(
        self, function: Callable[[Item], tuple[Result, Value]], items: Iterable[Item]
    ) -> Iterator[tuple[Result, Held[Value]]]:
        """Apply a function to each item on the cluster; what is held stays in the object store."""
        items = iter(items)
        few = list(islice(items, 2))
        limit_s = self._engine.stall_timeout_s
        if len(few) == 1:
            result, value = _in_driver(function, few[0], limit_s)
            yield result, Here(value)
            return
        for pair in self._submitted(function, chain(few, items), num_returns=2):
            yield _result(pair[0], limit_s), _Stored(pair[1])

    def _submitted(
        self, function: Callable[[Item], Any], items: Iterable[Item], **options: Any
    ) -> Iterator[Any]:
        """What the tasks of all items give, in order; some of them run ahead."""
        task = ray.remote(num_cpus=0.5, max_retries=_MAX_RETRIES, **options)(_apply)
        shared = ray.put(function)
        num_at_once = max(2, int(2 * self.resources().num_cpus))
        waiting: list[Any] = []
        for item in items:
            waiting.append(task.remote(shared, item))
            if len(waiting) >= num_at_once:
                yield waiting.pop(0)
        yield from waiting


@dataclass(frozen=True)
class _Stored:
    """What is held in the object store, read where it is asked for."""

    reference: Any

    def value(self) -> Any:
        """It; None where it was lost with its node."""
        try:
            return ray.get(self.reference)
        except ray.exceptions.RayError:
            return None


def _receipts(
    plan: Plan, settings: StageSettings, engine: EngineConfig, datasets: list[Any] | None = None
) -> Generator[Receipt, None, None]:
    """Do a plan, or the part of a lane, in portions; `datasets` holds the one that runs."""
    # A dataset of few batches is no fault of the pools; Ray says so from a thread of its own.
    warnings.filterwarnings("ignore", message="The (min|max)imum number of concurrent")
    beats = settings.attempts.beats if settings.attempts else frozenset[str]
    for start in range(0, len(plan.work), UNITS_AT_ONCE):
        portion = replace(plan, work=plan.work[start : start + UNITS_AT_ONCE])
        dataset = _pipeline(portion, settings)
        if datasets is not None:
            datasets[:] = [dataset]
        yield from watched(dataset, engine, beats)


def _result(reference: Any, limit_s: float) -> Any:
    try:
        return ray.get(reference, timeout=limit_s)
    except ray.exceptions.GetTimeoutError as error:
        raise _stalled(limit_s) from error
    except ray.exceptions.RayError as error:
        raise RunError(f"a reduction failed: {cause(error)}") from error


def _in_driver(function: Callable[[Item], Result], item: Item, limit_s: float) -> Result:
    try:
        return supervised(limit_s, "a reduction", lambda: function(item))
    except (RayAuditError, MemoryError):
        raise
    except Exception as error:
        raise RunError(f"a reduction failed: {cause(error)}") from error


def _stalled(limit_s: float) -> StalledError:
    return StalledError(
        f"no part of the tables was made for {limit_s:g} s (engine.stall_timeout_s): look at "
        "`ray status` for CPUs that others hold; run again, and the records are reused"
    )


def _apply(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


def _node(resources: dict[str, float]) -> NodeResources:
    memory = int(resources.get("memory", 0)) or 64 * 2**30
    found = [_GPU_GIB[name] for name in resources if name in _GPU_GIB]
    gpu_bytes = min(found) * 2**30 if found else None
    num_cpus, num_gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    return NodeResources(num_cpus, num_gpus, memory, gpu_bytes, gpu_bytes)


def _pipeline(plan: Plan, settings: StageSettings) -> Any:
    """Declare the relay: units, decode, one pool after another; the last commits."""
    layout = plan.layout
    assert layout is not None
    rows = [{"work": _work_json(work)} for work in plan.work]
    num_decoders = min(layout.num_decoders, len(rows))
    last = len(layout.hops) - 1
    limit_s = settings.config.engine.stall_timeout_s / _BATCHES_PER_STALL
    with DataContext.current(_quiet_context(plan)), warnings.catch_warnings():
        # Finite retries can be given in no other way than by the remote arguments.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _decode,
            fn_args=(settings,),
            compute=TaskPoolStrategy(size=num_decoders),
            num_cpus=layout.cpus_per_decoder,
            max_retries=_MAX_RETRIES,
            **_by_crate(),
        )
        for index, positions in enumerate(layout.hops):
            pool = ActorPoolStrategy(
                size=layout.actors_per_pool,
                max_tasks_in_flight_per_actor=layout.in_flight_per_actor,
                # Else calls have one thread together, whatever `max_concurrency` says:
                # findings/calls_of_an_actor_share_one_thread.sh shows it.
                enable_true_multi_threading=True,
            )
            dataset = dataset.map_batches(
                PoolActor,
                fn_constructor_args=(settings, positions, index == last, limit_s),
                compute=pool,
                num_cpus=layout.cpus_per_actor,
                num_gpus=layout.gpus_per_actor or None,
                max_restarts=_MAX_RESTARTS,
                max_task_retries=_MAX_TASK_RETRIES,
                max_concurrency=CRATES_AT_ONCE,
                **_by_crate(layout.gpus_per_actor),
            )
        return dataset


def _by_crate(num_gpus: float = 0.0) -> dict[str, Any]:
    """A call a block, which is a crate in one row."""
    # Ray joins blocks, with copies, to fill larger batches. Where an actor has a GPU it refuses to
    # hand on whole blocks, and asks for a number of rows.
    size = 1 if num_gpus else None
    return {"batch_size": size, "batch_format": "pyarrow", "zero_copy_batch": True}


def _quiet_context(plan: Plan) -> DataContext:
    context = DataContext.get_current().copy()
    # One ready crate a block: it moves on when it is ready. By default it would wait for the end of
    # its task: findings/ray_holds_small_yields_back.sh shows it.
    context.target_max_block_size = 1
    # What bounds how far decoders run ahead: limits of tasks in flight hold no generator back.
    context.execution_options.resource_limits = ExecutionResources.for_limits(
        object_store_memory=max(_COPIES_AT_A_HOP * plan.in_flight_bytes, _LEAST_STORE_BYTES)
    )
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.verbose_stats_logs = False
    context.execution_options.preserve_order = False
    context.issue_detectors_config.detectors = []
    context.custom_execution_callback_classes = [RememberedExecutor]
    return context


def _work_json(work: UnitWork) -> str:
    kept = work.kept and {"num_checkpoints": work.kept.num_checkpoints, "uris": work.kept.uris}
    values = {
        "unit": work.unit.to_json(),
        "positions": work.positions,
        "kept": kept,
        "begins_small": work.begins_small,
    }
    return json.dumps(values)


def _work_of(text: str) -> UnitWork:
    values = json.loads(text)
    kept = values["kept"]
    if kept is not None:
        kept = KeptMoments(kept["num_checkpoints"], tuple(kept["uris"]))
    unit, positions = WorkUnit.from_json(values["unit"]), tuple(values["positions"])
    return UnitWork(unit, positions, kept, values["begins_small"])


def _decode(table: pa.Table, settings: StageSettings) -> Iterator[pa.Table]:
    for text in table["work"].to_pylist():
        for crate in decode_marked(settings, _work_of(text)):
            yield wire.encode(crate)
