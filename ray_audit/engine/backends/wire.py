"""Crates of batches as one-row Arrow tables, the form in which they cross the cluster."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa

from ray_audit.engine.backends.reused import ReusedMemory
from ray_audit.engine.ledger.crates import CrateName
from ray_audit.engine.ledger.records import decode_tail, encode_tail
from ray_audit.engine.planning.crate_size import FULL_BYTES
from ray_audit.samples import SAMPLE_SCHEMA, Batch, ShardFailure, Tail, order_in_memory
from ray_audit.task import Task

WIRE_SCHEMA = pa.schema([("header", pa.string()), ("payload", pa.large_binary())])
_ALIGNED = 64
_memory = ReusedMemory(FULL_BYTES + FULL_BYTES // 8)  # what is small travels beside the arrays


@dataclass(frozen=True)
class Envelope:
    """A batch on its way.

    Attributes:
        item: the batch.
        name: of the batch within its unit.
        failures: samples of the batch that failed on the way.
        fatal: why the whole run must stop, or empty.
    """

    item: Batch
    name: str
    failures: tuple[ShardFailure, ...] = ()
    fatal: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether no sample is left of the batch that has not failed."""
        failed = {failure.sample_id for failure in self.failures}
        return bool(failed) and failed.issuperset(self.item.samples["sample_id"].to_pylist())


