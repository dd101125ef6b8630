"""Truth files: read, checked and joined to score tables."""

import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ray_audit import storage
from ray_audit.errors import LabelError
from ray_audit.evaluation.metrics import Detection, evaluate_scores

_REQUIRED = ("sample_id", "is_error")


@dataclass(frozen=True)
class JoinedScores:
    """Scores of the samples whose truth is known.

    Attributes:
        table: rows of the score table that have a truth, in its order.
        is_error: (N,) bool.
        kinds: (N,) kind of error, "" where right or unknown.
        num_without_truth: rows of the score table that the truth does not know.
        num_without_score: rows of the truth that the score table lacks.
    """

    table: pa.Table
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
    content = io.BytesIO(storage.read_bytes(uri))
    try:
        if uri.lower().endswith((".parquet", ".pq")):
            table = pq.read_table(content)
        else:
            as_text = pyarrow.csv.ConvertOptions(column_types={"sample_id": pa.string()})
            table = pyarrow.csv.read_csv(content, convert_options=as_text)
    except pa.ArrowInvalid as error:
        raise LabelError(f"truth {uri}: neither Parquet nor CSV ({error})") from error
    missing = [name for name in _REQUIRED if name not in table.column_names]
    if missing:
        raise LabelError(
            f"truth {uri}: no column {', '.join(missing)} in {', '.join(table.column_names)}"
        )
    if pc.count_distinct(table["sample_id"]).as_py() != table.num_rows:
        raise LabelError(f"truth {uri}: sample_id is not unique; expected one row a sample")
    return table


def join_truth(scores: pa.Table, truth: pa.Table) -> JoinedScores:
    """Put the truth beside the scores, by sample_id.

    Raises:
        LabelError: they have no sample in common.
    """
    at = pc.index_in(scores["sample_id"], value_set=truth["sample_id"].combine_chunks())
    known = pc.is_valid(at)
    rows = truth.take(at.filter(known))
    if rows.num_rows == 0:
        first = [table["sample_id"][0].as_py() for table in (scores, truth) if table.num_rows]
        raise LabelError(
            f"no sample of the truth is in the scores (such as {', '.join(first)}); check that "
            "both are of the same dataset"
        )
    kinds = [""] * rows.num_rows
    if "kind" in rows.column_names:
        kinds = [str(kind or "") for kind in rows["kind"].to_pylist()]
    return JoinedScores(
        table=scores.filter(known),
        is_error=np.array([bool(value) for value in rows["is_error"].to_pylist()], dtype=bool),
        kinds=np.array(kinds, dtype=object),
        num_without_truth=scores.num_rows - rows.num_rows,
        num_without_score=truth.num_rows - rows.num_rows,
    )


def directed_columns(scores: pa.Table) -> dict[str, str]:
    """Score columns whose metadata states which values are suspicious: name -> direction."""
    found = {}
    for field in scores.schema:
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
    directions = directed_columns(scores)
    columns = {
        name: joined.table[name].cast(pa.float64()).to_numpy()
        for name in directions
        if joined.table[name].null_count < joined.table.num_rows
    }
    return evaluate_scores(columns, directions, joined.is_error, joined.kinds)
