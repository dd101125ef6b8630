"""How long segments of a class last, robust to wrong ones, from the given labels alone.

A duration is the share of the video's labelled frames, so that thinned frames, slow motion and
frame rates cancel. Counts per class over log bins add up over videos; median and median absolute
deviation come from them, so half of a class's segments may be wrong before they give way.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NUM_BINS = 160
BINS_PER_OCTAVE = 8
"""Bin b holds the shares around 2^(-b / 8), down to one frame in a million."""

FEWEST_SEGMENTS = 4
SMALLEST_SPREAD = 0.2
LARGEST_NLL = 4.0
"""With fewer segments of a class nothing is said of its durations; a spread of logarithms below
this is taken as this; and no duration is more unusual than this, in nats."""

_BIN_WIDTH = np.log(2.0) / BINS_PER_OCTAVE
_SPREAD_OF_MAD = 1.4826  # standard deviation of a normal distribution in its MADs


def duration_bins(num_frames: npt.NDArray[np.integer], total: int | None = None) -> Integers:
    """Bin of each segment's duration.

    Args:
        num_frames: (S,) labelled frames of segments of one video, at least 1 each.
        total: labelled frames of the video; by default those of the segments given.

    Returns:
        (S,) int64, 0 (the whole video) to NUM_BINS - 1.

    >>> duration_bins(np.array([10, 5, 5])).tolist()
    [8, 16, 16]
    """
    num_frames = np.asarray(num_frames, np.int64)
    octaves = np.log2((num_frames.sum() if total is None else total) / num_frames)
    bins: Integers = np.rint(octaves * BINS_PER_OCTAVE).astype(np.int64)
    return np.minimum(bins, NUM_BINS - 1)


def duration_nll(classes: Integers, bins: Integers, counts: Integers) -> Floats:
    """How unusual the durations of segments are for their class; high is suspicious.

    z^2 / 2 with z = (log share - median) / spread, the spread being 1.4826 median absolute
    deviations: the negative log-likelihood of a robust log-normal, up to its constant and capped.

    Args:
        classes: (M,) class of each segment.
        bins: (M,) bin of its duration.
        counts: (K, B) int64 number of segments per class and bin that are known.

    Returns:
        (M,) float64 in nats, 0 to LARGEST_NLL; 0 where fewer than FEWEST_SEGMENTS are known.
    """
    medians, spreads = _robust_normal(counts)
    z = (bins - medians[classes]) * _BIN_WIDTH / spreads[classes]
    nll: Floats = np.minimum(z * z / 2, LARGEST_NLL)
    return np.where(counts.sum(axis=1)[classes] >= FEWEST_SEGMENTS, nll, 0.0)


def _robust_normal(counts: Integers) -> tuple[Floats, Floats]:
    """Median bin (K,) and spread of the log share (K,) of each class, of (K, B) counts."""
    medians = _median_bin(counts)
    distances = np.abs(np.arange(counts.shape[1]) - medians[:, None])
    by_distance = np.zeros_like(counts)
    np.add.at(by_distance, (np.arange(len(counts))[:, None], distances), counts)
    spreads = _SPREAD_OF_MAD * _BIN_WIDTH * _median_bin(by_distance)
    return medians.astype(np.float64), np.maximum(spreads, SMALLEST_SPREAD)


def _median_bin(counts: Integers) -> Integers:
    """Bin (K,) of the lower median of each row of counts."""
    reached = 2 * np.cumsum(counts, axis=1) >= counts.sum(axis=1, keepdims=True)
    bins: Integers = reached.argmax(axis=1)
    return bins
