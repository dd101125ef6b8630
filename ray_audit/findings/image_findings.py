"""Findings of labels that stand for a whole image or a whole video."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ray_audit.findings.finding import Finding

COLUMNS = (
    "sample_id",
    "shard",
    "label_name",
    "suggested_name",
    "predicted_name",
    "csl",
    "confidence",
    "p_suggested",
    "prob_margin",
    "correctness",
    "num_checkpoints",
    "suspicion",
)
"""Columns of the `scores` table that are read."""


@dataclass(frozen=True)
class ImageContext:
    """What findings of images need of the dataset.

    Attributes:
        wrong_fraction: estimated share of wrong labels, 0-1.
    """

    wrong_fraction: float = 0.0


def image_findings(scores: pa.Table, context: ImageContext) -> Iterator[Finding]:
    """Samples whose checkpoints prefer another class, and the most suspicious of the rest.

    A label that was memorised may keep a positive margin: so samples whose rank lies within the
    estimated share of wrong labels are findings too.

    Args:
        scores: rows of the `scores` table, with `COLUMNS`.
        context: of the dataset.
    """
    preferred = pc.less(scores["prob_margin"], 0.0)
    suspicious = pc.greater_equal(scores["suspicion"], 1.0 - context.wrong_fraction)
    chosen = pc.or_(pc.fill_null(preferred, False), pc.fill_null(suspicious, False))
    for row in scores.select(COLUMNS).filter(chosen).to_pylist():
        if row["suggested_name"] is not None:
            yield _finding(row)


def _finding(row: dict[str, Any]) -> Finding:
    num_against = row["num_checkpoints"] - int(row["correctness"])
    return Finding(
        kind="mislabel",
        shard=row["shard"],
        sample_id=row["sample_id"],
        given=row["label_name"],
        suggested=row["suggested_name"],
        suspicion=row["suspicion"],
        reason=(
            f"given {row['label_name']!r}, but {num_against} of {row['num_checkpoints']} "
            f"checkpoints predict another class; the best other is {row['suggested_name']!r} "
            f"with mean probability {row['p_suggested']:.2f} against {row['confidence']:.2f}; "
            f"mean loss {row['csl']:.2f}"
        ),
        anchor="",
        evidence=(row["sample_id"],),
        loss=row["csl"],
        p_given=row["confidence"],
        p_suggested=row["p_suggested"],
    )
