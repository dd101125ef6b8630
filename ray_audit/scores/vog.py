"""Variance of Gradients (Agarwal, D'souza and Hooker 2022, arXiv 2008.11600), and CSG.

Despite its name VoG is a standard deviation: per input pixel the population standard deviation,
over checkpoints, of the target's gradient (channel mean first), then the mean over pixels. The
definition takes the logit of the given class as target; that measures difficulty and was at or
below chance for wrong labels. The gradient of the loss is the form that detects them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class VogMoments:
    """Running moments of gradient maps over checkpoints (Welford 1962; Chan et al. 1979).

    Attributes:
        count: checkpoints observed.
        mean: mean gradient per pixel, float64, any shape.
        m2: sum of squared deviations from the mean, same shape.
    """

    count: int
    mean: Floats
    m2: Floats

    @classmethod
    def empty(cls, shape: Sequence[int]) -> Self:
        """Moments before the first checkpoint."""
        return cls(0, np.zeros(tuple(shape)), np.zeros(tuple(shape)))

    def observe(self, gradient: npt.NDArray[np.floating]) -> Self:
        """Add one checkpoint's gradient map, channels already averaged."""
        values = np.asarray(gradient, np.float64)
        if values.shape != self.mean.shape:
            raise ValueError(
                f"gradient map of shape {values.shape} for moments of shape {self.mean.shape}; "
                "every checkpoint must see the same pixels"
            )
        count, delta = self.count + 1, values - self.mean
        mean = self.mean + delta / count
        return type(self)(count, mean, self.m2 + delta * (values - mean))

    def merge(self, other: Self) -> Self:
        """Moments of both sets of checkpoints."""
        count = self.count + other.count
        if not count:
            return self
        delta = other.mean - self.mean
        share = other.count / count
        m2 = self.m2 + other.m2 + delta**2 * (self.count * share)
        return type(self)(count, self.mean + delta * share, m2)

    def finish(self) -> Floats:
        """Population standard deviation per pixel; NaN with fewer than 2 checkpoints."""
        if self.count < 2:
            return np.full(self.mean.shape, np.nan)
        return np.asarray(np.sqrt(self.m2 / self.count))


def vog_from_gradients(
    gradients: npt.NDArray[np.floating], channel_axis: int | None = None
) -> Floats:
    """VoG of whole gradient stacks: the definition that the streamed form is tested against.

    Args:
        gradients: (E, N, ...) input gradients of E checkpoints and N samples.
        channel_axis: axis of `gradients` that holds channels and is averaged first; None where
            there is none.

    Returns:
        (N,) float64 in units of target per unit of normalised input; NaN where E < 2 or there
        are no pixels. High is suspicious where the target is the loss; no direction for the logit.

    >>> maps = np.array([[[1, 0], [0, 2]], [[3, 0], [0, 2]], [[5, 0], [0, 5]]])[:, None]
    >>> vog_from_gradients(maps).round(7)
    array([0.7618017])
    """
    values = np.asarray(gradients, np.float64)
    if channel_axis is not None:
        values = values.mean(axis=channel_axis)
    num_checkpoints, num_samples = values.shape[:2]
    maps = values.reshape(num_checkpoints, num_samples, int(np.prod(values.shape[2:])))
    if num_checkpoints < 2 or not maps.shape[2]:
        return np.full(num_samples, np.nan)
    return np.asarray(maps.std(axis=0).mean(axis=1))


def z_within(values: npt.NDArray[np.floating], groups: npt.NDArray[np.integer]) -> Floats:
    """Standardise within groups: (value - group mean) / group's population standard deviation.

    With the given label as group and VoG as value it is the class-normalised VoG of Agarwal et al.

    Args:
        values: (N,); NaN is left out of the moments and stays NaN.
        groups: (N,) integers.

    Returns:
        (N,) float64, same direction as `values`; NaN where a group has fewer than 2 known values
        or they are all equal.

    >>> z_within(np.array([1.0, 3.0, 7.0, 5.0, 5.0]), np.array([0, 0, 1, 2, 2]))
    array([-1.,  1., nan, nan, nan])
    """
    return finish_z(values, groups, group_moments(values, groups))


def group_moments(
    values: npt.NDArray[np.floating], groups: npt.NDArray[np.integer]
) -> dict[int, tuple[int, float, float]]:
    """Count, mean and sum of squared deviations of the known values of each group.

    Partial state of `z_within` over the units of a dataset: merge with `merge_group_moments`.
    """
    values, groups = np.asarray(values, np.float64), np.asarray(groups)
    known = ~np.isnan(values)
    found, place = np.unique(groups[known], return_inverse=True)
    count = np.bincount(place, minlength=len(found))
    mean = np.bincount(place, weights=values[known], minlength=len(found)) / np.maximum(count, 1)
    deviation = values[known] - mean[place]
    m2 = np.bincount(place, weights=deviation**2, minlength=len(found))
    rows = zip(found.tolist(), count.tolist(), mean.tolist(), m2.tolist(), strict=True)
    return {group: (n, mu, squares) for group, n, mu, squares in rows}


def merge_group_moments(
    left: dict[int, tuple[int, float, float]], right: dict[int, tuple[int, float, float]]
) -> dict[int, tuple[int, float, float]]:
    """Moments of both sets of values."""
    merged = dict(left)
    for group, (n_b, mean_b, m2_b) in right.items():
        n_a, mean_a, m2_a = merged.get(group, (0, 0.0, 0.0))
        n, delta = n_a + n_b, mean_b - mean_a
        merged[group] = (n, mean_a + delta * n_b / n, m2_a + m2_b + delta**2 * n_a * n_b / n)
    return merged


def finish_z(
    values: npt.NDArray[np.floating],
    groups: npt.NDArray[np.integer],
    moments: dict[int, tuple[int, float, float]],
) -> Floats:
    """Standardise `values` by the moments of their groups, as `z_within` does."""
    values = np.asarray(values, np.float64)
    z = np.full(len(values), np.nan)
    for group, (count, mean, m2) in moments.items():
        std = np.sqrt(m2 / count)
        # Rounding leaves a tiny spread where all values are equal.
        if count >= 2 and std > 1e-12 * max(abs(mean), std):
            here = np.asarray(groups) == group
            z[here] = (values[here] - mean) / std
    return z


def csg(squared_norm: npt.NDArray[np.floating]) -> Floats:
    """Sum over checkpoints of the squared norm of the loss's input gradient; high is suspicious.

    Source: "Memorization Through the Lens of Sample Gradients", ICLR 2026, over all saved
    checkpoints instead of training steps.

    Args:
        squared_norm: (N, E).

    Returns:
        (N,) float64 at least 0; NaN where E is 0.
    """
    values = np.asarray(squared_norm, np.float64)
    return values.sum(axis=1) if values.shape[1] else np.full(len(values), np.nan)
