"""Findings of whole masks: their losses form a group apart, though no region of them is a finding.

Checkpoints that have memorised wrong masks see them as they were given, so that there is no region
to find; the losses over the first checkpoints still tell which masks these are. A mask is a finding
where a mixture of two normal distributions, laid into the logarithms of all masks' mean losses,
puts it into the higher group, the groups lie apart, and that of the higher losses is the smaller
one (see `scores.mixture`). Of masks without errors the losses form one group: none is a finding.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ray_audit import rle
from ray_audit.findings.finding import Finding
from ray_audit.scores.wrong_masks import WrongMasks
from ray_audit.tables.trajectories import losses_of

COLUMNS = ("shard", "mask_height_px", "mask_width_px", "csl")
"""Columns of the `scores` table that are read, beside those of findings of regions."""

WHOLE = "whole mask"
"""What stands for the given class, of which a mask has several."""


@dataclass(frozen=True)
class WholeMaskContext:
    """What findings of whole masks need of the dataset.

    Attributes:
        wrong: which masks have losses of their own.
        num_checkpoints: of the run.
    """

    wrong: WrongMasks
    num_checkpoints: int


def mask_findings(
    scores: pa.Table, trajectories: pa.Table, found: Collection[str], context: WholeMaskContext
) -> Iterator[Finding]:
    """Findings of the masks of one part, in its order.

    Args:
        scores: rows of the `scores` table, with `COLUMNS` and those of findings of regions.
        trajectories: the same samples' rows of the `trajectories` table, with `loss`.
        found: samples that have a finding of a region.
        context: of the dataset.
    """
    losses = losses_of(trajectories)
    if not len(losses):
        return
    loss, is_wrong = context.wrong.loss(losses), context.wrong.holds(losses)
    for index in np.flatnonzero(is_wrong).tolist():
        row = scores.slice(index, 1).to_pylist()[0]
        if row["sample_id"] not in found and row["mask_height_px"] is not None:
            yield _finding(row, float(loss[index]), context)


def _finding(row: dict[str, Any], loss: float, context: WholeMaskContext) -> Finding:
    height, width = row["mask_height_px"], row["mask_width_px"]
    frame = row["frame_index"]
    return Finding(
        kind="wrong_mask",
        shard=row["shard"],
        sample_id=row["sample_id"],
        given=WHOLE,
        suggested=None,
        suspicion=row["suspicion"] or 0.0,
        reason=_reason(loss, context),
        anchor="",
        evidence=(row["sample_id"],),
        start_frame=frame,
        end_frame=None if frame is None else frame + 1,
        box=(0, 0, width, height),
        mask_rle=rle.encode_runs(np.array([[0, height * width]]), (height, width)),
        mask_size_px=(height, width),
        num_px=height * width,
        loss=row["csl"],
    )


def _reason(loss: float, context: WholeMaskContext) -> str:
    wrong, num = context.wrong, context.num_checkpoints
    over = "all" if wrong.stop == num else f"the first {wrong.stop} of"
    if wrong.start:
        over = f"the {wrong.start + 1}th to {wrong.stop}th of"
    return (
        f"mean loss {loss:.3f} over {over} {num} checkpoints, where that of masks that look right "
        f"is at most {wrong.threshold:.3f}: {wrong.share.reason}; no region of the mask tells more"
    )
