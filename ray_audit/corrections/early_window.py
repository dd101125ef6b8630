"""Which early checkpoints mend memorised masks best: those that promise the largest gain.

When a network has learnt what is right and not yet what is wrong differs from training to training,
and single checkpoints are ragged. What a window of checkpoints would gain can be measured without
right labels: its calibrated mean disagrees with flagged masks because these are wrong or because it
errs, and with the other masks because it errs (see `calibration.ExpectedGain`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ray_audit.corrections.calibration import ExpectedGain, LabelCalibration, calibrate

MAX_CHECKPOINTS = 8
"""Of a window."""
_MAX_FITTED = 20_000


@dataclass(frozen=True)
class LookedAt:
    """Some pixels of flagged masks and of others, as each candidate checkpoint sees them.

    Attributes:
        p: (C, K, N) probabilities by the candidates, in the order of training.
        given: (N,) classes.
        is_flagged: (N,) bool, whether of a flagged mask.
    """

    p: npt.NDArray[np.floating]
    given: npt.NDArray[np.integer]
    is_flagged: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Window:
    """Neighbouring candidates whose mean is taken.

    Attributes:
        first: position of the first.
        stop: position after the last.
        calibration: of the mean, fitted to masks that are not flagged.
        gain: that is expected of it; None where there are only flagged masks, or none.
    """

    first: int
    stop: int
    calibration: LabelCalibration
    gain: ExpectedGain | None


def best_window(looked_at: LookedAt) -> Window:
    """The window of at most `MAX_CHECKPOINTS` around the best single one that promises most.

    Where no gain can be estimated, the second quarter of the candidates.
    """
    num = len(looked_at.p)
    if looked_at.is_flagged.all() or not looked_at.is_flagged.any():
        return _window(looked_at, num // 4, max(num // 4 + 1, num // 2))
    singles = [_window(looked_at, place, place + 1) for place in range(num)]
    best = max(range(num), key=lambda place: _value(singles[place]))
    spans = [
        (first, stop)
        for first in range(max(0, best + 1 - MAX_CHECKPOINTS), best + 1)
        for stop in range(best + 1, min(num, first + MAX_CHECKPOINTS) + 1)
    ]
    return max((_window(looked_at, *span) for span in spans), key=_value)


def _value(window: Window) -> float:
    return -np.inf if window.gain is None else window.gain.value


def _window(looked_at: LookedAt, first: int, stop: int) -> Window:
    p = looked_at.p[first:stop].mean(axis=0, dtype=np.float32)
    flagged, given = looked_at.is_flagged, looked_at.given
    others = np.flatnonzero(~flagged)
    fitted = others[:: -(-len(others) // _MAX_FITTED) or 1]
    calibration = calibrate(p[:, fitted], given[fitted])
    if not flagged.any() or not len(others):
        return Window(first, stop, calibration, None)
    calibrated = calibration.of(p)
    disagrees = calibrated.argmax(axis=0) != given
    gain = ExpectedGain(
        disagree_flagged=float(disagrees[flagged].mean()),
        disagree_others=float(disagrees[others].mean()),
        unsure_flagged=float(np.mean(1 - calibrated[:, flagged].max(axis=0))),
    )
    return Window(first, stop, calibration, gain)
