"""Which masks of a dataset are wrong, from their losses alone.

Early losses tell before anything is memorised; how early differs from training to training, so that
of some windows of first checkpoints the one with the widest gap is taken. A network may first see
all masks as the wrong ones are (all too large, say): then the right ones lose more, and are most;
those wrong lose more later, from a quarter to half of the checkpoints. Where nothing was memorised,
the mean over all checkpoints tells.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ray_audit.scores.mixture import WrongShare, wrong_share

_PARTS = (8, 6, 4, 3)
"""Windows: an eighth to a third of the checkpoints."""
_LATER = (4, 2)
"""From a quarter to half of them."""

_MAX_MASKS = 200_000
"""That are looked at: what they say of two groups, more would not say better."""

Losses = npt.NDArray[np.floating]
"""(N, E) mean loss of each mask at each checkpoint, nats, NaN where it was not passed."""


@dataclass(frozen=True)
class WrongMasks:
    """Which masks have losses of their own.

    Attributes:
        share: how many, and how that was found.
        start: position of the first checkpoint over which losses are averaged.
        stop: position after the last.
        threshold: the highest such loss of a mask that is not among them, in nats: of equal ones
            that would not all fit, none is.
    """

    share: WrongShare
    start: int
    stop: int
    threshold: float

    def loss(self, losses: Losses) -> npt.NDArray[np.float64]:
        """What is held against the threshold, (N,) nats."""
        return _mean_over(losses, self.start, self.stop)

    def holds(self, losses: Losses) -> npt.NDArray[np.bool_]:
        """Which of some masks are among them, (N,) bool."""
        is_above: npt.NDArray[np.bool_] = self.loss(losses) > self.threshold
        return is_above


def wrong_masks(losses: Losses, *, memorised: bool, fraction: float | None = None) -> WrongMasks:
    """The masks whose losses form a group apart.

    Args:
        losses: of all masks, or of some that stand for all.
        memorised: the last checkpoints have learnt the wrong masks: early losses tell them.
        fraction: of the masks, where it is known.

    Returns:
        Of an empty group, where no window tells two groups apart.
    """
    num = losses.shape[1]
    if not memorised:
        return _wrong_by(losses, 0, num, fraction)
    stops = sorted({math.ceil(num / part) for part in _PARTS})
    found = [_wrong_by(losses, 0, stop, fraction) for stop in stops]
    best = max(
        found,
        key=lambda candidate: (candidate.share.fraction > 0, np.nan_to_num(candidate.share.gap)),
    )
    if not best.share.is_majority:
        return best
    start, stop = (num // part for part in _LATER)
    later = _wrong_by(losses, start, max(start + 1, stop), fraction)
    return later if later.share.fraction else best


def sampling_step(num_masks: int) -> int:
    """Of how many masks one is looked at: at most about 200,000 are."""
    return max(1, num_masks // _MAX_MASKS)


def _wrong_by(losses: Losses, start: int, stop: int, fraction: float | None) -> WrongMasks:
    loss = _mean_over(losses, start, stop)
    share = wrong_share(loss)
    known = np.sort(loss[np.isfinite(loss)])[::-1]
    num = round((share.fraction if fraction is None else fraction) * len(known))
    threshold = math.inf if not num else float(known[num]) if num < len(known) else -math.inf
    return WrongMasks(share, start, stop, threshold)


def _mean_over(losses: Losses, start: int, stop: int) -> npt.NDArray[np.float64]:
    """Mean over those of these checkpoints that a mask passed, NaN where it passed none."""
    some = np.asarray(losses[:, start:stop], np.float64)
    num = np.isfinite(some).sum(axis=1)
    total = np.where(np.isfinite(some), some, 0.0).sum(axis=1)
    return np.where(num > 0, total / np.maximum(num, 1), np.nan)
