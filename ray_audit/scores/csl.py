"""Scores of the loss trajectory: one loss per sample and checkpoint, in checkpoint order.

CSL (cumulative sample loss) is the MEAN over checkpoints, so that runs with other numbers of
checkpoints compare; the sum of Ravikumar et al. (ICML 2025) ranks alike. Alwis et al. 2026
(arXiv 2602.15154) use it per video frame. NaN at any checkpoint gives NaN.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def csl(loss: npt.NDArray[np.floating]) -> Floats:
    """Mean loss over all checkpoints, in nats; high is suspicious.

    Args:
        loss: (N, E) loss of N samples at E checkpoints.

    Returns:
        (N,) float64, NaN where E is 0.

    >>> csl(np.array([[3.0, 2.0, 1.0], [0.5, 0.25, 0.0]]))
    array([2.  , 0.25])
    """
    return _over_checkpoints(np.mean, loss, at_least=1)


def final_loss(loss: npt.NDArray[np.floating]) -> Floats:
    """Loss at the last checkpoint, in nats; high is suspicious.

    A model that has memorised wrong labels fits them at the end: compare `csl`.

    Args:
        loss: (N, E).

    Returns:
        (N,) float64, NaN where E is 0.
    """
    return csl(loss[:, -1:])


def early_loss(loss: npt.NDArray[np.floating]) -> Floats:
    """Mean loss over the first ceil(E / 2) checkpoints, in nats; high is suspicious.

    Args:
        loss: (N, E).

    Returns:
        (N,) float64, NaN where E is 0.
    """
    return csl(loss[:, : num_early(loss.shape[1])])


def late_loss(loss: npt.NDArray[np.floating]) -> Floats:
    """Mean loss over the checkpoints after the early half, in nats; high is suspicious.

    Args:
        loss: (N, E).

    Returns:
        (N,) float64, NaN where E < 2.
    """
    return csl(loss[:, num_early(loss.shape[1]) :])


def num_early(num_checkpoints: int) -> int:
    """Checkpoints in the early half: ceil(E / 2)."""
    return -(-num_checkpoints // 2)


def loss_std(loss: npt.NDArray[np.floating]) -> Floats:
    """Population spread of the loss over checkpoints, in nats; its sign is not stable.

    Args:
        loss: (N, E).

    Returns:
        (N,) float64, NaN where E < 2.
    """
    return _over_checkpoints(np.std, loss, at_least=2)


def loss_max(loss: npt.NDArray[np.floating]) -> Floats:
    """Largest loss over checkpoints, in nats; high is suspicious.

    Args:
        loss: (N, E).

    Returns:
        (N,) float64, NaN where E is 0.
    """
    return _over_checkpoints(np.max, loss, at_least=1)


def smooth_over_time(values: npt.NDArray[np.floating], window: int) -> Floats:
    """Centred moving average over frames (equation 7 of Alwis et al. 2026; off by default).

    The window is cut off at both ends rather than padded. It flattens the spikes by which a
    disorder shows, so prefer `segment_mean`.

    Args:
        values: (T,) per frame, in frame order.
        window: odd number of frames; 1 changes nothing.

    Returns:
        (T,) float64.

    Raises:
        ValueError: `window` is even or below 1.

    >>> smooth_over_time(np.array([0.0, 3.0, 0.0, 0.0]), 3)
    array([1.5, 1. , 1. , 0. ])
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"smoothing window is {window} frames; give an odd number of at least 1")
    num_frames, half = len(values), window // 2
    padded = np.pad(np.asarray(values, np.float64), half)
    if not num_frames:
        return padded[:0]
    sums = np.lib.stride_tricks.sliding_window_view(padded, window).sum(axis=1)
    place = np.arange(num_frames)
    first, last = np.maximum(place - half, 0), np.minimum(place + half, num_frames - 1)
    smoothed: Floats = sums / (last - first + 1)
    return smoothed


def segment_rows(ids: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Frames of each segment, in order, from (T,) `segment_ids`."""
    labelled = np.flatnonzero(ids >= 0)
    if not len(labelled):
        return []
    return np.split(labelled, np.flatnonzero(np.diff(ids[labelled])) + 1)


def segment_ids(
    labels: npt.NDArray[np.integer], sequences: npt.NDArray[np.generic] | None = None
) -> npt.NDArray[np.int64]:
    """Number the runs of equal given label.

    A run ends where the next labelled frame has another label or lies in another sequence.
    Unlabelled frames do not end a run: where frames are thinned out or void, nothing says that a
    new segment has begun.

    Args:
        labels: (T,) given class per frame, in frame order; negative where unlabelled.
        sequences: (T,) whatever names the sequence of a frame; by default all are one sequence.

    Returns:
        (T,) int64: from 0 in order, -1 where unlabelled.

    >>> segment_ids(np.array([0, 0, -1, 0, 2, 2, 0]))
    array([ 0,  0, -1,  0,  1,  1,  2])
    """
    labels = np.asarray(labels)
    labelled = labels >= 0
    given = labels[labelled]
    starts = np.ones(len(given), bool)
    starts[1:] = given[1:] != given[:-1]
    if sequences is not None:
        of = np.asarray(sequences)[labelled]
        starts[1:] |= of[1:] != of[:-1]
    ids = np.full(len(labels), -1, np.int64)
    ids[labelled] = np.cumsum(starts) - 1
    return ids


def segment_mean(
    values: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    sequences: npt.NDArray[np.generic] | None = None,
) -> Floats:
    """Mean over the given-label segment of each frame; of CSL this is `csl_segment`.

    A wrong segment is wrong throughout, so its mean is steadier than its frames. Our definition.

    Args:
        values: (T,) per frame, in frame order; NaN where unknown, which stays NaN and is left
            out of the mean.
        labels: (T,) given class, negative where unlabelled (gives NaN).
        sequences: (T,) sequence of each frame, as in `segment_ids`.

    Returns:
        (T,) float64.

    >>> segment_mean(np.array([1.0, 3.0, 5.0]), np.array([4, 4, 1]))
    array([2., 2., 5.])
    """
    values = np.asarray(values, np.float64)
    ids = segment_ids(labels, sequences)
    known = (ids >= 0) & ~np.isnan(values)
    counts = np.bincount(ids[known])
    sums = np.bincount(ids[known], weights=values[known])
    means = np.full(len(values), np.nan)
    means[known] = sums[ids[known]] / counts[ids[known]]
    return means


def _over_checkpoints(
    statistic: Callable[..., npt.NDArray[np.floating]],
    values: npt.NDArray[np.floating],
    at_least: int,
) -> Floats:
    """Apply `statistic` along checkpoints, NaN where there are fewer than `at_least`."""
    if values.ndim != 2:
        raise ValueError(f"trajectories of shape {values.shape}; expected (samples, checkpoints)")
    if values.shape[1] < at_least:
        return np.full(len(values), np.nan)
    return np.asarray(statistic(np.asarray(values, np.float64), axis=1), np.float64)
