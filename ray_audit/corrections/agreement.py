"""How masks agree with early checkpoints: a look at some pixels of some, then at all of all."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from ray_audit import storage
from ray_audit.corrections.early_window import LookedAt, Window, best_window
from ray_audit.corrections.mask_corrections import MaskWork, predicted_of
from ray_audit.corrections.mask_orders import mask_orders
from ray_audit.engine.backends.base import Mapper
from ray_audit.engine.run.predict import Predicted
from ray_audit.samples import IGNORE, Shard, WorkUnit
from ray_audit.scores.wrong_masks import wrong_masks

NUM_IMAGES = 64
"""Of the flagged and of the others, that are looked at."""
_NUM_PX = 1024
"""Of each image or tile: neighbouring pixels tell little more."""

Image = tuple[str, str]
"""Shard and sample."""


@dataclass(frozen=True)
class Agreement:
    """What the looks gave.

    Attributes:
        work: whose one step and calibration are those of the window that promises most.
        window: of the candidates.
        flagged: images that would change.
        num_looked_at: of these, and of the others.
    """

    work: MaskWork
    window: Window
    flagged: list[Image]
    num_looked_at: tuple[int, int]

    def wrong_of(self, num_images: int) -> tuple[float, float] | None:
        """Shares of all labels that are wrong in flagged images, now and if these change.

        None where the looks say nothing. Images count alike, whatever their size.
        """
        gain, share = self.window.gain, len(self.flagged) / num_images
        return None if gain is None else (share * gain.wrong_before, share * gain.wrong_after)


def agreement(
    mapper: Mapper,
    work: MaskWork,
    shards: Sequence[Shard],
    flagged: Sequence[Image],
    images: Sequence[Image],
    *,
    flag_again: bool,
) -> Agreement:
    """Choose the checkpoints by the flagged images, flag by these checkpoints, and choose again.

    Args:
        mapper: the engine.
        work: of which each step is a candidate, in the order of training.
        shards: as listed.
        flagged: images that look wrong by their losses.
        images: all of them.
        flag_again: whether predictions may say better which images are wrong; else they stay.
    """
    found = _chosen(mapper, work, shards, flagged, images)
    if not flag_again:
        return found
    again = _disagreeing(mapper, found.work, shards, images)
    if not again or set(again) == set(flagged):
        return found
    return _chosen(mapper, work, shards, again, images)


def _chosen(
    mapper: Mapper,
    work: MaskWork,
    shards: Sequence[Shard],
    flagged: Sequence[Image],
    images: Sequence[Image],
) -> Agreement:
    chosen = set(flagged)
    others = [image for image in images if image not in chosen]
    some, some_others = _evenly(flagged), _evenly(others)
    window = best_window(_look(mapper, work, shards, some, some_others))
    uris = [uri for step in work.steps[window.first : window.stop] for uri in step]
    assert work.rule is not None
    rule = replace(work.rule, calibration=window.calibration)
    by_window = replace(work, rule=rule, steps=(tuple(uris),))
    return Agreement(by_window, window, list(flagged), (len(some), len(some_others)))


def _evenly(images: Sequence[Image]) -> list[Image]:
    """At most `NUM_IMAGES`, evenly spaced."""
    return list(images[:: -(-len(images) // NUM_IMAGES) or 1])


Pixels = tuple[str, npt.NDArray[np.float16], npt.NDArray[np.integer]]
"""Sample, (C, K, N) probabilities by the candidates, (N,) given classes."""


def _look(
    mapper: Mapper,
    work: MaskWork,
    shards: Sequence[Shard],
    flagged: Sequence[Image],
    others: Sequence[Image],
) -> LookedAt:
    orders = list(mask_orders(shards, (), [*flagged, *others], only_affected=True))
    units = [(order.unit, order.flagged) for order in orders]
    names = {name for _, name in flagged}
    found = [
        pixels for each in mapper.map(partial(_pixels, work), units, on_gpu=True) for pixels in each
    ]
    if not found:
        num_classes = len(work.config.dataset.classes)
        nothing = np.empty((len(work.steps), num_classes, 0), np.float16)
        return LookedAt(nothing, np.empty(0, np.int64), np.empty(0, bool))
    return LookedAt(
        np.concatenate([p for _, p, _ in found], axis=2),
        np.concatenate([given for *_, given in found]),
        np.concatenate([np.full(len(given), name in names) for name, _, given in found]),
    )


def _pixels(work: MaskWork, order: tuple[WorkUnit, frozenset[str]]) -> list[Pixels]:
    unit, flagged = order
    # One after the other: many models at once need not fit into memory.
    by_candidate = [
        [
            _some(predicted)
            for predicted, *_ in predicted_of(replace(work, steps=(step,)), unit, flagged)
        ]
        for step in work.steps
    ]
    return [
        (of_cut[0][0], np.stack([p for _, p, _ in of_cut]), of_cut[0][2])
        for of_cut in zip(*by_candidate, strict=True)
    ]


def _some(predicted: Predicted) -> Pixels:
    """Pixels of an image or tile by one candidate, (K, N), drawn by its name."""
    given = _owned(predicted, predicted.targets).ravel()
    labelled = np.flatnonzero(given != IGNORE)
    rng = np.random.default_rng(int(storage.digest(predicted.sample_id)[:8], 16))
    chosen = rng.choice(labelled, min(_NUM_PX, len(labelled)), replace=False)
    p = _owned(predicted, predicted.p).reshape(len(predicted.p), -1)[:, chosen]
    return predicted.sample_id, p.astype(np.float16), given[chosen].astype(np.int64)


def _owned(predicted: Predicted, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """What a cut owns of an array whose last axes are height and width."""
    assert predicted.owned is not None
    y0, x0, y1, x1 = predicted.owned
    return array[..., y0:y1, x0:x1]


def _disagreeing(
    mapper: Mapper, work: MaskWork, shards: Sequence[Shard], images: Sequence[Image]
) -> list[Image]:
    """Images in which the calibrated checkpoints see other classes far more than in the rest.

    Those whose shares of such pixels form a group apart, by the same test as their losses.
    """
    orders = mask_orders(shards, (), images, only_affected=True)
    units = [(order.unit, order.flagged) for order in orders]
    counts: dict[Image, np.ndarray] = defaultdict(lambda: np.zeros(2, np.int64))
    for each in mapper.map(partial(_disagreements, work), units, on_gpu=True):
        for image, num_other, num_labelled in each:
            counts[image] += (num_other, num_labelled)
    if not counts:
        return []
    num_other, num_labelled = np.stack(list(counts.values())).T
    # Half a pixel more: of none at all, a logarithm would stand apart from the rest.
    shares = ((num_other + 0.5) / (num_labelled + 1))[:, None]
    apart = wrong_masks(shares, memorised=False).holds(shares)
    return [image for image, is_apart in zip(counts, apart, strict=True) if is_apart]


def _disagreements(
    work: MaskWork, order: tuple[WorkUnit, frozenset[str]]
) -> list[tuple[Image, int, int]]:
    """Of each image or tile: pixels seen as another class, and labelled ones."""
    unit, flagged = order
    return [_disagreement(work, several[0]) for several in predicted_of(work, unit, flagged)]


def _disagreement(work: MaskWork, predicted: Predicted) -> tuple[Image, int, int]:
    assert work.rule is not None
    assert work.rule.calibration is not None
    given = _owned(predicted, predicted.targets)
    seen = work.rule.calibration.of(np.asarray(_owned(predicted, predicted.p), np.float32)).argmax(
        axis=0
    )
    labelled = given != IGNORE
    num_other = np.count_nonzero(labelled & (seen != given))
    return (predicted.shard, predicted.sample_id), int(num_other), int(np.count_nonzero(labelled))
