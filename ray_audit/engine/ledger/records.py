"""Records: what the relay learnt of the batches of a crate, as one Parquet file; and back.

It holds a row per sample (or per tile or clip of one) with its trajectories over the checkpoints
of one relay, sums over labelled elements in float64. What belongs to a whole batch (confusion
counts, histograms), the failures and the unit's tail travel in the file's own metadata.
"""

import contextlib
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
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

_STATES, _FAILURES, _COUNTERS = b"ray_audit.states", b"ray_audit.failures", b"ray_audit.counters"
_MADE_BY, _TAIL = b"ray_audit.made_by", b"ray_audit.tail"
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
    """What is to be committed of one batch.

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


@dataclass(frozen=True)
class CrateRecords:
    """One committed crate.

    Attributes:
        rows: of its batches, one batch after another.
        states: arrays that describe a batch as a whole, (B, ...): of each batch that has not
            failed, in order. They are kept apart, so that sums over them do not depend on crates.
        failures: samples that failed at a checkpoint.
        tail: the end of the unit, where it ends in this crate.
    """

    rows: pa.Table
    states: dict[str, np.ndarray]
    failures: tuple[ShardFailure, ...] = ()
    tail: Tail | None = None


def part_of(batch: Batch, failures: tuple[ShardFailure, ...] = (), is_lost: bool = False) -> Part:
    """Take the records out of a batch that passed its last checkpoint.

    Args:
        batch: without the samples that failed, unless all did.
        failures: of samples.
        is_lost: whether all of it has failed.
    """
    arrays = batch.arrays
    identity = batch.samples.select(_IDENTITY)
    made_by = measures().record_identity(batch.task)
    if is_lost:
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
    return Part(pa.table(columns), state, failures, made_by)


def _column(quantity: Quantity, arrays: dict[str, np.ndarray], num_rows: int) -> pa.Array:
    """What a batch carries of a quantity as a column of its records: values, or flat lists."""
    values = arrays[quantity.key]
    if quantity.axis == "pieces":
        # Pieces begin with the number of their row, or lie along others that do.
        of_row = arrays[quantity.along or quantity.key][:, 0].astype(np.int64)
        return _ragged(values if quantity.along else values[:, 1:], of_row, num_rows)
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


def encode_crate(parts: Sequence[Part], tail: Tail | None = None) -> bytes:
    """Parquet bytes of a crate; equal parts give equal bytes.

    Args:
        parts: its batches, in order; they may be none where a tail comes alone.
        tail: the end of the unit, where it comes with them.
    """
    # A failed batch has no trajectory columns: its rows are empty, and its failures remain.
    tables = [part.rows for part in parts if part.rows.num_rows] or [p.rows for p in parts[:1]]
    good = [part.state for part in parts if part.state or not part.failures]
    states = {name: np.stack([state[name] for state in good]) for name in good[0]} if good else {}
    failures = tuple(failure for part in parts for failure in part.failures)
    metadata = {
        _STATES: _packed(states),
        _FAILURES: _rows_json(failures),
        _MADE_BY: parts[0].made_by.encode() if parts else b"",
    }
    if tail is not None:
        metadata[_TAIL] = encode_tail(tail)
    return _parquet(pa.concat_tables(tables) if tables else pa.table({}), metadata)


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
    metadata = {_FAILURES: _rows_json(tail.failures), _COUNTERS: json.dumps(counters).encode()}
    return _parquet(tail.filtered, metadata)


def _parquet(table: pa.Table, metadata: dict[bytes, bytes]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    return sink.getvalue()


def _packed(states: dict[str, np.ndarray]) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **states)
    return packed.getvalue()


def _rows_json(failures: tuple[ShardFailure, ...]) -> bytes:
    return json.dumps([_as_row(failure) for failure in failures]).encode()


def _as_row(failure: ShardFailure) -> dict[str, Any]:
    # An object's address in a library's message would differ from run to run.
    return asdict(failure) | {"message": _ADDRESS.sub("", failure.message)}


def decode_crate(content: bytes, uri: str = "a crate") -> CrateRecords:
    """Read what `encode_crate` wrote.

    Raises:
        StorageError: another version of ray_audit wrote it, or another set of measures.
    """
    table = parquet_io.parse(content)
    with _of_this_version(uri):
        metadata = table.schema.metadata
        made_by = metadata[_MADE_BY].decode()
        # A tail that comes alone is made of no quantities.
        if made_by and made_by not in [measures().record_identity(task) for task in Task]:
            raise ValueError(f"of the quantities {made_by[:8]}")
        with np.load(io.BytesIO(metadata[_STATES]), allow_pickle=False) as packed:
            states = {name: packed[name] for name in packed.files}
        failures = _failures(table)
    tail = decode_tail("", metadata[_TAIL], uri) if _TAIL in metadata else None
    return CrateRecords(table.replace_schema_metadata(None), states, failures, tail)


def decode_tail(unit_id: str, content: bytes, uri: str = "a tail") -> Tail:
    """Read what `encode_tail` wrote.

    Raises:
        StorageError: another version of ray_audit wrote it.
    """
    table = parquet_io.parse(content)
    with _of_this_version(uri):
        counters = json.loads(table.schema.metadata[_COUNTERS])
        filtered = table.replace_schema_metadata(None)
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
