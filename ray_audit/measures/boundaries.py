"""What the checkpoints see around the boundaries between segments."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ray_audit.measures.base import SEQUENCES, Family, Score
from ray_audit.schemas import Column
from ray_audit.scores.boundaries import boundary_shift


def _shifts(
    sequences: Sequence[tuple[np.ndarray, np.ndarray]],
    frames: np.ndarray,
    p_label: np.ndarray,
    prob_margin: np.ndarray,
    other: np.ndarray,
    reached: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Shifted boundaries, video by video; NaN where there is nothing to say."""
    shift, boundary = np.full(len(frames), np.nan), np.full(len(frames), np.nan)
    p_other, p_label = np.nan_to_num(p_label - prob_margin), np.nan_to_num(p_label)
    for rows, labels in sequences:
        # Of frames that left early, the checkpoints that all frames have passed.
        shared = slice(None) if reached is None else reached[rows].all(axis=0)
        found = boundary_shift(
            labels, p_label[rows][:, shared], p_other[rows][:, shared], other[rows][:, shared]
        )
        shift[rows] = found.score
        boundary[rows] = np.where(found.suggested >= 0, frames[rows][found.suggested], np.nan)
    return shift, boundary


_COLUMNS = (
    Column(
        "boundary_shift",
        pa.float64(),
        "how far the checkpoints see the neighbouring segment's class from its boundary to here",
        "fraction",
        "higher",
        "our definition",
    ),
    Column(
        "boundary_frame",
        pa.int64(),
        "where the nearest boundary would then be: first frame of the later segment; null where "
        "nothing speaks for a shift",
        "frame",
    ),
)

_NEEDS = ("sample.sequences", "sample.frame_index", "p_label", "prob_margin", "other")

FAMILY = Family(
    "From the boundaries between segments",
    scores=(Score(_COLUMNS, (*_NEEDS, "sample.reached"), _shifts, tasks=SEQUENCES),),
)
