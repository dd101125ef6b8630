"""What the order of the given labels tells: segments of equal label, and how they follow."""

from typing import Any

import numpy as np

from ray_audit.measures.base import SEQUENCES, Family, score
from ray_audit.scores import csl


def _csl_segment(known: np.ndarray, labels: np.ndarray, shards: np.ndarray) -> np.ndarray:
    # A frame that failed must not spoil its neighbours.
    return csl.segment_mean(np.where(np.isfinite(known), known, np.nan), labels, shards)


def _order_nll(samples: Any, order: Any) -> np.ndarray:
    nll: np.ndarray = order.nll(samples)
    return nll


SCORES = (
    score(
        "csl_segment",
        _csl_segment,
        "csl averaged over the given-label segment of the frame",
        "score.csl sample.label sample.shard",
        "nat",
        "higher",
        tasks=SEQUENCES,
    ),
    score(
        "order_nll",
        _order_nll,
        "how unusual the steps into and out of the frame's segment, and its duration, are; labels "
        "only",
        "sample.all dataset.order",
        "nat",
        "higher",
        source="our definition",
        tasks=SEQUENCES,
    ),
)

FAMILY = Family("From the order of the labels", scores=SCORES)
