"""VoG: the spread over checkpoints of the gradient by the model's input.

Mean and squared deviations of the gradient travel with a batch (Welford 1962) and are reduced to
sums over pixels at its last checkpoint; the moments themselves are kept beside the records where
later checkpoints are to continue them.
"""

from functools import partial

import numpy as np
import pyarrow as pa

from ray_audit.measures.base import (
    DENSE,
    Cuts,
    DatasetQuantity,
    Family,
    Quantity,
    Score,
    score,
    total,
)
from ray_audit.schemas import Direction
from ray_audit.scores.vog import finish_z, group_moments, merge_group_moments

_SOURCE = "Agarwal et al. 2022, arXiv 2008.11600"


def _per_pixel(cuts: Cuts, name: str) -> np.ndarray:
    """Sums divided by the pixels that they are over, NaN where there are none."""
    sums = cuts.summed(cuts.array(name))
    num_px = cuts.summed(cuts.array(_PIXELS[name]))
    unknown = np.full(sums.shape, np.nan)
    means: np.ndarray = np.divide(sums, num_px, out=unknown, where=num_px > 0)
    return means


_PIXELS = {"vog/sum": "vog/num_px", "vog/class_sum": "vog/class_px"}
MOMENTS = ("vog/mean", "vog/m2")
"""Float32 maps (R, ...) that a batch carries from checkpoint to checkpoint."""

QUANTITIES = (
    Quantity(
        "grad_sqnorm", "squared norm of the loss's input gradient", when="window", merge=total
    ),
    *(Quantity(name, "of VoG", when="carried", merge=None, is_stored=False) for name in MOMENTS),
    Quantity("vog/count", "checkpoints in it", when="carried", merge=None, is_stored=False),
    Quantity("vog/sum", "spread, summed over pixels", when="carried", merge=_per_pixel, into="vog"),
    Quantity("vog/num_px", "those pixels", when="carried", merge=None),
    Quantity(
        "vog/class_sum",
        "spread, summed over the pixels of each given class",
        when="carried",
        tasks=DENSE,
        merge=_per_pixel,
        into="vog_by_class",
    ),
    Quantity("vog/class_px", "those pixels", when="carried", tasks=DENSE, merge=None),
)


_of_vog = partial(score, unit="1", source=_SOURCE, family="vog")
_Z_NEEDS = "vog sample.group dataset.vog_moments"


def _vog(target: str, direction: Direction) -> tuple[Score, ...]:
    """Only the spread of the loss's gradient has a direction."""
    what = f"mean over pixels of the spread over checkpoints of the input gradient ({target})"
    within = "vog in standard deviations within its label"
    return (
        _of_vog("vog", np.asarray, what, "vog", direction=direction, target=target),
        _of_vog("vog_z", finish_z, within, _Z_NEEDS, direction=direction, target=target),
    )


SCORES = (
    *_vog("loss", "higher"),
    *_vog("logit", "none"),
    _of_vog(
        "vog_by_class",
        np.asarray,
        "vog over the pixels of each given class, in class order; null where it has none",
        "vog_by_class",
        direction="none",
        type=pa.list_(pa.float64()),
        tasks=DENSE,
    ),
)


def _moments(
    vog: np.ndarray, groups: np.ndarray, scored: np.ndarray
) -> dict[int, tuple[int, float, float]]:
    return group_moments(vog[scored], groups[scored])


DATASET = (
    DatasetQuantity(
        "vog_moments",
        "count, mean and squared deviations of VoG within each label",
        ("score.vog", "sample.group", "sample.scored"),
        _moments,
        merge_group_moments,
        empty={},
    ),
)

FAMILY = Family("From input gradients", QUANTITIES, SCORES, DATASET)
