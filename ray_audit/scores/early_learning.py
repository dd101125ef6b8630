"""Onset of memorisation per class (ADELE: Liu et al. 2022, arXiv 2110.03740).

A network learns the clean part of noisy masks first; the IoU of its predictions with the given
masks then rises again, slowly, while it memorises the errors. The onset is where the first rise
has lost more than 90% of its slope. Unlike the released code, the points of the fit lie at the
epochs 1..n themselves, and a fit that says nothing gives no onset, with the reason.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MIN_EPOCHS = 4
MIN_IOU = 0.1
MIN_RISE = 0.1
SLOPE_LOSS = 0.9
_START = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Onset:
    """Onset of memorisation of one class.

    Attributes:
        epoch: first epoch, counted from 1, past the onset; None where there is none.
        reason: why not, or how it was found.
        parameters: a, b, c of f(t) = a (1 - exp(-t^b / c)), or None where nothing was fitted.
    """

    epoch: int | None
    reason: str
    parameters: tuple[float, float, float] | None = None


def iou_from_counts(
    true_positives: npt.NDArray[np.integer],
    predicted: npt.NDArray[np.integer],
    given: npt.NDArray[np.integer],
) -> Floats:
    """IoU of predictions and given labels, tp / (predicted + given - tp); 0-1.

    Args:
        true_positives: elements of a class predicted as it; any shape.
        predicted: elements predicted as it.
        given: elements labelled as it.

    Returns:
        float64 of the same shape, NaN where the class is neither given nor predicted.

    >>> iou_from_counts(np.array([2, 0]), np.array([3, 0]), np.array([3, 0]))
    array([0.5, nan])
    """
    tp = np.asarray(true_positives, np.float64)
    union = np.asarray(predicted, np.float64) + np.asarray(given, np.float64) - tp
    return np.asarray(np.divide(tp, union, out=np.full(tp.shape, np.nan), where=union > 0))


def curve(t: npt.NDArray[np.floating], a: float, b: float, c: float) -> Floats:
    """Exponential saturation f(t) = a (1 - exp(-t^b / c))."""
    return np.asarray(a * (1.0 - np.exp(-(t**b) / c)), np.float64)


def curve_slope(t: npt.NDArray[np.floating], a: float, b: float, c: float) -> Floats:
    """Derivative f'(t) = (a b / c) t^(b - 1) exp(-t^b / c)."""
    return np.asarray(a * b / c * t ** (b - 1.0) * np.exp(-(t**b) / c), np.float64)


def onset_of_curve(a: float, b: float, c: float, num_epochs: int) -> int:
    """First integer epoch t with |f'(1) - f'(t)| / |f'(1)| above 0.9.

    `a` cancels. For b = 1 the onset is 1 + c ln 10, rounded up. A value of `num_epochs` means
    "not before the last epoch".

    >>> [onset_of_curve(0.8, b, c, 100) for b, c in ((1, 3), (1, 1), (0.5, 1), (1, 40))]
    [8, 4, 6, 94]
    """
    t = np.arange(1, num_epochs) + 1e-6
    at_first = curve_slope(np.ones(1), a, b, c)[0]
    if at_first == 0.0:
        return num_epochs
    change = np.abs(at_first - curve_slope(t, a, b, c)) / abs(at_first)
    # As in the released code: a slope that more than doubles is no levelling off.
    change[change > 1.0] = 0.0
    return int(np.count_nonzero(change <= SLOPE_LOSS)) + 1


def fit_onset(iou: npt.NDArray[np.floating]) -> Onset:
    """Fit the IoU of one class over epochs and find the onset of memorisation.

    Later points weigh more (sigma falls geometrically from 1 to 0.1), as in the released code.

    Args:
        iou: (E,) IoU of predictions with the given labels at epochs 1..E; NaN where unknown.

    Returns:
        The onset. `epoch` is None where fewer than 4 epochs are known, where the IoU never
        reached 0.1 (never learnt) or did not rise by 0.1, where the fit failed or did not move
        from its start, and where the slope has not levelled off before the last epoch.
    """
    values = np.asarray(iou, np.float64)
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < MIN_EPOCHS:
        return Onset(None, f"{len(known)} epochs known; a fit needs at least {MIN_EPOCHS}")
    y, t = values[known], np.asarray(known + 1, np.float64)
    if y.max() < MIN_IOU:
        return Onset(None, f"never learnt: largest IoU {y.max():.2f} is below {MIN_IOU}")
    if y.max() - y[0] < MIN_RISE:
        return Onset(None, f"IoU rose by {y.max() - y[0]:.2f}; below {MIN_RISE} no rise is fitted")
    parameters = _fit(t, y)
    if parameters is None:
        return Onset(None, "the fit did not converge or did not move from its start")
    epoch = onset_of_curve(*parameters, num_epochs=len(values))
    if epoch >= len(values):
        return Onset(None, f"still rising at the last epoch ({len(values)})", parameters)
    return Onset(epoch, f"slope below {1 - SLOPE_LOSS:.0%} of the first epoch's", parameters)


def _fit(t: Floats, y: Floats) -> tuple[float, float, float] | None:
    from scipy import optimize  # here: who fits nothing need not wait for it

    try:
        found, _ = optimize.curve_fit(
            curve,
            t,
            y,
            p0=_START,
            sigma=np.geomspace(1.0, 0.1, len(t)),
            absolute_sigma=True,
            method="trf",
            bounds=((0.0, 0.0, 1e-9), (1.0, 1.0, np.inf)),
        )
    except (RuntimeError, ValueError):
        return None
    a, b, c = (float(value) for value in found)
    if not np.isfinite(found).all() or np.allclose(found, _START, atol=1e-6):
        return None
    return a, b, c
