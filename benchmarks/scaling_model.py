"""What limits an audit as it grows, by the planner's own arithmetic; checked against a small run.

    python -m benchmarks.scaling_model            # the table of docs/scaling.md
    python -m benchmarks.scaling_check            # the model against a small run

Pools, decoders, hops and batches come from `engine.layout` and `engine.plan`, as in a real run; how
long a frame takes comes from `Pace`, assumed in the table and measured in the check.
"""

import math
from dataclasses import dataclass
from typing import Any

from ray_audit.config import AuditConfig, EngineConfig
from ray_audit.engine.planning.crate_size import FULL_BYTES, MAX_BATCHES
from ray_audit.engine.planning.layout import ClusterResources, Layout, NodeResources, plan_layout
from ray_audit.engine.planning.plan import payload_bytes

_RGB_FLOAT_BYTES = 12
_GIB = 2**30
_CPUS_PER_GPU, _GPUS_PER_NODE = 8, 8  # as `ray-audit render k8s` asks for


@dataclass(frozen=True)
class Workload:
    """A video dataset and its checkpoints.

    Attributes:
        config: for the size of clips, inputs and batches.
        num_frames: sampled frames of the whole dataset.
        decoded_per_sampled: frames that are decoded for one that is sampled.
        num_units: shards, or slices of long ones.
        num_bytes: of all shards.
        num_checkpoints: in the relay.
        model_bytes: weights of one.
    """

    config: AuditConfig
    num_frames: float
    decoded_per_sampled: float
    num_units: float
    num_bytes: float
    num_checkpoints: int
    model_bytes: int

    @property
    def num_batches(self) -> float:
        """Batches of the planner's size; a unit ends with one that may be smaller."""
        clip, size = self.config.dataset.clip, self.config.model.input.size
        frames = clip.frames or 1
        clips = self.num_frames / clip.step
        clip_bytes = _RGB_FLOAT_BYTES * frames * math.prod(size or (1, 1))
        per_batch = max(1, payload_bytes(self.config) // clip_bytes)
        return max(self.num_units, clips / per_batch)

    @property
    def num_crates(self) -> float:
        """Crates of these batches: pixels travel in 8 bits; a unit ends with one."""
        clip, size = self.config.dataset.clip, self.config.model.input.size
        num_px = math.prod(size or (1, 1)) * (clip.frames or 1)
        clips_per_batch = max(1, payload_bytes(self.config) // (_RGB_FLOAT_BYTES * num_px))
        batch_bytes = clips_per_batch * num_px * _RGB_FLOAT_BYTES / 4
        per_crate = max(1, min(MAX_BATCHES, FULL_BYTES // batch_bytes))
        return self.num_units * math.ceil(self.num_batches / self.num_units / per_crate)

    @property
    def num_probed(self) -> float:
        """Frames that each checkpoint sees: overlapping clips show most of them twice."""
        clip = self.config.dataset.clip
        return self.num_frames * (clip.frames or 1) / clip.step


@dataclass(frozen=True)
class Pace:
    """Seconds on one core, or one actor's device.

    Attributes:
        decode_s: to decode one frame and make it ready.
        probe_s: for one frame, forward and backward, in one checkpoint.
        hop_s: for one batch to pass one pool, besides its probes.
        receipt_s: of the driver, or of the lane that has it, for each crate: .39 ms of CPU a batch
            of 1 MiB, of which 43 are an object (`benchmarks.crates`). What a driver takes a second
            whatever comes is in it.
        list_s: for a listing of 1,000 objects.
        start_up_s: until the first batch is through.
    """

    decode_s: float
    probe_s: float
    hop_s: float = 0.03
    receipt_s: float = 0.017
    list_s: float = 0.2
    start_up_s: float = 30.0


@dataclass(frozen=True)
class Prediction:
    """Seconds that each part would take alone; the slowest is the limit."""

    layout: Layout
    seconds: dict[str, float]
    start_up_s: float
    num_puts: float
    in_flight_bytes: float

    @property
    def limit(self) -> str:
        """The slowest part."""
        return max(self.seconds, key=lambda name: self.seconds[name])

    @property
    def total_s(self) -> float:
        """All parts run side by side, but the listing, which comes before."""
        side_by_side = max(v for name, v in self.seconds.items() if name != "listing")
        return self.start_up_s + side_by_side + self.seconds["listing"]


def predict(
    workload: Workload, pace: Pace, cluster: ClusterResources, engine: EngineConfig
) -> Prediction:
    """Lay out the relay as a run would, and time its parts."""
    payload = payload_bytes(workload.config)
    positions = tuple(range(workload.num_checkpoints))
    layout = plan_layout(positions, workload.model_bytes, payload, cluster, engine)
    num_batches = workload.num_batches
    per_pool = max(len(hop) for hop in layout.hops)
    probes_s = workload.num_probed * per_pool * pace.probe_s + num_batches * pace.hop_s
    num_decoded = workload.num_frames * workload.decoded_per_sampled
    # Decoders reserve a quarter of a CPU and may use more where pools leave cores idle.
    cores = min(layout.num_decoders, cluster.num_cpus)
    num_crates = workload.num_crates
    return Prediction(
        layout,
        {
            "decode": num_decoded * pace.decode_s / cores,
            "pools": probes_s / layout.actors_per_pool,
            "driver": num_crates * pace.receipt_s / layout.num_lanes,
            "listing": num_crates / 1000 * pace.list_s,
        },
        pace.start_up_s,
        num_crates,
        layout.in_flight_bytes(FULL_BYTES),
    )


def cluster_of(num_gpus: int) -> ClusterResources:
    """Nodes of up to 8 GPUs, 8 CPUs for each."""
    sizes = [_GPUS_PER_NODE] * (num_gpus // _GPUS_PER_NODE)
    sizes += [num_gpus % _GPUS_PER_NODE] if num_gpus % _GPUS_PER_NODE else []
    nodes = tuple(NodeResources(n * _CPUS_PER_GPU, n, n * 32 * _GIB) for n in sizes)
    return ClusterResources(nodes, sum(n * 10 * _GIB for n in sizes))


def surgical(hours: float) -> Workload:
    """One-hour videos at 25 frames a second, each 5th frame, ten epochs of a 100 MB model."""
    dataset: dict[str, Any] = {
        "kind": "video",
        "uri": "s3://b/*.mp4",
        "labels": {"frames": "s3://b/frames.csv"},
        "classes": ["a", "b"],
        "clip": {"frames": 32, "stride": 16, "every": 5},
    }
    config = AuditConfig.parse(
        {
            "dataset": dataset,
            "model": {"factory": "m:f", "input": {"size": [224, 224]}},
            "checkpoints": "s3://b/c/*",
            "output": "s3://b/o",
        }
    )
    slices = 14  # of 6e9 pixels: an hour of 720p
    return Workload(config, hours * 18000, 5.0, hours * slices, hours * 2e9, 10, 10**8)


def table() -> str:
    """The table of docs/scaling.md: assumed paces, planned layouts."""
    pace = Pace(decode_s=0.002, probe_s=0.002)
    lines = [
        "| GPUs | hours of video | hops x actors | lanes | decoders | in flight | limit | others |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for gpus, hours in ((1, 100), (10, 1e3), (10, 1e4), (1000, 1e5), (1000, 1e6)):
        found = predict(surgical(hours), pace, cluster_of(gpus), EngineConfig())
        layout, seconds = found.layout, found.seconds
        others = ", ".join(f"{k} {_hours(v)}" for k, v in seconds.items() if k != found.limit)
        lines.append(
            f"| {gpus} | {hours:,.0f} | {len(layout.hops)} x {layout.actors_per_pool} "
            f"| {layout.num_lanes} | {layout.num_decoders} "
            f"| {found.in_flight_bytes / _GIB:.1f} GiB "
            f"| {found.limit} {_hours(seconds[found.limit])} | {others} |"
        )
    return "\n".join(lines)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.3g} h"


def main() -> None:
    """Print the table."""
    print(table())


if __name__ == "__main__":
    main()
