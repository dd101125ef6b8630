"""How a relay is spread over a cluster: pure arithmetic, proved to fit before anything starts."""

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ray_audit.config import EngineConfig
from ray_audit.errors import PlanError

_CPUS_PER_DECODE = 0.25
_LEAST_CPUS_PER_ACTOR = 0.1
_PROCESS_BYTES = 600 * 2**20  # an actor process with torch imported, before any model
_MOST_OF_A_GPU = 0.9
ASSUMED_GPU_BYTES = 16 * 2**30
_IN_FLIGHT_PER_ACTOR = 2
ACTORS_PER_LANE = 128
"""So many keep one driver less than half busy where each takes 10 s for a crate."""


@dataclass(frozen=True)
class NodeResources:
    """What one machine of the cluster offers.

    Attributes:
        num_cpus: of it.
        num_gpus: of it.
        memory_bytes: of it.
        gpu_bytes: free memory of each of its GPUs, where known.
        total_gpu_bytes: all memory of each, where known.
    """

    num_cpus: float
    num_gpus: float
    memory_bytes: int
    gpu_bytes: int | None = None
    total_gpu_bytes: int | None = None


@dataclass(frozen=True)
class ClusterResources:
    """What a cluster offers; `nodes` has at least one entry."""

    nodes: tuple[NodeResources, ...]
    object_store_bytes: int

    @property
    def num_cpus(self) -> float:
        """CPUs of all nodes."""
        return sum(node.num_cpus for node in self.nodes)

    @property
    def num_gpus(self) -> float:
        """GPUs of all nodes."""
        return sum(node.num_gpus for node in self.nodes)

    @property
    def gpu_bytes(self) -> int | None:
        """Free memory of the smallest GPU; None where one is unknown, or there is none."""
        return _smallest(node.gpu_bytes for node in self.nodes if node.num_gpus)

    @property
    def total_gpu_bytes(self) -> int | None:
        """All memory of the smallest GPU; None where one is unknown, or there is none."""
        return _smallest(node.total_gpu_bytes for node in self.nodes if node.num_gpus)

    @property
    def memory_bytes(self) -> int:
        """Memory of all nodes."""
        return sum(node.memory_bytes for node in self.nodes)


@dataclass(frozen=True)
class Layout:
    """Pools, their resources, and why.

    Attributes:
        hops: for each pool, the positions of its checkpoints, in order.
        actors_per_pool: actors that hold the same checkpoints.
        cpus_per_actor: logical CPUs reserved for each actor.
        gpus_per_actor: GPUs (or a fraction) of each actor.
        num_decoders: decode tasks side by side.
        cpus_per_decoder: logical CPUs of each.
        in_flight_per_actor: crates queued at or inside one actor.
        reasons: why, one sentence each.
    """

    hops: tuple[tuple[int, ...], ...]
    actors_per_pool: int
    cpus_per_actor: float
    gpus_per_actor: float
    num_decoders: int
    cpus_per_decoder: float
    in_flight_per_actor: int
    reasons: tuple[str, ...]

    @property
    def num_actors(self) -> int:
        """Actors of all pools."""
        return len(self.hops) * self.actors_per_pool

    @property
    def num_lanes(self) -> int:
        """Processes that each drive a part of the actors."""
        return min(self.actors_per_pool, math.ceil(self.num_actors / ACTORS_PER_LANE))

    @property
    def in_flight_crates(self) -> int:
        """Most crates under way: at the actors, and two at each decoder."""
        return self.num_actors * self.in_flight_per_actor + 2 * self.num_decoders

    def in_flight_bytes(self, crate_bytes: int) -> int:
        """Most object store that crates under way can take.

        Args:
            crate_bytes: of a crate, at least those of a batch.
        """
        return self.in_flight_crates * crate_bytes


