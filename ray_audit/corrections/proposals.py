"""What the checkpoints would write into masks: changed pixels, image by image, tile by tile.

Only changes are held, as runs; tiles and images may come in any order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from ray_audit import rle
from ray_audit.corrections.adele import AdeleRule
from ray_audit.corrections.calibration import LabelCalibration
from ray_audit.corrections.extent import ChangeCounts, Extent
from ray_audit.corrections.intents import WHOLE_MASK, Gate, Intent
from ray_audit.corrections.refurbish import refurbish
from ray_audit.engine.run.predict import Predicted

BACKGROUND = 0
"""Index of the class whose spreading empties a mask, where none is named."""

Pair = tuple[int, int, int]
"""Position of an intent among those of its image, or -1; class before; class after."""

_EVERYWHERE = -1
_NOWHERE = -2


@dataclass(frozen=True)
class MaskRule:
    """How pixels change.

    Attributes:
        kind: `adele`, or averaged predictions for `regions` of findings or for whole `images`.
        gate: of a pixel's probability.
        classes_of_step: for `adele`: the classes that each predictor corrects; else one entry.
        writable: class indices that a label can have.
        background: index of the class whose spreading empties a mask.
        unlearnt: class indices that no checkpoint has learnt: these labels stay.
        calibration: of averaged predictions; None where they are taken as they are.
    """

    kind: Literal["adele", "regions", "images"]
    gate: Gate
    classes_of_step: tuple[tuple[int, ...], ...]
    writable: tuple[int, ...]
    background: int = BACKGROUND
    unlearnt: tuple[int, ...] = ()
    calibration: LabelCalibration | None = None


@dataclass
class PixelTally:
    """Pixels that change from one class to another for one reason."""

    num: int = 0
    sum_p_given: float = 0.0
    sum_p_new: float = 0.0
    num_harmed: float = 0.0


@dataclass
class Proposal:
    """Changes of one image.

    Attributes:
        size: height and width.
        runs: class -> pieces of runs (column-major) that get it.
        tallies: the pixels of each pair of classes.
        extent: how much of the image changes.
    """

    size: tuple[int, int]
    runs: dict[int, list[rle.Runs]] = field(default_factory=dict)
    tallies: dict[Pair, PixelTally] = field(default_factory=dict)
    extent: Extent = field(default_factory=Extent)


def propose(
    tiles: Iterable[tuple[Predicted, ...]],
    intents: Mapping[str, Sequence[Intent]],
    rule: MaskRule,
) -> dict[str, Proposal]:
    """Changes of the images that were looked at, by sample.

    Args:
        tiles: whole images or tiles; of each the probabilities by every predictor of the rule.
        intents: by sample; decided regions are left to the decisions.
        rule: how pixels change.
    """
    found: dict[str, Proposal] = {}
    for several in tiles:
        tile = several[0]
        height, width = tile.targets.shape if tile.placement is None else tile.placement[2:]
        proposal = found.setdefault(tile.sample_id, Proposal((height, width)))
        _add_tile(proposal, several, intents.get(tile.sample_id, ()), rule)
    return found


def _add_tile(
    proposal: Proposal,
    several: tuple[Predicted, ...],
    intents: Sequence[Intent],
    rule: MaskRule,
) -> None:
    tile = several[0]
    assert tile.owned is not None
    y0, x0, y1, x1 = tile.owned
    top, left = (0, 0) if tile.placement is None else tile.placement[:2]
    before = tile.targets[y0:y1, x0:x1]
    window = (top + y0, left + x0, top + y1, left + x1)
    reason = _reasons(window, intents, rule.kind == "regions")
    p_each = [each.p[:, y0:y1, x0:x1] for each in several]
    after, p = _changed(before, p_each, reason != _NOWHERE, rule)
    proposal.extent = proposal.extent.merge(Extent.of(before, after, rule.background))
    changed = after != before
    _count(proposal, before, after, p, np.where(changed, reason, _NOWHERE))
    y, x = np.nonzero(changed)
    position = (x + window[1]) * proposal.size[0] + y + window[0]
    order = np.argsort(position)
    position, new = position[order], after[y, x][order]
    for label in np.unique(new).tolist():
        proposal.runs.setdefault(label, []).append(rle.runs_at(position[new == label]))


def _reasons(
    window: tuple[int, int, int, int], intents: Sequence[Intent], only_regions: bool
) -> npt.NDArray[np.int32]:
    """Which intent may change a pixel: its position, -1 for none in particular, -2 where no."""
    y0, x0, y1, x1 = window
    shape = (y1 - y0, x1 - x0)
    reason = np.full(shape, _NOWHERE if only_regions else _EVERYWHERE, np.int32)
    for position, intent in enumerate(intents):
        if intent.outcome is None and not intent.is_decided:
            region = region_in(intent, window)
            reason[region & (reason == _NOWHERE)] = position
    for intent in intents:
        # A mask that a reviewer holds to be wrong may change; what was decided of regions stands.
        is_open = intent.kind == WHOLE_MASK and intent.outcome == "unmatched"
        if intent.is_decided and intent.mask_rle is not None and not is_open:
            reason[region_in(intent, window)] = _NOWHERE
    return reason


def region_in(intent: Intent, window: tuple[int, int, int, int]) -> npt.NDArray[np.bool_]:
    """Region of a finding within y0, x0, y1, x1 of its image."""
    y0, x0, y1, x1 = window
    assert intent.mask_size_px is not None
    height = intent.mask_size_px[0]
    columns = rle.by_column(rle.decode_runs(str(intent.mask_rle), intent.mask_size_px), height)
    region = np.zeros((y1 - y0, x1 - x0), bool)
    x, start = columns[:, 0] // height - x0, columns[:, 0] % height - y0
    stop = (columns[:, 1] - 1) % height + 1 - y0
    for at in np.flatnonzero((x >= 0) & (x < x1 - x0) & (stop > 0) & (start < y1 - y0)).tolist():
        region[max(0, int(start[at])) : int(stop[at]), int(x[at])] = True
    return region


def _changed(
    before: npt.NDArray[np.integer],
    p_each: list[npt.NDArray[np.floating]],
    where: npt.NDArray[np.bool_],
    rule: MaskRule,
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.floating]]:
    """New labels of a tile, and the probabilities that the last change was made by."""
    gate = rule.gate
    if rule.kind != "adele":
        where = where & ~np.isin(before, rule.unlearnt)
        p = p_each[0] if rule.calibration is None else rule.calibration.of(p_each[0])
        new = refurbish(before, p, gate.confidence, where, gate.memorised).labels
        return np.where(np.isin(new, rule.writable), new, before).astype(before.dtype), p
    adele = AdeleRule(gate.confidence, gate.confidence, background=rule.background)
    after, p_used = before, p_each[0].copy()
    for p, classes in zip(p_each, rule.classes_of_step, strict=True):
        new = adele.correct(after, p, classes)
        new = np.where(where & np.isin(new, rule.writable), new, after).astype(before.dtype)
        p_used[:, new != after] = p[:, new != after]
        after = new
    return after, p_used


def _count(
    proposal: Proposal,
    before: npt.NDArray[np.integer],
    after: npt.NDArray[np.integer],
    p: npt.NDArray[np.floating],
    reason: npt.NDArray[np.int32],
) -> None:
    for position in np.unique(reason[reason != _NOWHERE]).tolist():
        here = reason == position
        old, new, p_here = before[here], after[here], p[:, here]
        pixels = np.arange(len(old))
        p_old, p_new = p_here[old, pixels], p_here[new, pixels]
        counts = ChangeCounts.of(old, new, p_old, p_new, len(p))
        for row, column in np.argwhere(counts.pairs).tolist():
            of_pair = (old == row) & (new == column)
            pair = ChangeCounts.of(
                old[of_pair], new[of_pair], p_old[of_pair], p_new[of_pair], len(p)
            )
            tally = proposal.tallies.setdefault((position, row, column), PixelTally())
            tally.num += pair.num_changed
            tally.sum_p_given += float(p_old[of_pair].sum())
            tally.sum_p_new += float(p_new[of_pair].sum())
            tally.num_harmed += pair.harmed
