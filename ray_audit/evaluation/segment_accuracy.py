"""Error detection accuracy (EDA) of segments, as EgoPER defines it (Lee et al., CVPR 2024)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ray_audit.errors import SpecificationError

GAMMAS = tuple(gamma / 10 for gamma in range(-20, 21))
"""The sweep of the paper: -2.0 to 2.0 in steps of 0.1."""


@dataclass(frozen=True)
class SegmentAccuracy:
    """EDA over a sweep of thresholds, with what an answer without a look would get.

    Attributes:
        mean: over the sweep; this is what the paper reports.
        best: over the sweep.
        by_gamma: one value a threshold, in the order of the sweep.
        all_normal: of calling every segment right.
        all_error: of calling every segment wrong.
        num_segments: segments with a score.
        num_errors: segments with a wrong frame.
    """

    mean: float
    best: float
    by_gamma: tuple[float, ...]
    all_normal: float
    all_error: float
    num_segments: int
    num_errors: int


def segments_of(sequences: Sequence[str] | np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number the segments of frames in time order: a new one where sequence or label changes.

    Args:
        sequences: (N,) name of each frame's video.
        labels: (N,) given class of each frame.

    Returns:
        (N,) int64, from 0.

    >>> segments_of(["a", "a", "a", "b"], np.array([1, 1, 2, 2])).tolist()
    [0, 0, 1, 2]
    """
    names = np.asarray(sequences)
    if len(names) == 0:
        return np.empty(0, dtype=np.int64)
    changes = (names[1:] != names[:-1]) | (np.asarray(labels)[1:] != np.asarray(labels)[:-1])
    return np.concatenate([[0], np.cumsum(changes)]).astype(np.int64)


def eda(
    suspicion: np.ndarray,
    is_error: np.ndarray,
    segments: np.ndarray,
    *,
    reference: np.ndarray | None = None,
    gammas: Sequence[float] = GAMMAS,
) -> SegmentAccuracy:
    """Share of segments that are rightly called wrong or right, over a sweep of thresholds.

    A segment is wrong if any of its frames is, and is called wrong if any of its frames is
    above mean + gamma * std of `reference`. Unlike the authors' code, the first frame of a
    segment does not count for the one before.

    Args:
        suspicion: (N,) score a frame, higher is more suspicious; NaN is never above.
        is_error: (N,) bool.
        segments: (N,) number of each frame's segment, see `segments_of`.
        reference: scores of frames known to be right; where absent, all of `suspicion` (ours:
            an audit has no clean set to take the threshold from).
        gammas: the sweep.

    Raises:
        SpecificationError: shapes differ, or no frame has a score.
    """
    scores = np.asarray(suspicion, dtype=np.float64)
    _check(scores, is_error, segments)
    basis = scores if reference is None else np.asarray(reference, dtype=np.float64)
    basis = basis[np.isfinite(basis)]
    if len(basis) == 0:
        raise SpecificationError("evaluation: no frame has a score, so there is no threshold")
    mean, std = float(basis.mean()), float(basis.std())
    _, index = np.unique(np.asarray(segments), return_inverse=True)
    num_segments = int(index.max()) + 1
    wrong = np.zeros(num_segments, dtype=bool)
    np.logical_or.at(wrong, index, np.asarray(is_error, dtype=bool))
    highest = np.full(num_segments, -np.inf)
    np.maximum.at(highest, index, np.where(np.isnan(scores), -np.inf, scores))
    by_gamma = [float(((highest > mean + gamma * std) == wrong).mean()) for gamma in gammas]
    return SegmentAccuracy(
        mean=float(np.mean(by_gamma)),
        best=max(by_gamma),
        by_gamma=tuple(by_gamma),
        all_normal=float((~wrong).mean()),
        all_error=float(wrong.mean()),
        num_segments=num_segments,
        num_errors=int(wrong.sum()),
    )


def _check(scores: np.ndarray, is_error: np.ndarray, segments: np.ndarray) -> None:
    shapes = {np.shape(scores), np.shape(is_error), np.shape(segments)}
    if len(shapes) != 1 or scores.ndim != 1 or len(scores) == 0:
        raise SpecificationError(
            f"evaluation: scores {np.shape(scores)}, errors {np.shape(is_error)} and segments "
            f"{np.shape(segments)}; expected three arrays of one length, at least 1"
        )
