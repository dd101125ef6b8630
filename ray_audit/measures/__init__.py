"""Every quantity and every score, declared once; see `base`. Needs no torch."""

from ray_audit.measures.base import (
    DENSE,
    EVERY,
    ROWS,
    SEQUENCES,
    DatasetQuantity,
    Family,
    Quantity,
    Score,
    When,
    score,
)
from ray_audit.measures.registry import Kind, Measures, measures
from ray_audit.schemas import Column

__all__ = [
    "DENSE",
    "EVERY",
    "ROWS",
    "SEQUENCES",
    "Column",
    "DatasetQuantity",
    "Family",
    "Kind",
    "Measures",
    "Quantity",
    "Score",
    "When",
    "measures",
    "score",
]
