"""Metrics of a running audit, from its receipts in the driver, through Ray's agents."""

import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol

from ray.util import metrics as ray_metrics

from ray_audit.engine.backends.ray.actor import PoolActor
from ray_audit.engine.backends.wire import Receipt
from ray_audit.engine.planning.plan import Plan
from ray_audit.metrics import (
    DECODE,
    MAX_POOLS,
    METRICS,
    PROBE,
    PROGRESS,
    QUEUE,
    SAMPLES,
    SHARDS,
    Metric,
)

# Ray's agent forgets a gauge that was not set for some 20 s.
_HEARTBEAT_S = 5.0
_PREFIX = "ray_"


class Instruments(Protocol):
    """Where values go."""

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        """Add to a counter, observe in a histogram, set a gauge."""
        ...


class RayInstruments:
    """Ray's own metrics; Ray must be connected."""

    def __init__(self) -> None:
        self._made = {m.name: _ray_metric(m) for m in METRICS if m.source == "live"}

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        """Add to a counter, observe in a histogram, set a gauge."""
        metric.check(labels)
        made = self._made[metric.name]
        if metric.type == "counter":
            if value > 0:  # Ray refuses to add nothing
                made.inc(value, tags=labels)
        elif metric.type == "histogram":
            made.observe(value, tags=labels)
        else:
            made.set(value, tags=labels)


def _ray_metric(metric: Metric) -> Any:
    # Ray puts its prefix before every name, and `_total` behind those of counters.
    name = metric.name.removeprefix(_PREFIX).removesuffix("_total")
    tags = tuple(metric.labels)
    if metric.type == "counter":
        return ray_metrics.Counter(name, metric.meaning, tag_keys=tags)
    if metric.type == "histogram":
        buckets = list(metric.buckets_s)
        return ray_metrics.Histogram(name, metric.meaning, boundaries=buckets, tag_keys=tags)
    return ray_metrics.Gauge(name, metric.meaning, tag_keys=tags)


class LiveMetrics:
    """Turns receipts into metrics.

    Args:
        plan: the plan that the receipts belong to; it has a layout.
        instruments: where values go.
        num_queued: tells how many crates wait.
        counts: whether samples and shards are counted: a second pass over them is not.
    """

    def __init__(
        self,
        plan: Plan,
        instruments: Instruments,
        num_queued: Callable[[], int],
        counts: bool = True,
    ) -> None:
        hops = plan.layout.hops if plan.layout else ()
        pool_of = {position: pool for pool, hop in enumerate(hops) for position in hop}
        self._pools = {
            work.unit.unit_id: [pool_of[p] for p in work.positions] for work in plan.work
        }
        self._shards = {work.unit.unit_id: work.unit.shards for work in plan.work}
        self._open = Counter(s.key for shards in self._shards.values() for s in shards)
        self._failed: set[str] = set()
        self._num_units, self._num_ended = len(plan.work), 0
        self._instruments, self._num_queued, self._counts = instruments, num_queued, counts

    def observe(self, receipt: Receipt) -> None:
        """Count one receipt."""
        if receipt.num_batches:
            if self._counts:
                self._instruments.record(SAMPLES, receipt.num_samples)
            per_pool: dict[int, float] = defaultdict(float)
            for pool, spent_s in zip(self._pools[receipt.unit_id], receipt.probe_s, strict=False):
                per_pool[min(pool, MAX_POOLS - 1)] += spent_s
            for pool, spent_s in per_pool.items():
                self._instruments.record(PROBE, spent_s, pool=f"{pool:02d}")
        if receipt.ends_unit:
            self._num_ended += 1
            self._instruments.record(DECODE, receipt.decode_s)
            if self._counts:
                self._end_shards(receipt)
        self.beat()

    def _end_shards(self, receipt: Receipt) -> None:
        """A shard ends with the last of its units: a long video has several."""
        self._failed.update(receipt.lost_shards)
        outcomes: Counter[str] = Counter()
        for shard in self._shards[receipt.unit_id]:
            self._open[shard.key] -= 1
            if self._open[shard.key] == 0:
                outcomes["failed" if shard.key in self._failed else "done"] += 1
        for outcome, number in outcomes.items():
            self._instruments.record(SHARDS, number, outcome=outcome)

    def beat(self) -> None:
        """Set the gauges."""
        self._instruments.record(PROGRESS, self._num_ended / max(1, self._num_units))
        self._instruments.record(QUEUE, self._num_queued())


def observed(
    receipts: Generator[Receipt, None, None],
    plan: Plan,
    datasets: list[Any],
    counts: bool,
) -> Generator[Receipt, None, None]:
    """Pass receipts on, counted; gauges are set again while none comes.

    Args:
        receipts: of a relay.
        plan: that it runs.
        datasets: the Ray Dataset that runs, whose queues are looked at, once there is one.
        counts: whether samples and shards are counted.
    """
    live = LiveMetrics(plan, RayInstruments(), lambda: sum(map(num_queued, datasets)), counts)
    with _beating(live), contextlib.closing(receipts):
        for receipt in receipts:
            if not receipt.fatal:
                live.observe(receipt)
            yield receipt


@contextlib.contextmanager
def _beating(live: LiveMetrics) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_HEARTBEAT_S):
            live.beat()

    thread = threading.Thread(target=beat, name="live metrics", daemon=True)
    thread.start()
    try:
        live.beat()
        yield
    finally:
        ended.set()
        thread.join()


def num_queued(dataset: Any) -> int:
    """Blocks, each one crate, that wait in front of the pools of a running dataset.

    Ray Data tells this nowhere in public: where its insides look different, it is 0.
    """
    topology = getattr(getattr(dataset, "_current_executor", None), "_topology", None) or {}
    with contextlib.suppress(AttributeError, RuntimeError):  # it may change while it is read
        return sum(
            state.total_enqueued_input_blocks()
            for operator, state in topology.items()
            if PoolActor.__name__ in operator.name
        )
    return 0
