"""Batches of equally shaped cuts, the same whatever runs them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ray_audit.config import EngineConfig
from ray_audit.cuts.stacking import stacked
from ray_audit.samples import SAMPLE_SCHEMA, Batch
from ray_audit.task import Task

AUTO_BATCH_BYTES = 2 * 2**20
"""Of network input, on a CPU: the maps of a model then stay near its caches."""
_LOGITS_SHARE = 16  # so many times the input may the logits of dense labels take
_CUTS_PER_MIB = 64  # at most, however small they are
_LEAST_CUTS, _MOST_CUTS = 256, 1024  # bounds of that
_PENDING_BYTES = 64 * 2**20


@dataclass(frozen=True)
class AutoBatch:
    """As many cuts as make `input_bytes` of network input, float32; one at least."""

    input_bytes: int = AUTO_BATCH_BYTES

    @property
    def max_cuts(self) -> int:
        """However small they are."""
        as_many = _CUTS_PER_MIB * self.input_bytes // 2**20
        return min(max(as_many, _LEAST_CUTS), _MOST_CUTS)


AUTO_BATCH = AutoBatch()
"""On any CPU."""

BatchSize = int | AutoBatch
"""Cuts in a batch: a number, or as many as fit."""


def batch_size_of(engine: EngineConfig) -> BatchSize:
    """What the specification fixes, or how it is chosen."""
    if engine.batch_size != "auto":
        return engine.batch_size
    return AUTO_BATCH if engine.batch_bytes == "auto" else AutoBatch(engine.batch_bytes)


@dataclass(frozen=True)
class SampleRow:
    """One row of `SAMPLE_SCHEMA`, but for `cut`, which the batch knows."""

    sample_id: str
    shard: str
    frame_index: int | None = None
    pts_s: float | None = None
    label: int | None = None
    position: int = 0
    num_labelled: int = 1
    sample_num_labelled: int = 1


@dataclass(frozen=True)
class Cut:
    """One input of the model: an image, a tile, a clip or a sequence.

    Attributes:
        inputs: (C, H, W), (T, C, H, W) or (T, D).
        targets: (), (T,) or (H, W).
        rows: the samples that it owns.
        extras: further arrays, stacked under their names.
        alone: whether it must be a batch of its own.
    """

    inputs: np.ndarray
    targets: np.ndarray
    rows: tuple[SampleRow, ...]
    extras: dict[str, np.ndarray] = field(default_factory=dict)
    alone: bool = False

    @property
    def num_bytes(self) -> int:
        """Size of the arrays."""
        arrays = (self.inputs, self.targets, *self.extras.values())
        return sum(array.nbytes for array in arrays)


class Batcher:
    """Collects cuts of one unit by shape.

    Args:
        unit_id: the work unit.
        task: what the labels belong to.
        max_batch: most cuts in a batch.
        size: height and width of the network input, where it is resized.
        num_classes: K; logits of dense labels take 4 K bytes a mask pixel.
    """

    def __init__(
        self,
        unit_id: str,
        task: Task,
        max_batch: BatchSize,
        size: tuple[int, int] | None,
        num_classes: int,
    ) -> None:
        self._num_classes = num_classes
        self.num_batches = 0
        self._unit_id = unit_id
        self._task = task
        self._max_batch = max_batch
        self._size = size
        self._pending: dict[object, list[Cut]] = {}
        self._pending_bytes = 0

    def add(self, cut: Cut) -> Iterator[Batch]:
        """Take a cut; give the batches that it completes."""
        if cut.alone:
            yield self._batch([cut])
            return
        key = (cut.inputs.shape, cut.inputs.dtype.str, cut.targets.shape)
        bucket = self._pending.setdefault(key, [])
        bucket.append(cut)
        self._pending_bytes += cut.num_bytes
        logits_bytes = self._logits_bytes(cut)
        limit = max_cuts(self._max_batch, cut.inputs.shape, self._size, logits_bytes)
        if len(bucket) >= limit:
            yield self._flush_one(key)
        while self._pending_bytes > _PENDING_BYTES:
            # Many different shapes: memory stays bounded, at the price of smaller batches.
            yield self._flush_one(next(iter(self._pending)))

    def flush(self) -> Iterator[Batch]:
        """What is left, in the order in which the shapes were first seen."""
        while self._pending:
            yield self._flush_one(next(iter(self._pending)))

    def _logits_bytes(self, cut: Cut) -> int:
        """Of dense labels; those of others are too small to count."""
        return 4 * self._num_classes * cut.targets.size if self._task.is_dense else 1

    def _flush_one(self, key: object) -> Batch:
        cuts = self._pending.pop(key)
        self._pending_bytes -= sum(cut.num_bytes for cut in cuts)
        return self._batch(cuts)

    def _batch(self, cuts: list[Cut]) -> Batch:
        arrays = {
            "inputs": stacked([cut.inputs for cut in cuts]),
            "targets": stacked([cut.targets for cut in cuts]),
        }
        for name in cuts[0].extras:
            arrays[name] = stacked([cut.extras[name] for cut in cuts])
        batch = Batch(self._unit_id, self.num_batches, self._task, _samples(cuts), arrays)
        self.num_batches += 1
        return batch


def max_cuts(
    max_batch: BatchSize,
    shape: tuple[int, ...],
    size: tuple[int, int] | None,
    logits_bytes: int = 1,
) -> int:
    """Most cuts of one shape in a batch.

    Args:
        max_batch: a number, or how it is chosen.
        shape: of one cut, as it is stored.
        size: height and width of the network input, where it is resized.
        logits_bytes: of one cut.
    """
    if isinstance(max_batch, int):
        return max_batch
    fits = max_batch.input_bytes // network_bytes(shape, size)
    fits = min(fits, _LOGITS_SHARE * max_batch.input_bytes // logits_bytes)
    return min(max(fits, 1), max_batch.max_cuts)


def batch_of_equals(limit: int, cut_bytes: int) -> int:
    """Cuts in each full batch of a unit whose cuts all have one shape and `cut_bytes` bytes."""
    return min(limit, _PENDING_BYTES // cut_bytes + 1)


def network_bytes(shape: tuple[int, ...], size: tuple[int, int] | None) -> int:
    """Bytes of one cut as the network sees it: float32, resized.

    >>> network_bytes((3, 480, 640), (112, 112)), network_bytes((10, 5), (112, 112))
    (150528, 200)
    """
    pixels = (*shape[:-2], *size) if size is not None and len(shape) > 2 else shape
    return max(1, math.prod(pixels) * 4)


def _samples(cuts: list[Cut]) -> pa.Table:
    rows = [(index, row) for index, cut in enumerate(cuts) for row in cut.rows]
    columns: dict[str, list[Any]] = {
        name: [index if name == "cut" else getattr(row, name) for index, row in rows]
        for name in SAMPLE_SCHEMA.names
    }
    return pa.table(columns, schema=SAMPLE_SCHEMA)
