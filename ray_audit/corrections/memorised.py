"""Masks whose errors the last checkpoints have learnt: which are wrong, and who still knows.

Late checkpoints say what the given labels say. Those before the onset of memorisation do not, and
their mean is what wrong masks are mended by. The wrong masks themselves are told by their losses
over the first checkpoints; over all of them the mean may say nothing, and late losses are inverted.
"""

import math
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ray_audit.scores.mixture import WrongShare, wrong_share
from ray_audit.tables.run_tables import RunTables

EARLY_CONFIDENCE = 0.5
"""Of the mean of early checkpoints: they are less sure than they are right."""
_MAX_LOSSES = 200_000
_WINDOW = (0.2, 0.55)
_PARTS = (8, 6, 4, 3)


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


@dataclass(frozen=True)
class WrongMasks:
    """Which masks have early losses of their own.

    Attributes:
        share: how many, and how that was found.
        num_first: over how many of the first checkpoints losses are averaged.
        threshold: the highest such loss of a mask that is not among them, in nats: of equal ones
            that would not all fit, none is.
    """

    share: WrongShare
    num_first: int
    threshold: float

    def holds(self, trajectories: pa.Table) -> np.ndarray:
        """Which of some samples are among them, (N,) bool."""
        flagged: np.ndarray = (
            _mean_of_first(losses_of(trajectories), self.num_first) > self.threshold
        )
        return flagged


def wrong_masks(tables: RunTables, fraction: float | None = None) -> WrongMasks:
    """Find the masks whose losses over the first checkpoints form a group apart.

    Early losses tell before anything is memorised; how early differs from training to training, so
    that the window (an eighth to a third of the checkpoints) with the widest gap is taken.

    Args:
        tables: of the run; at most 200,000 masks are looked at, evenly spaced.
        fraction: of the masks, where it is known.
    """
    num_checkpoints = len(tables.manifest.checkpoints)
    windows = sorted({math.ceil(num_checkpoints / part) for part in _PARTS})
    sampled = _sampled_losses(tables)
    found = [_wrong_by(_mean_of_first(sampled, first), first, fraction) for first in windows]
    return max(
        found,
        key=lambda candidate: (candidate.share.fraction > 0, np.nan_to_num(candidate.share.gap)),
    )


def masks_apart(tables: RunTables) -> WrongMasks:
    """The masks whose mean losses over all checkpoints form a group apart."""
    num_checkpoints = len(tables.manifest.checkpoints)
    loss = _mean_of_first(_sampled_losses(tables), num_checkpoints)
    return _wrong_by(loss, num_checkpoints, None)


def _sampled_losses(tables: RunTables) -> npt.NDArray[np.float64]:
    """Of at most 200,000 samples, evenly spaced, (N, E)."""
    num = sum(file.num_rows for file in tables.manifest.tables.get("trajectories", []))
    step = max(1, num // _MAX_LOSSES)
    parts = [
        losses_of(tables.read(file, ["loss"]))[::step] for (file,) in tables.parts("trajectories")
    ]
    return np.concatenate(parts) if parts else np.empty((0, len(tables.manifest.checkpoints)))


def _wrong_by(loss: np.ndarray, num_first: int, fraction: float | None) -> WrongMasks:
    share = wrong_share(loss)
    known = np.sort(loss[np.isfinite(loss)])[::-1]
    num = round((share.fraction if fraction is None else fraction) * len(known))
    threshold = math.inf if not num else float(known[num]) if num < len(known) else -math.inf
    return WrongMasks(share, num_first, threshold)


def losses_of(trajectories: pa.Table) -> npt.NDArray[np.float64]:
    """Loss of each sample at each checkpoint, (N, E) nats, NaN where there is none."""
    lists = trajectories["loss"].combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return values.reshape(len(lists), -1) if len(lists) else np.empty((0, 0))


def _mean_of_first(losses: npt.NDArray[np.float64], num_first: int) -> npt.NDArray[np.float64]:
    """Mean over the first checkpoints that a sample passed, NaN where it passed none."""
    first = losses[:, :num_first]
    num = np.isfinite(first).sum(axis=1)
    total = np.where(np.isfinite(first), first, 0.0).sum(axis=1)
    return np.where(num > 0, total / np.maximum(num, 1), np.nan)