def plan_layout(
    positions: tuple[int, ...],
    model_bytes: int,
    payload_bytes: int,
    cluster: ClusterResources,
    engine: EngineConfig,
) -> Layout:
    """Choose pools for the checkpoints at `positions`.

    Args:
        positions: checkpoints to run, in order; at least one.
        model_bytes: weights of one checkpoint.
        payload_bytes: expected size of a batch.
        cluster: what there is (or `engine.cluster_max`, what there can be).
        engine: what the user fixed.

    Raises:
        PlanError: it can never fit, whatever was left open; the message says what is short.
    """
    reasons: list[str] = []
    gpus = gpus_each(cluster, engine)
    packed = _checkpoints_per_actor(len(positions), model_bytes, gpus, cluster, engine, reasons)
    num_hops = math.ceil(len(positions) / packed)
    actors = _actors_per_pool(num_hops, gpus, cluster, engine, reasons)
    num_decoders = _num_decoders(num_hops * actors, gpus, payload_bytes, cluster, engine)
    first = _Choice(packed, actors, num_decoders)
    refused: PlanError | None = None
    most = len(positions) if not gpus else _most_on_gpu(model_bytes, gpus, cluster)
    for choice in (first, *_smaller(first, len(positions), most, engine)):
        layout = _layout_of(choice, positions, gpus, reasons, cluster, engine)
        try:
            _prove(layout, model_bytes, payload_bytes, cluster)
        except PlanError as error:
            refused = refused or error
            continue
        if refused is None:
            return layout
        why = (
            f"{choice.actors} actor(s) per pool, {choice.packed} checkpoint(s) per actor and "
            f"{choice.decoders} decoder(s) after all: more would need more memory, CPUs, GPUs or "
            "object store than there is"
        )
        return replace(layout, reasons=(*reasons, why))
    assert refused is not None
    raise refused


@dataclass(frozen=True)
class _Choice:
    """Checkpoints per actor, actors per pool, and decode tasks."""

    packed: int
    actors: int
    decoders: int


