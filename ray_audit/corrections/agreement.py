"""How flagged masks and the others agree with the checkpoints: a look at some pixels of some."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ray_audit import storage
from ray_audit.corrections.calibration import ExpectedGain, LabelCalibration, calibrate
from ray_audit.corrections.mask_corrections import MaskWork, predicted_of
from ray_audit.corrections.mask_orders import mask_orders
from ray_audit.engine.backends.base import Mapper
from ray_audit.engine.run.predict import Predicted
from ray_audit.samples import IGNORE, Shard, WorkUnit

NUM_IMAGES = 64
"""Of the flagged and of the others, that are looked at."""
_NUM_PX = 1024
"""Of each image or tile: neighbouring pixels tell little more."""

Image = tuple[str, str]
"""Shard and sample."""


@dataclass(frozen=True)
class Agreement:
    """What the look gave.

    Attributes:
        calibration: fitted to the images that are not flagged.
        gain: what writing the calibrated predictions into the flagged ones would give; None where
            there are only flagged ones, or none.
    """

    calibration: LabelCalibration
    gain: ExpectedGain | None


def evenly(images: Iterable[Image], num: int) -> list[Image]:
    """At most `NUM_IMAGES` of `num` images, evenly spaced."""
    step = max(1, -(-num // NUM_IMAGES))
    return [image for index, image in enumerate(images) if index % step == 0]


def agreement(
    mapper: Mapper,
    work: MaskWork,
    shards: Sequence[Shard],
    flagged: Sequence[Image],
    others: Sequence[Image],
) -> Agreement:
    """Look at some images of both groups.

    Args:
        mapper: the engine.
        work: whose first step of checkpoints predicts.
        shards: as listed.
        flagged: those that would change.
        others: those that look right.
    """
    orders = list(mask_orders(shards, (), [*flagged, *others], only_wanted=True))
    units = [(order.unit, order.flagged) for order in orders]
    found = [
        pixels for each in mapper.map(partial(_pixels, work), units, on_gpu=True) for pixels in each
    ]
    names = {name for _, name in flagged}
    of_flagged = _joined([item for item in found if item[0] in names])
    of_others = _joined([item for item in found if item[0] not in names])
    if of_others is None:
        num_classes = len(work.config.dataset.classes)
        return Agreement(calibrate(np.empty((num_classes, 0)), np.empty(0, np.int64)), None)
    calibration = calibrate(*of_others)
    if of_flagged is None:
        return Agreement(calibration, None)
    p_flagged, p_others = (calibration.of(p) for p, _ in (of_flagged, of_others))
    gain = ExpectedGain(
        disagree_flagged=float(np.mean(p_flagged.argmax(axis=0) != of_flagged[1])),
        disagree_others=float(np.mean(p_others.argmax(axis=0) != of_others[1])),
        unsure_flagged=float(np.mean(1 - p_flagged.max(axis=0))),
    )
    return Agreement(calibration, gain)


Pixels = tuple[str, npt.NDArray[np.float32], npt.NDArray[np.integer]]
"""Sample, (K, N) probabilities, (N,) given classes."""


def _pixels(work: MaskWork, order: tuple[WorkUnit, frozenset[str]]) -> list[Pixels]:
    unit, sample_ids = order
    return [_some(several[0]) for several in predicted_of(work, unit, sample_ids)]


def _some(prediction: Predicted) -> Pixels:
    """Pixels of an image or tile, drawn by its name."""
    assert prediction.owned is not None
    y0, x0, y1, x1 = prediction.owned
    given = prediction.targets[y0:y1, x0:x1].ravel()
    labelled = np.flatnonzero(given != IGNORE)
    rng = np.random.default_rng(int(storage.digest(prediction.sample_id)[:8], 16))
    chosen = rng.choice(labelled, min(_NUM_PX, len(labelled)), replace=False)
    p = prediction.p[:, y0:y1, x0:x1].reshape(len(prediction.p), -1)
    return prediction.sample_id, p[:, chosen], given[chosen].astype(np.int64)


def _joined(
    found: Sequence[Pixels],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.integer]] | None:
    if not any(len(given) for *_, given in found):
        return None
    return (
        np.concatenate([p for _, p, _ in found], axis=1),
        np.concatenate([given for *_, given in found]),
    )
