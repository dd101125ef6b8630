"""Records: what the relay learnt of a batch, as one Parquet part; and parts as samples again.

A part holds a row per sample (or per tile or clip of one) with its trajectories over the
checkpoints of one relay, sums over labelled elements in float64. What belongs to the whole batch
(confusion counts, histograms) and the failures travel in the file's own metadata.
"""

import io
import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit import parquet
from ray_audit.engine.adaptive import REACHED
from ray_audit.probes.trajectories import RAGGED, TRAJECTORIES
from ray_audit.samples import Batch, ShardFailure, Tail

_STATE, _FAILURES, _COUNTERS = b"ray_audit.state", b"ray_audit.failures", b"ray_audit.counters"
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_BATCH_WIDE = ("confusion", "probe_s")
_RAGGED_TRAJECTORIES = ("void_class", "void_sum")
ROW_TRAJECTORIES = tuple(
    name for name in TRAJECTORIES if name not in (*_BATCH_WIDE, *_RAGGED_TRAJECTORIES)
)
_IDENTITY = (
    "sample_id",
    "shard",
    "frame_index",
    "pts_s",
    "label",
    "num_labelled",
    "sample_num_labelled",
)


@dataclass(frozen=True)
class Part:
    """One committed batch.

    Attributes:
        rows: a row per sample or part of one.
        state: arrays that describe the batch as a whole.
        failures: samples that failed at a checkpoint.
    """

    rows: pa.Table
    state: dict[str, np.ndarray]
    failures: tuple[ShardFailure, ...] = ()


def part_of(batch: Batch, failures: tuple[ShardFailure, ...] = ()) -> Part:
    """Take the records out of a batch that passed its last checkpoint."""
    arrays = batch.arrays
    identity = batch.samples.select(_IDENTITY)
    if failures:
        return Part(identity.slice(0, 0), {}, failures)
    columns = {name: identity[name] for name in _IDENTITY}
    num_rows = identity.num_rows
    if REACHED in arrays:
        columns[REACHED] = pa.array(arrays[REACHED])
    for name in ROW_TRAJECTORIES:
        values = arrays.get(f"trajectory/{name}")
        if values is not None:
            columns[name] = _lists(values)
    for name in ("vog/class_sum", "vog/class_px"):
        if name in arrays:
            columns[name] = _lists(arrays[name])
    for name in ("vog/sum", "vog/num_px", "final/p_predicted"):
        if name in arrays:
            columns[name] = pa.array(arrays[name])
    for name in ("softmin", "interior", "class_counts", "tccp", "below", "image_size"):
        if f"final/{name}" in arrays:
            columns[f"final/{name}"] = _lists(arrays[f"final/{name}"].reshape(num_rows, -1))
    if "recount/counts" in arrays:
        counts = arrays["recount/counts"]
        columns["recount/counts"] = _lists(counts)
        for name, lengths in (("recount/wrong", counts[:, 3]), ("recount/right", counts[:, 4])):
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
            columns[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(arrays[name]))
    for name in sorted(RAGGED & arrays.keys()):
        of_row = arrays[name][:, 0].astype(np.int64)
        columns[name] = _ragged(arrays[name][:, 1:], of_row, num_rows)
    for name in _RAGGED_TRAJECTORIES:
        if f"trajectory/{name}" in arrays:
            of_row = arrays["void/index"][:, 0]
            columns[name] = _ragged(arrays[f"trajectory/{name}"], of_row, num_rows)
    state = {k: v for k, v in arrays.items() if k.startswith("confident/")}
    for name in _BATCH_WIDE:
        if f"trajectory/{name}" in arrays:
            state[name] = arrays[f"trajectory/{name}"]
    return Part(pa.table(columns), state)


def _lists(values: np.ndarray) -> pa.Array:
    """(R, E) array to a list column."""
    num_rows, length = values.shape
    offsets = np.arange(0, num_rows * length + 1, length or 1, dtype=np.int32)
    if not length:
        offsets = np.zeros(num_rows + 1, np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))


def _ragged(values: np.ndarray, of_row: np.ndarray, num_rows: int) -> pa.Array:
    """(C, ...) values of rows in row order to a list column, flat."""
    counts = np.bincount(of_row, minlength=num_rows) * math.prod(values.shape[1:])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))


def encode_part(part: Part) -> bytes:
    """Parquet bytes of a part; equal parts give equal bytes."""
    return _parquet(part.rows, part.state, part.failures, {})


def encode_tail(tail: Tail) -> bytes:
    """Parquet bytes of a tail: its filtered samples, with failures and counters beside them."""
    counters = {
        "num_batches": tail.num_batches,
        "bytes_read": tail.bytes_read,
        "decode_s": tail.decode_s,
        "num_decoded": tail.num_decoded,
        "num_lead_in": tail.num_lead_in,
        "remarks": tail.remarks,
    }
    return _parquet(tail.filtered, {}, tail.failures, counters)


def _parquet(
    table: pa.Table,
    state: dict[str, np.ndarray],
    failures: tuple[ShardFailure, ...],
    counters: dict[str, Any],
) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **state)
    metadata = {
        _STATE: packed.getvalue(),
        _FAILURES: json.dumps([_as_row(failure) for failure in failures]).encode(),
        _COUNTERS: json.dumps(counters).encode(),
    }
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    return sink.getvalue()


def _as_row(failure: ShardFailure) -> dict[str, Any]:
    # An object's address in a library's message would differ from run to run.
    return asdict(failure) | {"message": _ADDRESS.sub("", failure.message)}


def decode_part(content: bytes) -> Part:
    """Read what `encode_part` wrote."""
    table = parquet.parse(content)
    with np.load(io.BytesIO(table.schema.metadata[_STATE]), allow_pickle=False) as packed:
        state = {name: packed[name] for name in packed.files}
    return Part(table.replace_schema_metadata(None), state, _failures(table))


def decode_tail(unit_id: str, content: bytes) -> Tail:
    """Read what `encode_tail` wrote."""
    table = parquet.parse(content)
    counters = json.loads(table.schema.metadata[_COUNTERS])
    filtered = table.replace_schema_metadata(None)
    remarks = tuple((kind, shard) for kind, shard in counters.pop("remarks", ()))
    failures = _failures(table)
    return Tail(unit_id, filtered=filtered, failures=failures, remarks=remarks, **counters)


def _failures(table: pa.Table) -> tuple[ShardFailure, ...]:
    return tuple(ShardFailure(**row) for row in json.loads(table.schema.metadata[_FAILURES]))
