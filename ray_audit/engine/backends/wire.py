"""Batches and tails as one-row Arrow tables, the form in which they cross the cluster."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa

from ray_audit.engine.ledger.records import decode_tail, encode_tail
from ray_audit.samples import Batch, ShardFailure, Tail, decode_arrays, encode_arrays
from ray_audit.task import Task

WIRE_SCHEMA = pa.schema(
    [
        ("header", pa.string()),
        ("samples", pa.large_binary()),
        ("buffers", pa.list_(pa.large_binary())),
    ]
)


@dataclass(frozen=True)
class Envelope:
    """What one row carries through the relay.

    Attributes:
        item: a batch, or the tail that ends a unit.
        positions: checkpoints that the unit needs.
        set_id: set of records that these make.
        name: file name of the item's records, without its suffix.
        failures: samples of the batch that failed on the way.
        fatal: why the whole run must stop, or empty.
        probed_at_s: Unix time when the last pool had done with it; 0 before.
        notes: what the pools say of how they ran it, a sentence each.
    """

    item: Batch | Tail
    positions: tuple[int, ...]
    set_id: str
    name: str
    failures: tuple[ShardFailure, ...] = ()
    fatal: str = ""
    probed_at_s: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Receipt:
    """What the driver hears of a committed batch or tail: counts, never samples.

    Attributes:
        unit_id: its work unit.
        is_tail: whether it ends the unit.
        num_samples: rows committed.
        num_filtered: samples filtered (tails).
        num_failed: labelled samples that failed.
        failed: a short digest of each of them that has a name: a sample that was cut into tiles
            or clips may fail in several batches.
        num_bytes: bytes read from shards (tails).
        num_decoded: frames or images decoded (tails).
        num_lead_in: frames decoded because a slice needs them and does not own them (tails).
        decode_s: seconds of decoding (tails).
        probe_s: seconds of each checkpoint's probe (batches).
        probed_at_s: Unix time when the pools had done with it (batches).
        fatal: why the whole run must stop, or empty.
        lost_shards: keys of shards that were lost, wholly or from some place on (tails).
        notes: those of the envelope (batches).
    """

    unit_id: str
    is_tail: bool
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


def encode(envelope: Envelope) -> pa.Table:
    """One row; the arrays' bytes are copied once."""
    item = envelope.item
    header: dict[str, Any] = {
        "unit_id": item.unit_id,
        "positions": envelope.positions,
        "set_id": envelope.set_id,
        "name": envelope.name,
        "failures": [asdict(failure) for failure in envelope.failures],
        "fatal": envelope.fatal,
        "probed_at_s": envelope.probed_at_s,
        "notes": envelope.notes,
    }
    if isinstance(item, Tail):
        return _row(header, np.frombuffer(encode_tail(item), np.uint8), [])
    encoded = encode_arrays(item.arrays)
    header |= {"index": item.index, "task": item.task.value, "arrays": encoded["header"]}
    buffers = [array.reshape(-1).view(np.uint8) for array in encoded["buffers"]]
    return _row(header, _ipc(item.samples), buffers)


def decode(table: pa.Table) -> Envelope:
    """Read a row; the arrays are views into the table's memory."""
    header: dict[str, Any] = json.loads(table["header"][0].as_py())
    payload = table["samples"][0].as_buffer()
    item: Batch | Tail
    if "index" not in header:
        item = decode_tail(header["unit_id"], payload.to_pybytes())
    else:
        arrays = decode_arrays(
            header["arrays"], [b.as_buffer() for b in table["buffers"][0].values]
        )
        samples = pa.ipc.open_stream(payload).read_all()
        item = Batch(header["unit_id"], header["index"], Task(header["task"]), samples, arrays)
    return Envelope(
        item=item,
        positions=tuple(header["positions"]),
        set_id=header["set_id"],
        name=header["name"],
        failures=tuple(ShardFailure(**failure) for failure in header["failures"]),
        fatal=header["fatal"],
        probed_at_s=header["probed_at_s"],
        notes=tuple(header["notes"]),
    )


def _ipc(table: pa.Table) -> np.ndarray:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return np.frombuffer(sink.getvalue(), np.uint8)


def _row(header: dict[str, Any], samples: np.ndarray, buffers: list[np.ndarray]) -> pa.Table:
    columns = [
        pa.array([json.dumps(header)], pa.string()),
        _binary([samples]),
        pa.ListArray.from_arrays(pa.array([0, len(buffers)], pa.int32()), _binary(buffers)),
    ]
    return pa.table(columns, schema=WIRE_SCHEMA)


def _binary(parts: list[np.ndarray]) -> pa.Array:
    """Byte arrays as one binary column.

    Laid out by hand: pa.array of memoryviews never gives them back (seen with pyarrow 26).
    """
    offsets = np.concatenate([[0], np.cumsum([part.nbytes for part in parts])]).astype(np.int64)
    data = np.concatenate(parts) if parts else np.empty(0, np.uint8)
    layout = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(parts), layout)
