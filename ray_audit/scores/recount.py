"""Second pass of confident learning: what histograms leave open, counted exactly.

After one pass the class thresholds are exact, but the number of issues is known only up to the bins
in which the thresholds fall, and the p(given class) below which elements are flagged only up to
the bins between the two ends of that number. So a second pass over the last checkpoint counts
the issues against the thresholds, and keeps p(given class) of the elements in those few bins. The
cutoff is the n-th smallest value of the whole dataset; it is found in two rounds of counting, by
the upper and by the lower half of its bits, so that nobody holds all values.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ray_audit.scores.confident import ConfidentState, share_above

Values = npt.NDArray[np.float32]

_HALF_BITS = 16


@dataclass(frozen=True)
class Recount:
    """What the second pass must know of the first.

    Attributes:
        thresholds: K class thresholds.
        first_bin: first bin of p(given class) in which the cutoff may lie.
        last_bin: the last such bin.
        num_bins: B.
    """

    thresholds: tuple[float, ...]
    first_bin: int
    last_bin: int
    num_bins: int

    @classmethod
    def of(cls, state: ConfidentState) -> "Recount":
        """Ask for the bins that hold the cutoff, whatever the elements of the threshold bins do."""
        num_bins = len(state.p_label)
        thresholds = state.finish().thresholds
        share = share_above(thresholds[:, None], np.arange(num_bins), num_bins)
        below = np.cumsum(state.p_label)
        ends = [state.off_diagonal[share == 1.0].sum(), state.off_diagonal[share > 0.0].sum()]
        first, last = (min(int(np.searchsorted(below, num)), num_bins - 1) for num in ends)
        return cls(tuple(thresholds.tolist()), first, last, num_bins)


@dataclass(frozen=True)
class Counted:
    """The second pass over one sample.

    Attributes:
        num_issues: elements predicted as another class, at or above its threshold.
        num_below: elements in bins below the first one asked for.
        num_wrong_below: of them those predicted as another class.
        wrong: p(given class) in the bins asked for, of elements predicted as another class.
        right: of the other elements.
    """

    num_issues: int
    num_below: int
    num_wrong_below: int
    wrong: Values
    right: Values


@dataclass(frozen=True)
class ExactCutoff:
    """Which elements are flagged.

    Attributes:
        num_issues: number of mislabelled elements of the dataset.
        p_label: elements with another predicted class and p(given class) below it are flagged;
            infinite where all are.
        tie_fraction: share that is flagged of the elements exactly at it.
    """

    num_issues: int
    p_label: float
    tie_fraction: float

    def num_flagged(self, sample: Counted) -> float:
        """Flagged elements of a sample; a fraction where the cutoff is shared with others."""
        if self.num_issues == 0:
            return 0.0
        below = int(np.count_nonzero(sample.wrong < self.p_label))
        ties = int(np.count_nonzero(sample.wrong == self.p_label))
        return sample.num_wrong_below + below + self.tie_fraction * ties


def merge_tiles(samples: list[Counted]) -> Counted:
    """Tiles of one sample to the sample."""
    return Counted(
        sum(sample.num_issues for sample in samples),
        sum(sample.num_below for sample in samples),
        sum(sample.num_wrong_below for sample in samples),
        np.concatenate([sample.wrong for sample in samples]),
        np.concatenate([sample.right for sample in samples]),
    )


@dataclass(frozen=True)
class UpperHalves:
    """First round: totals, and how many values have each upper half of bits."""

    num_issues: int
    num_below: int
    counts: Counter[int]

    @classmethod
    def of(cls, samples: list[Counted]) -> "UpperHalves":
        """Count some samples."""
        counts: Counter[int] = Counter()
        for sample in samples:
            for values in (sample.wrong, sample.right):
                counts.update(_counted(_bits(values) >> np.uint32(_HALF_BITS)))
        num_issues = sum(sample.num_issues for sample in samples)
        return cls(num_issues, sum(sample.num_below for sample in samples), counts)

    def merge(self, other: "UpperHalves") -> "UpperHalves":
        """Both together."""
        return UpperHalves(
            self.num_issues + other.num_issues,
            self.num_below + other.num_below,
            self.counts + other.counts,
        )

    def place(self) -> tuple[int, int] | None:
        """Upper half of the cutoff and its rank among those, from 1; None where it is no value.

        It is none where nothing or everything kept is flagged.
        """
        rank = self.num_issues - self.num_below
        if self.num_issues == 0 or rank <= 0:
            return None
        return _place(self.counts, rank)


def lower_halves(samples: list[Counted], upper: int) -> Counter[int]:
    """Second round: how many values with the cutoff's upper half have each lower one."""
    counts: Counter[int] = Counter()
    for sample in samples:
        for values in (sample.wrong, sample.right):
            bits = _bits(values)
            inside = bits[bits >> _HALF_BITS == upper]
            counts.update(_counted(inside & np.uint32((1 << _HALF_BITS) - 1)))
    return counts


def cutoff(halves: UpperHalves, lower: Counter[int]) -> ExactCutoff:
    """The cutoff, from both rounds; `lower` is not looked at where the first found no value."""
    found = halves.place()
    if found is None:
        is_all = halves.num_issues > halves.num_below
        return ExactCutoff(halves.num_issues, np.inf if is_all else 0.0, 0.0)
    upper, rank = found
    half, within = _place(lower, rank) or (0, 0)
    bits = np.array([(upper << _HALF_BITS) | half], np.uint32)
    return ExactCutoff(halves.num_issues, float(bits.view(np.float32)[0]), within / lower[half])


def _place(counts: Counter[int], rank: int) -> tuple[int, int] | None:
    """Key that holds the element of a rank (from 1), and its rank there."""
    for key in sorted(counts):
        if rank <= counts[key]:
            return key, rank
        rank -= counts[key]
    return None


def _bits(values: Values) -> npt.NDArray[np.uint32]:
    """Bits of floats of 0 or more: they are in the order of the floats."""
    return np.ascontiguousarray(values, np.float32).view(np.uint32)


def _counted(keys: npt.NDArray[np.unsignedinteger]) -> dict[int, int]:
    unique, counts = np.unique(keys, return_counts=True)
    return dict(zip(unique.tolist(), counts.tolist(), strict=True))
