"""What logits or probabilities say of the given class: float64 definitions.

The probes compute the same on the device in float32, in fewer passes, and are tested against
these. M elements (samples, frames or pixels), K classes.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SMALLEST_PROBABILITY = float(np.finfo(np.float64).tiny)


def log_softmax(logits: npt.NDArray[np.floating]) -> Floats:
    """Logarithms of the class probabilities, (M, K) to (M, K) float64."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    log_p: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p


def cross_entropy(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Floats:
    """Loss of the given class in nats, at least 0; high is suspicious.

    From logits it is finite even where the probability underflows to 0.

    Args:
        logits: (M, K).
        labels: (M,) class indices 0..K-1.

    Returns:
        (M,) float64.

    >>> cross_entropy(np.array([[0.0, 0.0], [0.0, 900.0]]), np.array([1, 0])).round(4)
    array([6.931e-01, 9.000e+02])
    """
    return -_given(log_softmax(logits), labels)


def loss_of_probability(p_label: npt.NDArray[np.floating]) -> Floats:
    """Loss -log p in nats where only probabilities were kept; p is clipped to 2.2e-308 from below.

    So p = 0 gives 708.4, finite and larger than any loss from a positive normal p.

    >>> loss_of_probability(np.array([1.0, 0.5, 0.0])).round(3) + 0.0
    array([0.00000e+00, 6.93000e-01, 7.08396e+02])
    """
    return -np.log(np.maximum(np.asarray(p_label, np.float64), SMALLEST_PROBABILITY))


def margin(values: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Floats:
    """Given class's value minus the best other class's; low is suspicious.

    Of logits it is what AUM averages (Pleiss et al. 2020), of probabilities the range is -1 to 1.

    Args:
        values: (M, K) logits or probabilities.
        labels: (M,) class indices 0..K-1.

    Returns:
        (M,) float64; NaN where K is 1.
    """
    num_rows, num_classes = values.shape
    if num_classes < 2:
        return np.full(num_rows, np.nan)
    others = np.array(values, np.float64)
    given = _given(others, labels)
    others[np.arange(num_rows), labels] = -np.inf
    return np.asarray(given - others.max(axis=1))


def error_norm(p: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Floats:
    """Euclidean norm of p - onehot(label): EL2N of one checkpoint (Paul et al. 2021).

    Args:
        p: (M, K) class probabilities.
        labels: (M,) class indices 0..K-1.

    Returns:
        (M,) float64, 0 to sqrt(2); high is suspicious.
    """
    error = np.array(p, np.float64)
    error[np.arange(len(error)), labels] -= 1.0
    norm: Floats = np.sqrt((error**2).sum(axis=1))
    return norm


def _given(values: Floats, labels: npt.NDArray[np.integer]) -> Floats:
    return np.asarray(values[np.arange(len(values)), labels])
