"""Candidate regions of masks to findings: what is wrong with a mask, and where.

Each region ends in at most one finding. In this order: regions of two classes that are seen as
each other (`swapped_classes`); a class given at one place and seen beside it
(`shifted_boundary`, moved); most of a component seen as another class (`mislabel`); strips along
an outline (`shifted_boundary`); and what is left: a class that the mask does not have there
(`missing_region`). The thresholds are our definitions.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ray_audit import rle
from ray_audit.findings.finding import Finding
from ray_audit.findings.region_groups import Candidate, Group, sort_out
from ray_audit.findings.region_reasons import reason_of

LEAST_P_SUGGESTED = 0.5
LEAST_GAP = 0.25
_HALF_SIZE_FRACTION = 0.01

COLUMNS = ("sample_id", "frame_index", "suspicion")
"""Columns of the `scores` table that are read."""


@dataclass(frozen=True)
class MaskContext:
    """What findings in masks need of the dataset.

    Attributes:
        classes: names in index order.
        thresholds: (K,) mean probability of each class over the pixels given it, as confident
            learning has it, NaN where unknown; None where nothing is known.
        void_name: how unlabelled pixels are called.
    """

    classes: Sequence[str]
    thresholds: np.ndarray | None = None
    void_name: str = "void"

    def name(self, label: int) -> str:
        """Name of a class index, or of unlabelled pixels."""
        return self.classes[label] if label >= 0 else self.void_name

    def p_needed(self, suggested: int) -> float:
        """Mean probability that a region needs: less for a class that is never sure of itself."""
        known = np.nan if self.thresholds is None else float(self.thresholds[suggested])
        return float(np.fmin(known, LEAST_P_SUGGESTED))


def region_findings(regions: pa.Table, scores: pa.Table, context: MaskContext) -> list[Finding]:
    """Findings of the images of one part, in the order of `regions`.

    A region counts where its mean p(suggested) is at least 0.5, or at least that of the pixels
    given the class where that is less, and at least 0.25 above its mean p(given).

    Args:
        regions: rows of the `regions` table; those of an image stand together.
        scores: rows of the `scores` table, with `COLUMNS`.
        context: names and thresholds.
    """
    images = {row["sample_id"]: row for row in scores.to_pylist()}
    by_image: dict[str, list[Candidate]] = defaultdict(list)
    for row in regions.to_pylist():
        candidate = Candidate.of(row)
        if _is_clear(candidate, context):
            by_image[candidate.sample_id].append(candidate)
    findings = []
    for sample_id, candidates in by_image.items():
        image = images.get(sample_id, {})
        groups = sort_out(candidates)
        anchors = _anchors(groups)
        findings += [
            _finding(group, anchor, image, context)
            for group, anchor in zip(groups, anchors, strict=True)
        ]
    return findings


def _is_clear(candidate: Candidate, context: MaskContext) -> bool:
    enough = candidate.p_suggested >= context.p_needed(candidate.suggested)
    return enough and candidate.p_suggested - candidate.p_given >= LEAST_GAP


def _anchors(groups: list[Group]) -> list[str]:
    """What names each finding within its image, beside kind and given class.

    The component; of several findings of one kind in it, all but the largest by their suggested
    class as well. An outline, and a pair of classes, are named by class.
    """
    anchors = [group.anchor for group in groups]
    taken: set[tuple[str, int, str]] = set()
    for place in sorted(range(len(groups)), key=lambda i: (-groups[i].num_px, i)):
        group = groups[place]
        key = (group.kind, group.given, group.anchor)
        if key in taken:
            anchors[place] = f"{group.anchor} {group.suggested}"
        taken.add(key)
    return anchors


def _finding(group: Group, anchor: str, image: Mapping[str, Any], context: MaskContext) -> Finding:
    first = group.regions[0]
    height, width = first.size
    runs = rle.union([rle.decode_runs(region.mask_rle, region.size) for region in group.regions])
    frame = image.get("frame_index")
    return Finding(
        kind=group.kind,
        shard=first.shard,
        sample_id=first.sample_id,
        given=context.name(group.given),
        suggested=context.name(group.suggested),
        suspicion=region_suspicion(group, image.get("suspicion") or 0.0),
        reason=reason_of(group, context.name),
        anchor=anchor,
        evidence=(first.sample_id,),
        start_frame=frame,
        end_frame=None if frame is None else frame + 1,
        box=rle.box(runs, height),
        mask_rle=rle.encode_runs(runs, (height, width)),
        mask_size_px=(height, width),
        num_px=rle.area(runs),
        loss=group.mean("loss") if group.given >= 0 else None,
        p_given=group.mean("p_given") if group.given >= 0 else None,
        p_suggested=group.mean("p_suggested"),
    )


def region_suspicion(group: Group, image_suspicion: float) -> float:
    """Suspicion of a finding, 0 to 1: rises with the image's, with the gap and with the size.

    s (1 + e) / 2, where s is the image's and e = (p(suggested) - p(given)) f / (f + 0.01), f the
    share of the image. Image scores do not see unlabelled pixels: there s is the mean of the
    image's and p(suggested).
    """
    fraction = group.num_px / (group.regions[0].size[0] * group.regions[0].size[1])
    gap = group.mean("p_suggested") - group.mean("p_given")
    evidence = gap * fraction / (fraction + _HALF_SIZE_FRACTION)
    s = image_suspicion
    if group.given < 0:
        s = (s + group.mean("p_suggested")) / 2
    return min(1.0, max(0.0, s * (1 + evidence) / 2))
