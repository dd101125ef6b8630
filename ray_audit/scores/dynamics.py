"""Training dynamics: what the given label's probability, margin and rank do over checkpoints.

Sources: Swayamdipta et al. 2020 (dataset cartography: confidence, variability, correctness),
Pleiss et al. 2020 (AUM), Paul et al. 2021 (EL2N), Toneva et al. 2019 (forgetting). The
inputs are (N, E): N samples, E checkpoints in order. For dense labels they are means over the
labelled pixels of a sample, so `correct` is then a fraction. NaN at any checkpoint gives NaN.
"""

import numpy as np
import numpy.typing as npt

from ray_audit.scores.csl import csl, loss_std

Floats = npt.NDArray[np.float64]


def confidence(p_label: npt.NDArray[np.floating]) -> Floats:
    """Mean probability of the given label, (N, E) to (N,): 0-1, low is suspicious.

    Source: Swayamdipta et al. 2020. NaN where E is 0.
    """
    return csl(p_label)


def variability(p_label: npt.NDArray[np.floating]) -> Floats:
    """Population spread of the given label's probability, (N, E) to (N,): 0-0.5.

    High is "ambiguous", not wrong: its sign flips between models that memorise and models that
    do not. Source: Swayamdipta et al. 2020. NaN where E < 2.
    """
    return loss_std(p_label)


def closeness(p_label: npt.NDArray[np.floating]) -> Floats:
    """Closeness to the decision, confidence * (1 - confidence), (N, E) to (N,): 0-0.25.

    No direction. Source: public code of Swayamdipta et al. 2020. NaN where E is 0.
    """
    mean = confidence(p_label)
    return np.asarray(mean * (1.0 - mean))


def aum(margin: npt.NDArray[np.floating]) -> Floats:
    """Mean over checkpoints of (given label's logit - best other logit), low is suspicious.

    Pleiss et al. 2020 average over training batches; here the margins are those of the saved
    checkpoints in evaluation mode, all of them. (N, E) to (N,); NaN where E is 0.

    >>> aum(np.array([[1.26, 1.15], [-3.20, -4.37]])).round(3)
    array([ 1.205, -3.785])
    """
    return csl(margin)


def prob_margin(margin: npt.NDArray[np.floating]) -> Floats:
    """Mean over checkpoints of (given label's probability - best other one), low is suspicious.

    Range -1 to 1. Our variant of AUM. (N, E) to (N,); NaN where E is 0.
    """
    return csl(margin)


def el2n(norm: npt.NDArray[np.floating]) -> Floats:
    """Mean over checkpoints of ||p - onehot(label)||, high is suspicious.

    Range 0 to sqrt(2). Source: Paul et al. 2021, who average over runs early in training.
    (N, E) to (N,); NaN where E is 0.
    """
    return csl(norm)


def correctness(correct: npt.NDArray[np.generic]) -> Floats:
    """Number of checkpoints that predict the given label, 0 to E; low is suspicious.

    For dense labels the sum of the shares of pixels. (N, E) to (N,); NaN where E is 0.
    Source: Swayamdipta et al. 2020.
    """
    values = np.asarray(correct, np.float64)
    # The sum, not the mean times E, so that counts are whole numbers.
    return values.sum(axis=1) if values.shape[1] else np.full(len(values), np.nan)


def forgetting(correct: npt.NDArray[np.generic]) -> Floats:
    """Number of transitions from right to wrong between consecutive checkpoints.

    No direction: samples never learnt are never forgotten. Toneva et al. 2019 count over
    training steps. Not defined for dense labels.

    Args:
        correct: (N, E), 1 where the given label is predicted, 0 where not.

    Returns:
        (N,) float64, 0 to E // 2; NaN where E < 2.

    >>> forgetting(np.array([[0, 1, 0, 1, 0], [0, 0, 0, 0, 0]]))
    array([2., 0.])
    """
    values = np.asarray(correct, np.float64)
    if values.shape[1] < 2:
        return np.full(len(values), np.nan)
    events: Floats = ((values[:, :-1] >= 0.5) & (values[:, 1:] < 0.5)).sum(axis=1, dtype=np.float64)
    events[np.isnan(values).any(axis=1)] = np.nan
    return events


def learning_time(correct: npt.NDArray[np.generic]) -> Floats:
    """First checkpoint, counted from 1, from which on the given label is always predicted.

    Our definition: the thresholds on gradient norms of Ravikumar et al. 2025 do not separate wrong
    labels. High is suspicious; null where the last checkpoint does not predict the label.

    Args:
        correct: (N, E), 1 where right; a fraction (dense labels) counts as right from 0.5.

    Returns:
        (N,) float64, 1 to E; NaN where never learnt.

    >>> learning_time(np.array([[0, 1, 0, 1, 1], [1, 1, 1, 1, 0]]))
    array([ 4., nan])
    """
    values = np.asarray(correct, np.float64)
    num_checkpoints = values.shape[1]
    from_end = np.cumprod(values[:, ::-1] >= 0.5, axis=1).sum(axis=1)
    first = num_checkpoints - from_end + 1.0
    unknown = np.isnan(values).any(axis=1) | (from_end == 0)
    return np.where(unknown, np.nan, first)
