"""What share of samples is wrong, from their losses alone.

Losses of rightly and wrongly labelled samples form two groups while a network has not memorised the
wrong ones: a mixture of two normal distributions is fitted to the logarithms of the losses (after
Arazo et al. 2019, arXiv 1904.11238, who fit beta distributions to the losses), and believed only
where the two lie apart.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MIN_GAP = 2.0
"""Least distance of the two means, in pooled standard deviations."""
MIN_BIC_GAIN = 6.0
"""Least gain of two groups over one by the Bayesian information criterion (strong evidence by Kass
and Raftery 1995): two normal distributions can always be laid into one."""
MAX_FRACTION = 0.5
"""What more than half of the samples have in common is the rule, and no error that can be told."""
MIN_SAMPLES = 20
_LEAST_LOSS = 1e-6


@dataclass(frozen=True)
class WrongShare:
    """An estimate of how many samples are wrong.

    Attributes:
        fraction: 0 to 1; 0 where the losses form one group, or more than half the higher one.
        gap: distance of the two groups' means in pooled standard deviations; NaN where unknown.
        reason: how it was found, or why nothing was, a sentence.
        is_majority: whether there are two groups, and more than half of the samples in the higher.
    """

    fraction: float
    gap: float
    reason: str
    is_majority: bool = False


def wrong_share(loss: npt.NDArray[np.floating]) -> WrongShare:
    """Estimate the share of wrong samples from one mean loss of each.

    Args:
        loss: (N,) nats, of epochs before memorisation; NaN does not count.

    Returns:
        The share of samples that are more likely of the group with the higher losses.
    """
    values = np.asarray(loss, np.float64)
    # In their own order: the fit begins at some of them, and that of the samples must not matter.
    known = np.sort(np.log(np.maximum(values[np.isfinite(values)], _LEAST_LOSS)))[:, None]
    if len(known) < MIN_SAMPLES or np.ptp(known) == 0:
        return WrongShare(0.0, float("nan"), f"{len(known)} losses tell no two groups apart")
    # Here: scikit-learn takes a second of every process that imports it, and few fit anything.
    from sklearn.mixture import GaussianMixture

    fitted = GaussianMixture(2, n_init=3, random_state=0).fit(known)
    means, variances = fitted.means_[:, 0], fitted.covariances_[:, 0, 0]
    gap = float(abs(means[1] - means[0]) / np.sqrt(variances.mean()))
    gain = float(GaussianMixture(1, random_state=0).fit(known).bic(known) - fitted.bic(known))
    if gap < MIN_GAP or gain < MIN_BIC_GAIN:
        return WrongShare(
            0.0,
            gap,
            f"losses form one group (gap {gap:.2f}, at least {MIN_GAP:g} is needed; evidence for "
            f"two {gain:.1f}, at least {MIN_BIC_GAIN:g})",
        )
    fraction = float((fitted.predict(known) == means.argmax()).mean())
    if fraction > MAX_FRACTION:
        return WrongShare(
            0.0,
            gap,
            f"{fraction:.1%} of the losses form the higher group: more than can be wrong",
            is_majority=True,
        )
    return WrongShare(
        fraction, gap, f"{fraction:.1%} of the losses form a group apart (gap {gap:.2f})"
    )