def _smaller(
    first: _Choice, num_checkpoints: int, most: int, engine: EngineConfig
) -> Iterator[_Choice]:
    """What may fit where the first choice does not, with most work side by side first.

    `most` checkpoints fit one actor.
    """
    packings, actors = [first.packed], [first.actors]
    if engine.checkpoints_per_actor == "auto":
        num_hops = math.ceil(num_checkpoints / first.packed)
        larger = (math.ceil(num_checkpoints / hops) for hops in range(1, num_hops))
        packings += [packed for packed in larger if packed <= most]
    if engine.actors_per_pool == "auto":
        actors = list(range(first.actors, 0, -1))
    decoders = dict.fromkeys((first.decoders, max(1, first.decoders // 4), 1))
    pairs = [(packed, num) for packed in dict.fromkeys(packings) for num in actors]
    pairs.sort(key=lambda pair: -math.ceil(num_checkpoints / pair[0]) * pair[1])
    for num_decoders in decoders:
        for packed, num in pairs:
            yield _Choice(packed, num, num_decoders)


def _layout_of(
    choice: _Choice,
    positions: tuple[int, ...],
    gpus: float,
    reasons: list[str],
    cluster: ClusterResources,
    engine: EngineConfig,
) -> Layout:
    starts = range(0, len(positions), choice.packed)
    hops = tuple(positions[start : start + choice.packed] for start in starts)
    num_actors = len(hops) * choice.actors
    return Layout(
        hops=hops,
        actors_per_pool=choice.actors,
        cpus_per_actor=_cpus_per_actor(num_actors, choice.decoders, cluster, engine),
        gpus_per_actor=gpus,
        num_decoders=choice.decoders,
        cpus_per_decoder=_CPUS_PER_DECODE,
        in_flight_per_actor=_IN_FLIGHT_PER_ACTOR,
        reasons=tuple(reasons),
    )


def gpu_memory() -> list[tuple[int, int]]:
    """Free and all memory of each GPU that this process sees, in bytes."""
    import torch  # only where models run: what decodes and commits does without

    return [torch.cuda.mem_get_info(i) for i in range(torch.cuda.device_count())]


def _smallest(sizes: Iterable[int | None]) -> int | None:
    known = list(sizes)
    return min((s for s in known if s is not None), default=None) if None not in known else None


def gpus_each(cluster: ClusterResources, engine: EngineConfig) -> float:
    """GPUs of an actor or task that runs a model: `engine.num_gpus`; `auto`: 1 if there are any."""
    if engine.num_gpus != "auto":
        return float(engine.num_gpus)
    return 1.0 if cluster.num_gpus >= 1 else 0.0


def _checkpoints_per_actor(
    num_checkpoints: int,
    model_bytes: int,
    gpus: float,
    cluster: ClusterResources,
    engine: EngineConfig,
    reasons: list[str],
) -> int:
    if engine.checkpoints_per_actor != "auto":
        packed = min(engine.checkpoints_per_actor, num_checkpoints)
        reasons.append(f"{packed} checkpoint(s) per actor: fixed by the specification")
        return packed
    if gpus:
        gpu_bytes = cluster.gpu_bytes or ASSUMED_GPU_BYTES
        room_bytes = gpu_bytes * min(gpus, 1.0) / 2
        known = "" if cluster.gpu_bytes else ", which is assumed"
        device = f"GPU's share ({gpu_bytes * min(gpus, 1.0) / 2**30:.3g} GiB{known})"
    else:
        by_memory = cluster.memory_bytes / 2 // (_PROCESS_BYTES + model_bytes)
        actors = max(1, int(min(cluster.num_cpus // engine.threads_per_actor, by_memory)))
        room_bytes = cluster.memory_bytes / 2 / actors - _PROCESS_BYTES
        device = "actor"
    fitting = max(1, int(room_bytes // max(model_bytes, 1)))
    hops = math.ceil(num_checkpoints / min(fitting, num_checkpoints))
    packed = math.ceil(num_checkpoints / hops)
    how_many = "all" if fitting >= num_checkpoints else fitting
    reasons.append(
        f"{packed} checkpoint(s) per actor, {hops} hop(s): {how_many} fit half of the memory of "
        f"one {device}, and each hop copies every batch once more"
    )
    return packed


def _most_on_gpu(model_bytes: int, gpus: float, cluster: ClusterResources) -> int:
    """Checkpoints that fit the share of one GPU with little beside them; any, if it is unknown."""
    if cluster.gpu_bytes is None:
        return sys.maxsize
    return int(cluster.gpu_bytes * min(gpus, 1.0) * _MOST_OF_A_GPU // max(model_bytes, 1))


def _num_decoders(
    num_actors: int,
    gpus: float,
    payload_bytes: int,
    cluster: ClusterResources,
    engine: EngineConfig,
) -> int:
    """A quarter of the CPUs, or those that no actor takes, up to one for each actor.

    Beside GPUs three quarters of those that do not feed one.
    """
    fewest = max(1, int(cluster.num_cpus // 4))
    if not gpus:
        # One alone rests between two units until the driver has seen the end of the first.
        left_over = int(cluster.num_cpus - num_actors * engine.threads_per_actor)
        return max(fewest, min(left_over, num_actors))
    # As many as the object store has room for, two batches each beside those of the actors.
    batches = cluster.object_store_bytes / 2 / max(payload_bytes, 1)
    room = int((batches - num_actors * _IN_FLIGHT_PER_ACTOR) / 2)
    return max(fewest, min(int((cluster.num_cpus - num_actors) * 3 / 4), room))


def _reserved_cpus(num_decoders: int, num_nodes: int) -> float:
    """CPUs that decoders may need on any one node."""
    return math.ceil(num_decoders / num_nodes) * _CPUS_PER_DECODE


def _cpus_per_actor(
    num_actors: int, num_decoders: int, cluster: ClusterResources, engine: EngineConfig
) -> float:
    """Share of each actor, such that wherever Ray puts them a decoder still fits beside them."""
    reserved = _reserved_cpus(num_decoders, len(cluster.nodes))
    max_cpus = max(node.num_cpus for node in cluster.nodes)
    # Nodes hold actors by their size: the largest gets the most of them.
    on_largest = math.ceil(num_actors * max_cpus / max(cluster.num_cpus, 1e-9))
    share = _round_down(min((max_cpus - reserved) / on_largest, float(engine.threads_per_actor)))
    # Of equal resources Ray would run decoding and the model in one process, one after the other.
    return share - 0.01 if share == _CPUS_PER_DECODE else share


def _actors_per_pool(
    num_hops: int,
    gpus: float,
    cluster: ClusterResources,
    engine: EngineConfig,
    reasons: list[str],
) -> int:
    if engine.actors_per_pool != "auto":
        reasons.append(f"{engine.actors_per_pool} actor(s) per pool: fixed by the specification")
        return engine.actors_per_pool
    if gpus:
        actors = max(1, int(cluster.num_gpus / gpus // num_hops))
        reasons.append(f"{actors} actor(s) per pool: {cluster.num_gpus:g} GPUs, {gpus:g} each")
        return actors
    threads = engine.threads_per_actor
    actors = max(1, sum(int(node.num_cpus // threads) for node in cluster.nodes) // num_hops)
    reasons.append(
        f"{actors} actor(s) per pool: {cluster.num_cpus:g} CPUs, {threads} thread(s) an actor"
    )
    return actors


def _round_down(cpus: float) -> float:
    return math.floor(cpus * 100 + 1e-6) / 100


def _prove(layout: Layout, model_bytes: int, payload_bytes: int, cluster: ClusterResources) -> None:
    """Raise unless every actor and task of the layout can run at the same time."""
    pools = f"{layout.num_actors} actors ({len(layout.hops)} pool(s) of {layout.actors_per_pool})"
    if layout.cpus_per_actor < _LEAST_CPUS_PER_ACTOR:
        raise PlanError(
            f"the plan asks for {pools}, and {cluster.num_cpus:g} CPUs leave less than "
            f"{_LEAST_CPUS_PER_ACTOR} CPU for each: lower engine.actors_per_pool, raise "
            "engine.checkpoints_per_actor, or add CPUs"
        )
    reserved = _reserved_cpus(layout.num_decoders, len(cluster.nodes))
    room = sum(_actors_on(node, reserved, layout) for node in cluster.nodes)
    if room < layout.num_actors:
        raise PlanError(
            f"the plan asks for {pools} of {layout.gpus_per_actor:g} GPU and "
            f"{layout.cpus_per_actor:g} CPU each, and the cluster can hold {room}: it has "
            f"{cluster.num_gpus:g} GPU(s) and {cluster.num_cpus:g} CPU(s). Lower "
            "engine.actors_per_pool or engine.num_gpus, or raise engine.checkpoints_per_actor"
        )
    bytes_per_actor = (
        len(layout.hops[0]) * model_bytes if not layout.gpus_per_actor else model_bytes
    )
    memory = layout.num_actors * (_PROCESS_BYTES + bytes_per_actor)
    if memory > cluster.memory_bytes:
        raise PlanError(
            f"{pools} need about {memory / 2**30:.1f} GiB of memory, the cluster has "
            f"{cluster.memory_bytes / 2**30:.1f} GiB: lower engine.actors_per_pool or "
            "engine.checkpoints_per_actor"
        )
    in_flight = layout.in_flight_bytes(payload_bytes)
    if in_flight > cluster.object_store_bytes / 2:
        raise PlanError(
            f"batches under way can take {in_flight / 2**20:.0f} MiB, more than half of the "
            f"object store ({cluster.object_store_bytes / 2**20:.0f} MiB): lower "
            "engine.batch_size or engine.batch_bytes, or give Ray a larger object store"
        )


def _actors_on(node: NodeResources, reserved_cpus: float, layout: Layout) -> int:
    by_cpu = max(0, int((node.num_cpus - reserved_cpus) / layout.cpus_per_actor + 1e-6))
    if not layout.gpus_per_actor:
        return by_cpu
    return min(by_cpu, int(node.num_gpus / layout.gpus_per_actor + 1e-6))
