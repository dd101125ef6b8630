"""Batches to train on: what the audit's readers decode, in another order each epoch.

    units, shuffled -> cuts -> a buffer that gives them in random order -> batches of equal shape

The order depends on seed and epoch alone: neither on what is cached nor on where training was
resumed. A dataset may be larger than memory: two stated sizes bound what is held, the buffer's and
the cache's. Whole units are cached, as decoded, as long as there is room for them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ray_audit.ahead import one_ahead
from ray_audit.config import AuditConfig
from ray_audit.cuts.unit import cut_unit
from ray_audit.samples import IGNORE, SAMPLE_SCHEMA, Batch, Tail, WorkUnit

_MIB = 2**20


@dataclass(frozen=True)
class Example:
    """One input of the model with its labels: an image, a tile, a clip or a sequence.

    Attributes:
        key: stable name: the sample id of its first sample, for tiles with `@` and the
            tile's number.
        batch: a batch of one.
    """

    key: str
    batch: Batch


@dataclass(frozen=True)
class TrainingBatch:
    """Examples of one shape, in the order of `keys`, as one batch."""

    keys: tuple[str, ...]
    batch: Batch


@dataclass
class Counts:
    """Samples read and lost in an epoch."""

    num_read: int = 0
    num_failed: int = 0


class _Names:
    """Names of examples; the tiles of one image come one after the other, and are counted."""

    def __init__(self, has_tiles: bool) -> None:
        self._has_tiles = has_tiles
        self._sample_id = ""
        self._num_tiles = 0

    def of(self, batch: Batch) -> str:
        sample_id = str(batch.samples["sample_id"][0])
        if not self._has_tiles:
            return sample_id
        self._num_tiles = self._num_tiles + 1 if sample_id == self._sample_id else 0
        self._sample_id = sample_id
        return f"{sample_id}@{self._num_tiles}"


class ExampleReader:
    """Reads work units again and again, epoch by epoch.

    Args:
        config: dataset, model input, batch size, seed and sizes of the memory used.
        units: what this worker reads.
        index_uri: folder of the label index.
    """

    def __init__(self, config: AuditConfig, units: Sequence[WorkUnit], index_uri: str) -> None:
        self._config = config
        self._units = sorted(units, key=lambda unit: [shard.key for shard in unit.shards])
        self._index_uri = index_uri
        self._cache: dict[str, tuple[list[Example], int]] = {}
        self._room_bytes = config.training.cache_mib * _MIB
        self.counts = Counts()

    def batches(self, epoch: int) -> Iterator[TrainingBatch]:
        """One pass over the data; `counts` is of this pass, and complete at its end.

        Args:
            epoch: from 1.

        Yields:
            Batches of `training.batch_size` examples; at the end smaller ones, one a shape.

        Raises:
            StorageError: labels cannot be read.
        """
        self.counts = Counts()
        training = self._config.training
        rng = np.random.default_rng([training.seed, epoch])
        stream = shuffled(self._examples(rng), rng, training.shuffle_mib * _MIB)
        yield from one_ahead(batched(stream, training.batch_size))

    def _examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for index in rng.permutation(len(self._units)).tolist():
            unit = self._units[index]
            if unit.unit_id in self._cache:
                examples, num_failed = self._cache[unit.unit_id]
                self.counts.num_failed += num_failed
                yield from self._counted(examples)
            else:
                yield from self._counted(self._decoded(unit))

    def _counted(self, examples: Iterable[Example]) -> Iterator[Example]:
        for example in examples:
            self.counts.num_read += example.batch.samples.num_rows
            yield example

    def _decoded(self, unit: WorkUnit) -> Iterator[Example]:
        kept: list[Example] | None = []
        num_bytes = num_failed = 0
        names = _Names(has_tiles=self._config.dataset.tile is not None)
        dataset, model_input = self._config.dataset, self._config.model.input
        for item in cut_unit(unit, dataset, model_input, self._index_uri, max_batch=1):
            if isinstance(item, Tail):
                num_failed = sum(failure.num_samples for failure in item.failures)
                continue
            example = Example(names.of(item), item)
            num_bytes += item.num_bytes
            if num_bytes > self._room_bytes:
                kept = None
            if kept is not None:
                kept.append(example)
            yield example
        self.counts.num_failed += num_failed
        if kept is not None:
            self._room_bytes -= num_bytes
            self._cache[unit.unit_id] = kept, num_failed


def shuffled(
    examples: Iterable[Example], rng: np.random.Generator, buffer_bytes: int
) -> Iterator[Example]:
    """Random order within a buffer; a full permutation where everything fits into it.

    Args:
        examples: in order.
        rng: drawn from once an example.
        buffer_bytes: most bytes held; at least one example is.
    """
    buffer: list[Example] = []
    num_bytes = 0
    for example in examples:
        buffer.append(example)
        num_bytes += example.batch.num_bytes
        while num_bytes > buffer_bytes:
            chosen = _taken(buffer, rng)
            num_bytes -= chosen.batch.num_bytes
            yield chosen
    while buffer:
        yield _taken(buffer, rng)


def _taken(buffer: list[Example], rng: np.random.Generator) -> Example:
    index = int(rng.integers(len(buffer)))
    buffer[index], buffer[-1] = buffer[-1], buffer[index]
    return buffer.pop()


def batched(examples: Iterable[Example], batch_size: int) -> Iterator[TrainingBatch]:
    """Batches of equal shape; examples without any label are left out."""
    pending: dict[object, list[Example]] = {}
    num_batches = 0
    for example in examples:
        if (example.batch.arrays["targets"] == IGNORE).all():
            continue
        shape = tuple((n, a.shape, a.dtype.str) for n, a in sorted(example.batch.arrays.items()))
        bucket = pending.setdefault(shape, [])
        bucket.append(example)
        if len(bucket) == batch_size:
            yield _merged(pending.pop(shape), num_batches)
            num_batches += 1
    for number, bucket in enumerate(pending.values(), num_batches):
        yield _merged(bucket, number)


def _merged(examples: list[Example], number: int) -> TrainingBatch:
    batches = [example.batch for example in examples]
    arrays = {
        name: np.concatenate([batch.arrays[name] for batch in batches])
        for name in batches[0].arrays
    }
    cuts = [n for n, batch in enumerate(batches) for _ in range(batch.samples.num_rows)]
    samples = pa.concat_tables([batch.samples for batch in batches])
    position = SAMPLE_SCHEMA.get_field_index("cut")
    samples = samples.set_column(position, SAMPLE_SCHEMA.field("cut"), pa.array(cuts, pa.int32()))
    merged = Batch(batches[0].unit_id, number, batches[0].task, samples, arrays)
    return TrainingBatch(tuple(example.key for example in examples), merged)
