"""What flows through the engine: shards, work units, batches and the tail of a unit.

Everything here is plain data that crosses processes as JSON and Arrow, never as a pickle.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa

from ray_audit.task import Task

IGNORE = -1
"""Target value of an element (frame, pixel) that has no label or a void one."""

SAMPLE_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("shard", pa.string()),
        ("frame_index", pa.int64()),
        ("pts_s", pa.float64()),
        ("label", pa.int32()),  # null for dense labels
        ("cut", pa.int32()),  # position in the batch: first axis of `inputs`
        ("position", pa.int32()),  # frame within the clip; 0 elsewhere
        ("num_labelled", pa.int64()),  # owned labelled elements of this row; 1 but for dense
        ("sample_num_labelled", pa.int64()),  # of the whole sample, over all its tiles or clips
    ]
)
"""Rows of `Batch.samples`: one per sample that the batch owns (a part of it, when tiled)."""

FILTERED_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("shard", pa.string()),
        ("frame_index", pa.int64()),
        ("reason", pa.string()),  # unlabelled | void | not_sampled
    ]
)


RemarkKind = Literal["clock", "display_matrix", "few_labels", "labels_cut"]
Remark = tuple[RemarkKind, str]
"""What a reader should know of a shard, by its key."""


@dataclass(frozen=True, slots=True)  # a driver may hold millions
class Shard:
    """One stored object of a dataset.

    Attributes:
        key: stable name, the same for a local copy and in S3.
        uri: where it lies.
        size_bytes: its size.
        etag: changes when its content does.
        label_uri: its own label file (mask, table), where labels come one file per shard.
        label_digest: changes when its labels do.
        class_index: its class, where labels are folders or one row per image.
        num_labelled: labelled samples in it, where known without reading it.
        start_s: when an episode begins in its video file, in seconds; None for all of a file.
        end_s: when it ends there, exclusive.
    """

    key: str
    uri: str
    size_bytes: int
    etag: str
    label_uri: str | None = None
    label_digest: str = ""
    class_index: int | None = None
    num_labelled: int | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class KeyFrame:
    """A packet at which decoding can begin.

    Attributes:
        frame_index: of the frame that it holds.
        pts: presentation time of that frame, in the stream's time base.
        num_bytes: size of the packet.
        crc32: of the packet; None where the container's index alone places packets.
        is_open: whether groups of this video are open: frames shown before a key frame follow it,
            and refer to what lies before.
    """

    frame_index: int
    pts: int
    num_bytes: int
    crc32: int | None
    is_open: bool = False


@dataclass(frozen=True)
class Slice:
    """Part of a long video: the frames that it owns, and what must be decoded around them.

    Attributes:
        number: from 0, of `num_slices`.
        num_slices: slices of the video.
        first_frame: first frame of its first clip.
        own_start: first frame that is its own.
        own_stop: end of its own frames, exclusive.
        stop_frame: end of its last clip, exclusive; the last slice reads on to the video's end.
        keys: where decoding may begin, the latest first; none: at the video's beginning.
        packed_pts: presentation times of `first_frame` to `stop_frame`, and of the frame after
            them where there is one, packed.
        time_base: seconds of one unit of them, numerator and denominator.
        start: when the container begins, in these units.
        frame_s: seconds a frame.
        counts: whether frames are timed by their index and `frame_s` alone.
        frame_shape: (H, W, C) of the video's first frame.
    """

    number: int
    num_slices: int
    first_frame: int
    own_start: int
    own_stop: int
    stop_frame: int
    keys: tuple[KeyFrame, ...]
    packed_pts: str
    time_base: tuple[int, int]
    start: float
    frame_s: float
    counts: bool
    frame_shape: tuple[int, ...]

    @property
    def is_last(self) -> bool:
        """Whether the video ends in it."""
        return self.number == self.num_slices - 1

    @property
    def num_lead_in(self) -> int:
        """Frames that are decoded and not its own: from the key frame on, and the halo."""
        begin = self.keys[0].frame_index if self.keys else 0
        return self.own_start - begin + self.stop_frame - self.own_stop

    def owns(self, frame_index: int) -> bool:
        """Whether a frame is its own; the last slice owns what comes after the index's end too."""
        return self.own_start <= frame_index and (self.is_last or frame_index < self.own_stop)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """Read what `asdict`, through JSON, made."""
        keys = tuple(KeyFrame(**key) for key in values["keys"])
        pairs = {name: tuple(values[name]) for name in ("time_base", "frame_shape")}
        return cls(**(values | pairs | {"keys": keys}))


