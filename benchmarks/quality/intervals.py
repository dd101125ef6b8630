"""How sure a difference between two scores is: a bootstrap over seeds, and samples in each.

Every replicate draws as many seeds as there are, with replacement, and in each of these as many
samples as it has; of frames whole sequences, since errors are segments and frames are alike. AUPRC
of both scores is that of the drawn samples, so that what they share cancels out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NUM_REPLICATES = 1000
LEVEL = 0.95
_CHUNK = 50
"""Replicates at once: a weight for each sample of each."""


@dataclass(frozen=True)
class ScoredRun:
    """Samples of one seed.

    Attributes:
        is_error: (N,) bool.
        group: (N,) int64: samples that are drawn together have the same, from 0 without a gap.
        suspicions: score -> (N,) float64, high is suspicious, NaN where unknown.
    """

    is_error: npt.NDArray[np.bool_]
    group: npt.NDArray[np.int64]
    suspicions: Mapping[str, Floats]


def differences(runs: Sequence[ScoredRun], ours: str, other: str, stream: int = 0) -> Floats:
    """AUPRC of `ours` less that of `other`, mean over runs, in each replicate.

    Args:
        runs: one a seed; each has both scores.
        ours: a score.
        other: what it is held against.
        stream: of random numbers; sets whose replicates are combined have different ones.

    Returns:
        (NUM_REPLICATES,), NaN where a run has drawn no error, or nothing else.
    """
    rng = np.random.default_rng([len(runs), 95, stream])
    chosen = rng.integers(len(runs), size=(NUM_REPLICATES, len(runs)))
    total = np.zeros(NUM_REPLICATES)
    for place in range(len(runs)):
        for index, run in enumerate(runs):
            (where,) = np.nonzero(chosen[:, place] == index)
            for first in range(0, len(where), _CHUNK):
                some = where[first : first + _CHUNK]
                times = _drawn(rng, run.group, len(some))
                total[some] += _auprc(run, ours, times) - _auprc(run, other, times)
    mean: Floats = total / len(runs)
    return mean


def interval(replicates: Floats) -> tuple[float, float]:
    """Lower and upper end of the interval at `LEVEL`; replicates that are NaN are left out."""
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.nanpercentile(replicates, [tail, 100.0 - tail])
    return float(low), float(high)


def _drawn(rng: np.random.Generator, group: npt.NDArray[np.int64], num: int) -> Floats:
    """(num, N) how often each sample is drawn."""
    num_groups = int(group.max()) + 1
    drawn = rng.multinomial(num_groups, np.full(num_groups, 1.0 / num_groups), size=num)
    times: Floats = drawn[:, group].astype(np.float64)
    return times


def _auprc(run: ScoredRun, score: str, times: Floats) -> Floats:
    """(B,) average precision where each sample counts (B, N) times; ties count as one step."""
    known = ~np.isnan(run.suspicions[score])
    values, errors = run.suspicions[score][known], run.is_error[known]
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)
    weight = times[:, known][:, order]
    found = np.cumsum(weight * errors[order], axis=1)[:, last]
    looked_at = np.cumsum(weight, axis=1)[:, last]
    gained = np.diff(found, axis=1, prepend=0.0)
    precision = np.divide(found, looked_at, out=np.zeros(found.shape), where=looked_at > 0)
    total = found[:, -1]
    is_known = (total > 0) & (total < looked_at[:, -1])
    area = (precision * gained).sum(axis=1)
    return np.divide(area, total, out=np.full(len(total), np.nan), where=is_known)
