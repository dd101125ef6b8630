"""How many labels may be wrong at least and at most, by checkpoints that never saw them.

Right labels are contradicted by a checkpoint that errs, wrong ones by one that does not, and the
count alone cannot tell which. Its confidence can: it errs the less the surer it is, while labels
are wrong whatever it thinks of the sample. So the share of contradictions is e + (1 - e) s(x),
with e the share of wrong labels and s(x) the checkpoint's own errors, which fall with the log-odds
x of its largest probability: a logistic curve, since probabilities need not be calibrated. What is
left at high confidence is e. Our definition.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_LOWEST, _HIGHEST, _WIDTH = -6.0, 17.0, 0.25
NUM_BINS = round((_HIGHEST - _LOWEST) / _WIDTH)
_LOG_ODDS = _LOWEST + _WIDTH * (np.arange(NUM_BINS) + 0.5)
_SHARES = np.concatenate([[0.0], np.geomspace(1e-4, 0.02, 40), np.linspace(0.02, 0.8, 157)[1:]])
_SLOPES, _OFFSETS = np.geomspace(0.1, 10.0, 31), np.linspace(-2.5, 2.5, 17)
# Of curves that the data hardly tell apart, those nearer to a calibrated one are likelier: else an
# error that does not fall with confidence could stand for any share of wrong labels.
_LOG_PRIOR = -0.5 * (np.log(_SLOPES)[:, None] ** 2 + _OFFSETS**2).reshape(-1)
_SUREST = 0.1
_CHI_SQUARE_99 = 6.634896601021213  # the curve is only nearly that of a real model


@dataclass(frozen=True)
class Contradictions:
    """Samples by the confidence of a checkpoint, and whether it contradicts the label.

    Attributes:
        counts: (2, B) int64: samples whose label it predicts, and whose label it does not, in each
            bin of the log-odds of its largest probability.
        num_squared: sum of squared sizes of groups of samples that are right or wrong together
            (frames of a segment); the number of samples where each stands for itself.
    """

    counts: Integers
    num_squared: int

    @classmethod
    def empty(cls) -> Self:
        """Of no samples."""
        return cls(np.zeros((2, NUM_BINS), np.int64), 0)

    @classmethod
    def observe(
        cls,
        p_label: npt.NDArray[np.floating],
        p_other: npt.NDArray[np.floating],
        num_squared: int | None = None,
    ) -> Self:
        """Of (N,) probabilities of the given class and of the best other one."""
        p = np.clip(np.maximum(p_label, p_other), 1e-9, 1.0 - 1e-7).astype(np.float64)
        bins = ((np.log(p) - np.log1p(-p) - _LOWEST) / _WIDTH).astype(np.int64)
        is_other = (p_other > p_label).astype(np.int64)
        places = is_other * NUM_BINS + np.clip(bins, 0, NUM_BINS - 1)
        counts = np.bincount(places, minlength=2 * NUM_BINS).reshape(2, NUM_BINS)
        return cls(counts, len(p) if num_squared is None else num_squared)

    def merge(self, other: Self) -> Self:
        """Of both parts."""
        return type(self)(self.counts + other.counts, self.num_squared + other.num_squared)

    @property
    def design_effect(self) -> float:
        """Samples that count as one: 1 where each stands for itself."""
        return max(self.num_squared / max(int(self.counts.sum()), 1), 1.0)

    def surest_share(self) -> float:
        """Share of contradictions among the surest tenth, by Laplace's rule: never 0 or 1."""
        num = self.counts.sum(axis=0)[::-1]
        total = max(int(num.sum()), 1)
        above = np.cumsum(num) - num
        part = np.clip((_SUREST * total - above) / np.maximum(num, 1), 0.0, 1.0)
        contradicted = float(part @ self.counts[1][::-1]) / self.design_effect
        return (contradicted + 1.0) / (_SUREST * total / self.design_effect + 2.0)

    def least_share(self) -> float:
        """Least share of wrong labels that is likely, by profile likelihood (99%)."""
        num = self.counts.sum(axis=0)
        seen = np.flatnonzero(num)
        if not seen.size:
            return 0.0
        odds = _SLOPES[:, None, None] * _LOG_ODDS[seen] + _OFFSETS[:, None]
        errors = 1.0 / (1.0 + np.exp(np.clip(odds, -50, 50))).reshape(-1, len(seen))
        agree, contradict = self.counts[:, seen]
        profile = np.empty(len(_SHARES))
        for place, share in enumerate(_SHARES):
            p = np.clip(share + (1.0 - share) * errors, 1e-12, 1.0 - 1e-12)
            likely = np.log(p) @ contradict + np.log1p(-p) @ agree
            profile[place] = (likely / self.design_effect + _LOG_PRIOR).max()
        drop = 2.0 * (profile.max() - profile)
        return float(_SHARES[drop <= _CHI_SQUARE_99].min())
