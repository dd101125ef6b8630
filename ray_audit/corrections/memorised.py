"""Masks whose errors the last checkpoints have learnt: which are wrong, and who still knows.

Late checkpoints say what the given labels say. Those before the onset of memorisation do not, and
their mean is what wrong masks are mended by; the wrong masks themselves are told by their loss over
all checkpoints, which stays higher even where it ends low.
"""

import math
from statistics import median

import numpy as np

from ray_audit.scores.mixture import WrongShare, wrong_share
from ray_audit.tables.run import RunTables

EARLY_CONFIDENCE = 0.5
"""Of the mean of early checkpoints, whose probabilities are of a model that still learns."""
_MAX_LOSSES = 200_000
_WINDOW_BEGINS = 0.6


def is_memorised(tables: RunTables) -> bool:
    """Whether the labels are masks, and those that look wrong were learnt in the end."""
    return tables.task.is_dense and tables.manifest.memorisation.get("verdict") == "early"


def early_checkpoints(tables: RunTables) -> list[dict[str, str]]:
    """The checkpoints around the onset of memorisation: from 6/10 of it up to it.

    The onset is the median of those of the classes; without any, a third of the checkpoints, as if
    memorisation began there.
    """
    checkpoints = tables.manifest.checkpoints
    rows = tables.whole("class_stats").to_pylist()
    onsets = {row["class"]: row["onset_epoch"] for row in rows if row["onset_epoch"] is not None}
    onset = median(onsets.values()) if onsets else math.ceil(len(checkpoints) / 3)
    last = max(1, min(len(checkpoints), math.ceil(onset)))
    return checkpoints[min(last - 1, math.floor(_WINDOW_BEGINS * last)) : last]


def share_of_wrong_masks(tables: RunTables) -> WrongShare:
    """How many masks have losses of their own, from at most 200,000 of them, evenly spaced."""
    num = sum(file.num_rows for file in tables.manifest.tables.get("scores", []))
    step = max(1, num // _MAX_LOSSES)
    taken, offset = [], 0
    for values in tables.score("csl"):
        taken.append(values[(-offset) % step :: step])
        offset += len(values)
    return wrong_share(np.concatenate(taken) if taken else np.empty(0))