@dataclass(frozen=True)
class Crate:
    """Consecutive batches of one unit, which travel and are committed together.

    Attributes:
        unit_id: the unit.
        positions: checkpoints that it needs.
        set_id: set of records that these make.
        name: which batches they are.
        batches: the batches, in order; none where a tail comes alone.
        tail: the end of the unit, where it ends in this crate.
        fatal: why the whole run must stop, or empty.
        probed_at_s: Unix time when the last pool had done with it; 0 before.
        notes: what the pools say of how they ran it, a sentence each.
    """

    unit_id: str
    positions: tuple[int, ...]
    set_id: str
    name: CrateName
    batches: tuple[Envelope, ...] = ()
    tail: Tail | None = None
    fatal: str = ""
    probed_at_s: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Receipt:
    """What the driver hears of a committed crate: counts, never samples.

    One of no batch and no end says only that somebody is still at work.

    Attributes:
        unit_id: its work unit.
        ends_unit: whether it ends the unit.
        num_batches: batches committed.
        num_samples: rows committed.
        num_filtered: samples filtered (where a unit ends).
        num_failed: labelled samples that failed.
        failed: a short digest of each of them that has a name: a sample that was cut into tiles
            or clips may fail in several batches.
        num_bytes: bytes read from shards (where a unit ends).
        num_decoded: frames or images decoded (likewise).
        num_lead_in: frames decoded because a slice needs them and does not own them (likewise).
        decode_s: seconds of decoding (likewise).
        probe_s: seconds of each checkpoint's probe, over all batches.
        probed_at_s: Unix time when the pools had done with it.
        fatal: why the whole run must stop, or empty.
        lost_shards: keys of shards that were lost, wholly or from some place on (likewise).
        notes: those of the crate.
    """

    unit_id: str
    ends_unit: bool = False
    num_batches: int = 0
    num_samples: int = 0
    num_filtered: int = 0
    num_failed: int = 0
    failed: list[str] = field(default_factory=list)
    num_bytes: int = 0
    num_decoded: int = 0
    num_lead_in: int = 0
    decode_s: float = 0.0
    probe_s: list[float] = field(default_factory=list)
    probed_at_s: float = 0.0
    fatal: str = ""
    lost_shards: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """Serialise; `from_json` gives an equal receipt."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


class _Packer:
    """Bytes laid out one after another, aligned, and copied once."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, np.ndarray]] = []
        self._end = 0

    def add(self, array: np.ndarray) -> tuple[int, int]:
        """Take an array; where its bytes will lie, and how many there are."""
        start = -(-self._end // _ALIGNED) * _ALIGNED
        self._parts.append((start, array))
        self._end = start + array.nbytes
        return start, array.nbytes

    def packed(self) -> np.ndarray:
        """All bytes."""
        data, filled = _memory.take(self._end), 0
        for start, array in self._parts:
            data[filled:start] = 0  # what memory held before goes nowhere
            filled = start + array.nbytes
            place = data[start:filled].view(array.dtype).reshape(array.shape)
            place[...] = array
        return data


def encode(crate: Crate) -> pa.Table:
    """One row; the arrays' bytes are copied once."""
    packer = _Packer()
    header: dict[str, Any] = {
        "unit_id": crate.unit_id,
        "positions": crate.positions,
        "set_id": crate.set_id,
        "name": asdict(crate.name),
        "batches": [_described(envelope, packer) for envelope in crate.batches],
        "fatal": crate.fatal,
        "probed_at_s": crate.probed_at_s,
        "notes": crate.notes,
    }
    if crate.batches:
        rows = pa.concat_tables(envelope.item.samples for envelope in crate.batches)
        header["samples"] = packer.add(_ipc(rows))
    if crate.tail is not None:
        header["tail"] = packer.add(np.frombuffer(encode_tail(crate.tail), np.uint8))
    columns = [pa.array([json.dumps(header)], pa.string()), _binary(packer.packed())]
    return pa.table(columns, schema=WIRE_SCHEMA)


def _described(envelope: Envelope, packer: _Packer) -> dict[str, Any]:
    batch = envelope.item
    arrays = []
    for name, array in sorted(batch.arrays.items()):
        axes = order_in_memory(array)
        stored = array.transpose(axes)
        start, _ = packer.add(stored)
        arrays.append([name, array.dtype.str, list(stored.shape), axes, start])
    return {
        "index": batch.index,
        "task": batch.task.value,
        "num_rows": batch.samples.num_rows,
        "arrays": arrays,
        "name": envelope.name,
        "failures": [asdict(failure) for failure in envelope.failures],
        "fatal": envelope.fatal,
    }


def decode(table: pa.Table) -> Crate:
    """Read a row; the arrays are read-only views into the table's memory."""
    header: dict[str, Any] = json.loads(table["header"][0].as_py())
    payload = _only_value(table["payload"].chunk(0))
    tail = None
    if "tail" in header:
        tail = decode_tail(header["unit_id"], payload.slice(*header["tail"]).to_pybytes())
    return Crate(
        unit_id=header["unit_id"],
        positions=tuple(header["positions"]),
        set_id=header["set_id"],
        name=CrateName(**header["name"]),
        batches=tuple(_batches(header, payload)),
        tail=tail,
        fatal=header["fatal"],
        probed_at_s=header["probed_at_s"],
        notes=tuple(header["notes"]),
    )


def _batches(header: dict[str, Any], payload: pa.Buffer) -> Iterator[Envelope]:
    rows, start = SAMPLE_SCHEMA.empty_table(), 0
    if "samples" in header:
        rows = pa.ipc.open_stream(payload.slice(*header["samples"])).read_all().combine_chunks()
    for described in header["batches"]:
        samples = rows.slice(start, described["num_rows"])
        start += described["num_rows"]
        arrays = {name: _view(payload, *where) for name, *where in described["arrays"]}
        batch = Batch(
            header["unit_id"], described["index"], Task(described["task"]), samples, arrays
        )
        failures = tuple(ShardFailure(**failure) for failure in described["failures"])
        yield Envelope(batch, described["name"], failures, described["fatal"])


def _view(
    payload: pa.Buffer, dtype: str, shape: list[int], axes: list[int], start: int
) -> np.ndarray:
    num = int(np.prod(shape, dtype=np.int64))
    values = np.frombuffer(payload, np.dtype(dtype), num, start) if num else np.zeros(0, dtype)
    return values.reshape(shape).transpose(np.argsort(axes))


def _ipc(table: pa.Table) -> np.ndarray:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return np.frombuffer(sink.getvalue(), np.uint8)


def _binary(data: np.ndarray) -> pa.Array:
    """Bytes as a binary column of one value.

    Laid out by hand: pa.array of memoryviews never gives them back, as
    findings/arrays_of_memoryviews_are_never_released.sh shows.
    """
    offsets = np.array([0, data.nbytes], np.int64)
    layout = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, layout)


def _only_value(column: pa.Array) -> pa.Buffer:
    """The bytes of a binary column of one value; its scalar would give a copy of them."""
    _, offsets, data = column.buffers()
    start, end = np.frombuffer(offsets, np.int64)[column.offset : column.offset + 2].tolist()
    return data.slice(start, end - start)
