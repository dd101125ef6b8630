"""Masks whose errors the last checkpoints have learnt: which are wrong, and who still knows.

Late checkpoints say what the given labels say. Those before the onset of memorisation do not, and
their mean is what wrong masks are mended by. The wrong masks themselves are told by their losses
over the first checkpoints; over all of them the mean may say nothing, and late losses are inverted.
"""

import math
from statistics import median

import numpy as np
import numpy.typing as npt

from ray_audit.scores.wrong_masks import WrongMasks, sampling_step, wrong_masks
from ray_audit.tables.run_tables import RunTables
from ray_audit.tables.trajectories import losses_of

EARLY_CONFIDENCE = 0.5
"""Of the mean of early checkpoints: they are less sure than they are right."""
_MAX_CANDIDATES = 24
_WINDOW = (0.2, 0.55)


def is_memorised(tables: RunTables) -> bool:
    """Whether the labels are masks, and those that look wrong were learnt in the end."""
    return tables.task.is_dense and tables.manifest.memorisation.get("verdict") == "early"


def early_checkpoints(tables: RunTables) -> list[dict[str, str]]:
    """The checkpoints before the onset of memorisation: from a fifth to just over half of it.

    The onset is the median of those of the classes; without any, a third of the checkpoints, as if
    memorisation began there.
    """
    checkpoints = tables.manifest.checkpoints
    rows = tables.whole("class_stats").to_pylist()
    onsets = {row["class"]: row["onset_epoch"] for row in rows if row["onset_epoch"] is not None}
    onset = median(onsets.values()) if onsets else math.ceil(len(checkpoints) / 3)
    first, last = (min(len(checkpoints), math.ceil(share * onset)) for share in _WINDOW)
    return checkpoints[max(0, min(first, last) - 1) : max(1, last)]


def candidate_checkpoints(tables: RunTables) -> list[dict[str, str]]:
    """Checkpoints that may know better than memorised masks: the first half, at most 24 of it."""
    checkpoints = tables.manifest.checkpoints
    half = checkpoints[: math.ceil(len(checkpoints) / 2)]
    return half[:: math.ceil(len(half) / _MAX_CANDIDATES)]


def memorised_masks(tables: RunTables, fraction: float | None = None) -> WrongMasks | None:
    """The masks of a run that are wrong and were learnt, by losses of before; None where none were.

    The verdict hangs on the last checkpoint, which wobbles. Where it is `mean`, masks count as
    memorised if early losses part a group from the others, and those over all checkpoints do not.

    Args:
        tables: of the run; at most 200,000 masks are looked at, evenly spaced.
        fraction: of the masks, where it is known.
    """
    verdict = tables.manifest.memorisation.get("verdict")
    if not tables.task.is_dense or verdict not in ("early", "mean"):
        return None
    losses = _sampled_losses(tables)
    by_early = wrong_masks(losses, memorised=True, fraction=fraction)
    if verdict == "early":
        return by_early
    is_forgotten = (
        by_early.share.fraction and not wrong_masks(losses, memorised=False).share.fraction
    )
    return by_early if is_forgotten else None


def masks_apart(tables: RunTables) -> WrongMasks:
    """The masks whose mean losses over all checkpoints form a group apart."""
    return wrong_masks(_sampled_losses(tables), memorised=False)


def _sampled_losses(tables: RunTables) -> npt.NDArray[np.float64]:
    """Of at most 200,000 samples, evenly spaced, (N, E)."""
    num = sum(file.num_rows for file in tables.manifest.tables.get("trajectories", []))
    step = sampling_step(num)
    parts = [
        losses_of(tables.read(file, ["loss"]))[::step] for (file,) in tables.parts("trajectories")
    ]
    return np.concatenate(parts) if parts else np.empty((0, len(tables.manifest.checkpoints)))
