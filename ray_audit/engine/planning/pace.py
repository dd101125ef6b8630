"""Which layout is fastest, by what a short calibration measured: pure arithmetic.

A layout changes no number, so that timing may choose it; batches, threads and precision do, and
are never chosen here.
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ray_audit.config import EngineConfig
from ray_audit.engine.planning.layout import ClusterResources, Layout, plan_layout
from ray_audit.errors import PlanError

_RAY_HOP_S = 0.01  # CPU of Ray's own for a batch from one pool to the next
_START_S = 5.0  # CPU of a process until torch is imported
_UNKNOWN_BATCHES = 1000
_GPU_SHARES = (1.0, 0.5, 0.25)
_MAX_IN_FLIGHT = 8
_WORTH_IT = 0.95  # of two layouts that are as good as equal, the one with fewer processes


@dataclass(frozen=True)
class BatchTimes:
    """What one batch took, on one core or one GPU.

    Attributes:
        probe_s: position of each checkpoint to the seconds of its probe.
        overhead_s: of an actor beside its probes: preparation, collection.
        decode_s: of reading and decoding the batch.
        copy_s: of packing and unpacking it once.
        load_s: of building and loading one checkpoint.
        model_bytes: parameters and buffers of one checkpoint.
        payload_bytes: the batch as it travels.
        num_rows: samples in it.
        device: `cpu` or `cuda`.
    """

    probe_s: dict[int, float]
    overhead_s: float
    decode_s: float
    copy_s: float
    load_s: float
    model_bytes: int
    payload_bytes: int
    num_rows: int
    device: str

    @property
    def hop_s(self) -> float:
        """CPU of handing a batch to the next pool."""
        return _RAY_HOP_S + self.copy_s

    def sentence(self) -> str:
        """What was measured, for people."""
        typical_s = statistics.median(self.probe_s.values())
        return (
            f"measured on {self.device}: a batch of {self.num_rows} samples takes "
            f"{1e3 * typical_s:.3g} ms a checkpoint, {1e3 * self.decode_s:.3g} ms to decode and "
            f"{1e3 * self.hop_s:.3g} ms a hop; a checkpoint holds "
            f"{self.model_bytes / 2**20:.3g} MiB"
        )


def predicted_s(
    layout: Layout, seen: BatchTimes, cluster: ClusterResources, num_batches: int, threads: int
) -> float:
    """Seconds of a run: processes start, a first batch passes, and the slowest part sets the pace.

    Args:
        layout: pools and resources.
        seen: what a batch takes.
        cluster: what there is.
        num_batches: of the run.
        threads: of an actor.
    """
    hops = [sum(seen.probe_s[p] for p in hop) + seen.overhead_s + seen.hop_s for hop in layout.hops]
    probes = sum(seen.probe_s[p] for hop in layout.hops for p in hop)
    other_s = seen.decode_s + len(hops) * (seen.overhead_s + seen.hop_s)
    num_actors = min(layout.actors_per_pool, num_batches)
    paces = [max(hops) / num_actors, seen.decode_s / layout.num_decoders]
    if layout.gpus_per_actor:
        num_gpus = min(cluster.num_gpus, layout.num_actors * layout.gpus_per_actor)
        paces += [other_s / cluster.num_cpus, probes / num_gpus]
    else:
        paces.append((other_s + threads * probes) / cluster.num_cpus)
    loads = layout.num_actors * (_START_S + len(layout.hops[0]) * seen.load_s)
    start_s = max(loads / cluster.num_cpus, loads / layout.num_actors)
    return start_s + sum(hops) + seen.decode_s + num_batches * max(paces)


def fastest_layout(
    positions: tuple[int, ...],
    seen: BatchTimes,
    num_batches: int | None,
    cluster: ClusterResources,
    engine: EngineConfig,
) -> tuple[Layout, float]:
    """The layout that is predicted to be fastest, and its seconds.

    Args:
        positions: checkpoints to run, in order.
        seen: what a batch takes.
        num_batches: of the run; None where nobody knows.
        cluster: what there is.
        engine: what the user fixed stays fixed.

    Raises:
        PlanError: none fits.
    """
    num = num_batches or _UNKNOWN_BATCHES
    found: list[tuple[float, Layout]] = []
    refusal: PlanError | None = None
    for choice in _choices(len(positions), cluster, engine):
        try:
            layout = plan_layout(positions, seen.model_bytes, seen.payload_bytes, cluster, choice)
        except PlanError as error:
            refusal = refusal or error
            continue
        layout = _deep_enough(layout, seen, cluster)
        found.append((predicted_s(layout, seen, cluster, num, engine.threads_per_actor), layout))
    if not found:
        raise refusal or PlanError("no layout fits the cluster")
    best_s = min(seconds for seconds, _ in found)
    close = [pair for pair in found if pair[0] * _WORTH_IT <= best_s]
    chosen_s, chosen = min(close, key=lambda pair: (pair[1].num_actors, pair[0]))
    rest = sorted(seconds for seconds, layout in found if layout is not chosen)
    reasons = [
        seen.sentence(),
        f"{len(chosen.hops)} hop(s) of {chosen.actors_per_pool} actor(s), "
        f"{chosen.in_flight_per_actor} batches at each: about {chosen_s:.3g} s for {num} batches"
        f"{'' if num_batches else ' (how many there are is not known)'}; "
        f"{len(found)} layouts fit"
        f"{f', the others take {rest[0]:.3g} to {rest[-1]:.3g} s' if rest else ''}",
    ]
    return replace(chosen, reasons=tuple(reasons)), chosen_s


def _choices(
    num_checkpoints: int, cluster: ClusterResources, engine: EngineConfig
) -> Iterator[EngineConfig]:
    """Everything worth a look that the user left open."""
    packings = {math.ceil(num_checkpoints / hops) for hops in range(1, num_checkpoints + 1)}
    max_cpus = max(1, int(cluster.num_cpus))
    shares = _GPU_SHARES if cluster.num_gpus >= 1 else (0.0,)
    for share in _open(engine.num_gpus, shares):
        limit = max(1, int(cluster.num_gpus / share)) if share else max_cpus
        for packed in _open(engine.checkpoints_per_actor, sorted(packings, reverse=True)):
            for actors in _open(engine.actors_per_pool, _doubling(limit)):
                yield engine.model_copy(
                    update={
                        "num_gpus": float(share),
                        "checkpoints_per_actor": int(packed),
                        "actors_per_pool": int(actors),
                    }
                )


def _open(fixed: float | str, choices: tuple[float, ...] | list[int]) -> list[float]:
    return list(choices) if isinstance(fixed, str) else [fixed]


def _doubling(limit: int) -> list[int]:
    """1 to 8, then in steps of a quarter, up to `limit` itself."""
    numbers, number = {limit}, 1
    while number < limit:
        numbers.add(number)
        number += max(1, number // 4)
    return sorted(numbers)


def _deep_enough(layout: Layout, seen: BatchTimes, cluster: ClusterResources) -> Layout:
    """So many batches at each actor that it need not wait for the next, if the store holds them."""
    shortest = min(sum(seen.probe_s[p] for p in hop) for hop in layout.hops) + seen.overhead_s
    depth = layout.in_flight_per_actor + math.ceil(seen.hop_s / max(shortest, 1e-6)) - 1
    deeper = replace(
        layout, in_flight_per_actor=min(max(depth, layout.in_flight_per_actor), _MAX_IN_FLIGHT)
    )
    fits = deeper.in_flight_bytes(seen.payload_bytes) <= cluster.object_store_bytes / 2
    return deeper if fits else layout
