"""Records: what the relay learnt of a batch, as one Parquet part; and parts as samples again.

A part holds a row per sample (or per tile or clip of one) with its trajectories over the
checkpoints of one relay, sums over labelled elements in float64. What belongs to the whole batch
(confusion counts, histograms) and the failures travel in the file's own metadata.
"""

import contextlib
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit import parquet_io
from ray_audit.errors import StorageError
from ray_audit.measures import Quantity, measures
from ray_audit.samples import Batch, ShardFailure, Tail
from ray_audit.task import Task

_STATE, _FAILURES, _COUNTERS = b"ray_audit.state", b"ray_audit.failures", b"ray_audit.counters"
_MADE_BY = b"ray_audit.made_by"
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
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
        made_by: identity of the declared quantities that it holds.
    """

    rows: pa.Table
    state: dict[str, np.ndarray]
    failures: tuple[ShardFailure, ...] = ()
    made_by: str = ""


def part_of(batch: Batch, failures: tuple[ShardFailure, ...] = ()) -> Part:
    """Take the records out of a batch that passed its last checkpoint."""
    arrays = batch.arrays
    identity = batch.samples.select(_IDENTITY)
    made_by = measures().record_identity(batch.task)
    if failures:
        return Part(identity.slice(0, 0), {}, failures, made_by)
    columns = {name: identity[name] for name in _IDENTITY}
    state = {}
    for quantity in measures().quantities.values():
        if quantity.key not in arrays or not quantity.is_stored:
            continue
        if quantity.axis == "batch":
            state[quantity.name] = arrays[quantity.key]
        else:
            columns[quantity.name] = _column(quantity, arrays, identity.num_rows)
    return Part(pa.table(columns), state, made_by=made_by)


def _column(one: Quantity, arrays: dict[str, np.ndarray], num_rows: int) -> pa.Array:
    """What a batch carries of a quantity as a column of its records: values, or flat lists."""
    values = arrays[one.key]
    if one.axis == "pieces":
        # Pieces begin with the number of their row, or lie along others that do.
        of_row = arrays[one.along or one.key][:, 0].astype(np.int64)
        return _ragged(values if one.along else values[:, 1:], of_row, num_rows)
    return pa.array(values) if values.ndim == 1 else _lists(values.reshape(num_rows, -1))


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
    return _parquet(part.rows, part.state, part.failures, {}, part.made_by)


def encode_tail(tail: Tail) -> bytes:
    """Parquet bytes of a tail: its filtered samples, with failures and counters beside them."""
    counters = {
        "num_batches": tail.num_batches,
        "bytes_read": tail.bytes_read,
        "decode_s": tail.decode_s,
        "num_decoded": tail.num_decoded,
        "num_lead_in": tail.num_lead_in,
        "remarks": tail.remarks,
        "contents": tail.contents,
    }
    return _parquet(tail.filtered, {}, tail.failures, counters)


def _parquet(
    table: pa.Table,
    state: dict[str, np.ndarray],
    failures: tuple[ShardFailure, ...],
    counters: dict[str, Any],
    made_by: str = "",
) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **state)
    metadata = {
        _STATE: packed.getvalue(),
        _FAILURES: json.dumps([_as_row(failure) for failure in failures]).encode(),
        _COUNTERS: json.dumps(counters).encode(),
        _MADE_BY: made_by.encode(),
    }
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    return sink.getvalue()


def _as_row(failure: ShardFailure) -> dict[str, Any]:
    # An object's address in a library's message would differ from run to run.
    return asdict(failure) | {"message": _ADDRESS.sub("", failure.message)}


def decode_part(content: bytes, uri: str = "a part") -> Part:
    """Read what `encode_part` wrote.

    Raises:
        StorageError: another version of ray_audit wrote it, or another set of measures.
    """
    table = parquet_io.parse(content)
    with _of_this_version(uri):
        metadata = table.schema.metadata
        made_by = metadata[_MADE_BY].decode()
        if made_by not in [measures().record_identity(task) for task in Task]:
            raise ValueError(f"of the quantities {made_by[:8]}")
        with np.load(io.BytesIO(metadata[_STATE]), allow_pickle=False) as packed:
            state = {name: packed[name] for name in packed.files}
        return Part(table.replace_schema_metadata(None), state, _failures(table), made_by)


def decode_tail(unit_id: str, content: bytes, uri: str = "a tail") -> Tail:
    """Read what `encode_tail` wrote.

    Raises:
        StorageError: another version of ray_audit wrote it.
    """
    table = parquet_io.parse(content)
    with _of_this_version(uri):
        counters = json.loads(table.schema.metadata[_COUNTERS])
        filtered = table.replace_schema_metadata(None)
        # Tails that were written before they listed their batches' contents name none.
        counters["contents"] = tuple(counters.get("contents", ()))
        remarks = tuple((kind, shard) for kind, shard in counters.pop("remarks", ()))
        failures = _failures(table)
        return Tail(unit_id, filtered=filtered, failures=failures, remarks=remarks, **counters)


@contextlib.contextmanager
def _of_this_version(uri: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"{uri} was made by another version of ray_audit, or with other packages of measures "
            f"({type(error).__name__}: {error}). Remove it and run again, or give this audit "
            "another `output`"
        ) from error


def _failures(table: pa.Table) -> tuple[ShardFailure, ...]:
    return tuple(ShardFailure(**row) for row in json.loads(table.schema.metadata[_FAILURES]))