@dataclass(frozen=True)
class WorkUnit:
    """What is decoded, retried and committed as one: a shard, a slice, or a group of small shards.

    Attributes:
        unit_id: digest of what makes its records what they are.
        shards: what it reads.
        part: which part of its one shard it is, where that is a long video.
    """

    unit_id: str
    shards: tuple[Shard, ...]
    part: Slice | None = None

    @property
    def whole(self) -> str:
        """What its samples are reduced with: the unit itself, or the whole of a sliced video."""
        return self.unit_id if self.part is None else self.shards[0].key

    @property
    def files(self) -> str:
        """What it reads, in a few words for people."""
        first, num_more = self.shards[0].key, len(self.shards) - 1
        return f"{first} and {num_more} more" if num_more else first

    def to_json(self) -> str:
        """Serialise; `from_json` gives an equal unit."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        shards = tuple(Shard(**shard) for shard in values["shards"])
        part = values["part"] and Slice.from_values(values["part"])
        return cls(values["unit_id"], shards, part)


@dataclass(frozen=True)
class Batch:
    """Model inputs with their targets, from one work unit only.

    Attributes:
        unit_id: the work unit.
        index: position of the batch within its unit, from 0.
        task: what the labels belong to.
        samples: one row per owned sample, `SAMPLE_SCHEMA`.
        arrays: named arrays. `inputs`: images (N, C, H, W), clips (N, T, C, H, W) or feature
            sequences (N, T, D); uint8 or uint16 as decoded, float32 in [0, 1] where already
            resized. `targets`: signed integers with `IGNORE`; (N,), (N, T) or (N, H, W).
            For tiles also `owned_rect` (N, 4) int32 y0, x0, y1, x1 in tile pixels, `placement`
            (N, 4) int64 y and x of the tile, height and width of the image, and, cut from the
            whole mask, (N, H, W) `interior` and `void_components` uint8, `components` int32.
            Probes add what they learn under names with `/` in them.
    """

    unit_id: str
    index: int
    task: Task
    samples: pa.Table
    arrays: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        if not self.samples.schema.equals(SAMPLE_SCHEMA):
            raise ValueError(f"batch {self.unit_id}/{self.index}: {self.samples.schema}")

    @property
    def num_bytes(self) -> int:
        """Size of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def with_arrays(self, arrays: dict[str, np.ndarray]) -> "Batch":
        """The same batch carrying other arrays."""
        return Batch(self.unit_id, self.index, self.task, self.samples, arrays)


@dataclass(frozen=True)
class ShardFailure:
    """A sample or shard that could not be audited: a row of the `errors` table.

    Attributes:
        shard: shard key.
        sample_id: the sample, or None where the whole shard (or the rest of it) is lost.
        stage: read | decode | labels | probe | scores.
        error_class: short name, e.g. `decode`, `mask_size`, `non_finite`.
        message: what was got, expected, and what to do.
        num_samples: labelled samples lost by it.
        attempts: how often it was tried.
    """

    shard: str
    sample_id: str | None
    stage: str
    error_class: str
    message: str
    num_samples: int
    attempts: int = 1


@dataclass(frozen=True)
class Tail:
    """The end of a work unit, after its last batch: what was not sent as a batch, and counts.

    Attributes:
        unit_id: the work unit.
        num_batches: batches that came before, so that a reader knows when all are there.
        filtered: samples left out on purpose, `FILTERED_SCHEMA`.
        failures: samples and shards that could not be read.
        bytes_read: bytes of shards and labels read.
        decode_s: seconds spent reading and decoding.
        num_decoded: frames or images decoded.
        num_lead_in: further frames decoded because a slice needs them and does not own them.
        remarks: what a reader should know of shards that were read.
    """

    unit_id: str
    num_batches: int
    filtered: pa.Table = field(default_factory=lambda: FILTERED_SCHEMA.empty_table())
    failures: tuple[ShardFailure, ...] = ()
    bytes_read: int = 0
    decode_s: float = 0.0
    num_decoded: int = 0
    num_lead_in: int = 0
    remarks: tuple[Remark, ...] = ()


def order_in_memory(array: np.ndarray) -> list[int]:
    """The axes of an array from the widest step in memory to the narrowest.

    Transposed by them it is copied as it lies, without a step to and fro for every value.

    >>> order_in_memory(np.zeros((2, 5, 4, 3)).transpose(0, 3, 1, 2))  # channels side by side
    [0, 2, 3, 1]
    """
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
