"""The engine in one process: no Ray, one crate after another; the oracle of the tests."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial

from ray_audit.ahead import one_ahead, one_behind
from ray_audit.engine.backends.base import Here, Item, Result, Value
from ray_audit.engine.backends.stages import StageSettings, commit, decode_unit
from ray_audit.engine.backends.wire import Crate, Receipt
from ray_audit.engine.backends.worker import PoolWorker
from ray_audit.engine.planning.layout import ClusterResources, NodeResources, gpu_memory
from ray_audit.engine.planning.plan import Plan, UnitWork
from ray_audit.supervisor import Supervisor, step

HELD_BYTES = 32 * 2**20


class LocalBackend:
    """Runs a plan in this process, pool by pool.

    Args:
        limit_s: longest silence of a decoder, a model or a reduction, in seconds; None for none.
    """

    held_bytes = HELD_BYTES

    def __init__(self, limit_s: float | None = None) -> None:
        self._limit_s = limit_s

    def resources(self) -> ClusterResources:
        """What this machine offers, and of its GPUs the first: one process uses no more."""
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        num_cpus, sizes = float(os.cpu_count() or 1), gpu_memory()[:1]
        free, total = sizes[0] if sizes else (None, None)
        node = NodeResources(num_cpus, float(len(sizes)), pages, free, total)
        return ClusterResources((node,), object_store_bytes=pages // 3)

    def relay(self, plan: Plan, settings: StageSettings) -> Generator[Receipt, None, None]:
        """Run all work of the plan; a receipt for each committed crate.

        Raises:
            StalledError: something made no step for too long.
        """
        yield from Supervisor(self._limit_s, "the relay").each(_relayed(plan, settings))

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_gpu: bool = False,
    ) -> Iterator[Result]:
        """Apply a function to each item, in order; this process has what GPUs it sees."""
        return Supervisor(self._limit_s, "a reduction").each(map(function, items))

    def map_holding(
        self, function: Callable[[Item], tuple[Result, Value]], items: Iterable[Item]
    ) -> Iterator[tuple[Result, Here[Value]]]:
        """Apply a function to each item, in order; what is to be held stays here."""
        for result, value in self.map(function, items):
            yield result, Here(value)


def _relayed(plan: Plan, settings: StageSettings) -> Iterator[Receipt]:
    """While a crate is at the models, the next one is decoded and the one before is committed."""
    if plan.layout is None:
        return
    last = len(plan.layout.hops) - 1
    pools = [
        PoolWorker(settings, positions, is_last=i == last)
        for i, positions in enumerate(plan.layout.hops)
    ]
    decoder = _Decoder(plan.work, settings)
    crates = one_ahead(decoder.crates(), decoder.awaited)
    probed = (_through(pools, crate) for crate in crates)
    committed = partial(commit, settings)
    yield from one_behind(probed, committed, partial(step, "commit", "the records of a crate"))


def _through(pools: Sequence[PoolWorker], crate: Crate) -> Crate:
    for pool in pools:
        crate = pool.process(crate)
    return crate


class _Decoder:
    """Decodes all units in order, and says of which one a crate is waited for."""

    def __init__(self, works: Iterable[UnitWork], settings: StageSettings) -> None:
        self._works, self._settings = works, settings
        self._files = ""

    def crates(self) -> Iterator[Crate]:
        for work in self._works:
            self._files = work.unit.files
            yield from decode_unit(self._settings, work)

    def awaited(self) -> None:
        step("decode", self._files)
