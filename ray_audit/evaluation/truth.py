"""Truth files: read, checked and joined to score tables."""

import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ray_audit import parquet_io, storage
from ray_audit.errors import LabelError
from ray_audit.evaluation.detection import Detection, evaluate_scores

_REQUIRED = ("sample_id", "is_error")


@dataclass(frozen=True)
class JoinedScores:
    """Scores of the samples whose truth is known.

    Attributes:
        table: rows of the score table that have a truth, in its order.
        is_known: (M,) bool: of all rows of the score table, those that have a truth.
        is_error: (N,) bool.
        kinds: (N,) kind of error, "" where right or unknown.
        num_without_truth: rows of the score table that the truth does not know.
        num_without_score: rows of the truth that the score table lacks.
    """

    table: pa.Table
    is_known: np.ndarray
    is_error: np.ndarray
    kinds: np.ndarray
    num_without_truth: int
    num_without_score: int


def read_truth(uri: str) -> pa.Table:
    """Read a truth file, Parquet or CSV: sample_id, is_error and, if there, kind and others.

    Raises:
        StorageError: it cannot be read.
        LabelError: it lacks a column, or names a sample twice.
    """
    content = storage.read_bytes(uri)
    try:
        if uri.lower().endswith((".parquet", ".pq")):
            table = parquet_io.parse(content)
        else:
            as_text = pyarrow.csv.ConvertOptions(column_types={"sample_id": pa.string()})
            table = pyarrow.csv.read_csv(io.BytesIO(content), convert_options=as_text)
    except pa.ArrowInvalid as error:
        raise LabelError(f"truth {uri}: neither Parquet nor CSV ({error})") from error
    missing = [name for name in _REQUIRED if name not in table.column_names]
    if missing:
        raise LabelError(
            f"truth {uri}: no column {', '.join(missing)} in {', '.join(table.column_names)}"
        )
    if table.num_rows == 0:
        raise LabelError(f"truth {uri}: the table is empty; expected one row per sample")
    table = _with_text_ids(uri, table)
    counts = pc.value_counts(table["sample_id"])
    if len(counts) != table.num_rows:
        repeated = next(row["values"] for row in counts.to_pylist() if row["counts"] > 1)
        raise LabelError(
            f"truth {uri}: sample_id is not unique ({table.num_rows - len(counts)} rows too many, "
            f"such as {repeated}); expected one row per sample"
        )
    is_error = _as_bool(uri, table["is_error"].to_pylist())
    at = table.column_names.index("is_error")
    return table.set_column(at, "is_error", pa.array(is_error, pa.bool_()))


def _with_text_ids(uri: str, table: pa.Table) -> pa.Table:
    """Names as text: other programs store them as categories, and numbers as such."""
    names = table["sample_id"]
    try:
        text = names.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise LabelError(
            f"truth {uri}: sample_id is of type {names.type}; expected text, as in the scores"
        ) from error
    return table.set_column(table.column_names.index("sample_id"), "sample_id", text)


def _as_bool(uri: str, values: list[object]) -> list[bool]:
    """Truth values as they are found in tables: booleans, 0 and 1, or these words."""
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    found = []
    for row, value in enumerate(values, start=1):
        text = str(value).strip().lower()
        if text not in known:
            raise LabelError(
                f"truth {uri}, row {row}: is_error is {value!r}, expected true, false, 1 or 0"
            )
        found.append(known[text])
    return found


def join_truth(scores: pa.Table, truth: pa.Table) -> JoinedScores:
    """Put the truth beside the scores, by sample_id.

    Raises:
        LabelError: they have no sample in common.
    """
    at = pc.index_in(scores["sample_id"], value_set=truth["sample_id"].combine_chunks())
    known = pc.is_valid(at)
    rows = truth.take(at.filter(known))
    if rows.num_rows == 0:
        first = [str(table["sample_id"][0]) for table in (truth, scores) if table.num_rows]
        raise LabelError(
            f"no sample of the truth ({truth.num_rows} rows) is in the scores ({scores.num_rows} "
            f"rows); they begin with {' and '.join(first)}. Check that both are of one dataset"
        )
    kinds = [""] * rows.num_rows
    if "kind" in rows.column_names:
        kinds = [str(kind or "") for kind in rows["kind"].to_pylist()]
    return JoinedScores(
        table=scores.filter(known),
        is_known=known.to_numpy(zero_copy_only=False),
        is_error=np.array([bool(value) for value in rows["is_error"].to_pylist()], dtype=bool),
        kinds=np.array(kinds, dtype=object),
        num_without_truth=scores.num_rows - rows.num_rows,
        num_without_score=truth.num_rows - rows.num_rows,
    )


def directed_columns(schema: pa.Schema) -> dict[str, str]:
    """Score columns whose metadata states which values are suspicious: name -> direction."""
    found = {}
    for field in schema:
        direction = (field.metadata or {}).get(b"direction", b"").decode()
        if direction in ("higher", "lower"):
            found[field.name] = direction
    return found


def evaluate_table(scores: pa.Table, truth: pa.Table) -> list[Detection]:
    """Evaluate every score of a table that has a direction; columns of nulls are left out.

    Raises:
        LabelError: scores and truth have no sample in common.
    """
    joined = join_truth(scores, truth)
    directions = directed_columns(scores.schema)
    columns = {
        name: joined.table[name].cast(pa.float64()).to_numpy()
        for name in directions
        if joined.table[name].null_count < joined.table.num_rows
    }
    return evaluate_scores(columns, directions, joined.is_error, joined.kinds)
