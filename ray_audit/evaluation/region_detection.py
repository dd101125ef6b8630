"""How well regions that are called wrong meet those that are, component by component.

Both sides are connected components: of the wrong pixels of a mask, and of the pixels of a finding.
A proposal finds a component of its image that it overlaps by `LEAST_IOU`, each component is found
once, and whatever finds none is a false alarm (Rottmann and Reese 2022, arXiv 2207.06104, match the
components of label errors likewise).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ray_audit import rle
from ray_audit.evaluation.detection import ALL_KINDS
from ray_audit.scores.components import connected_components
from ray_audit.scores.segmentation import smallest_region_px

LEAST_IOU = 0.25
SIZES = (("small", 0.0), ("medium", 0.005), ("large", 0.05))
"""Name and smallest share of the image of each size of component."""

_PLANTED = ("sample_id", "kind", "mask_rle", "mask_size_px")
"""Columns of a table of planted regions that are read."""
Match = tuple[int | None, float]
_NAN = float("nan")


@dataclass(frozen=True)
class PlantedRegion:
    """A component of wrong pixels of one mask.

    Attributes:
        sample_id: the image.
        kind: of the error.
        size: height and width of the image.
        runs: its pixels.
    """

    sample_id: str
    kind: str
    size: rle.Size
    runs: rle.Runs

    @property
    def size_name(self) -> str:
        """One of `SIZES`."""
        share = rle.area(self.runs) / (self.size[0] * self.size[1])
        return [name for name, least in SIZES if share >= least][-1]


@dataclass(frozen=True)
class ProposedRegion:
    """A component that somebody calls wrong.

    Attributes:
        sample_id: the image.
        suspicion: higher is more suspicious.
        runs: its pixels.
    """

    sample_id: str
    suspicion: float
    runs: rle.Runs


@dataclass(frozen=True)
class RegionDetection:
    """How well the components of one kind, or of one size, were found.

    Attributes:
        kind: of the errors; `all` for all of them.
        size: `small`, `medium` or `large`; `all` for all of them.
        num_errors: components that are wrong.
        num_proposals: components that were called wrong, without those that found one of another
            kind or size.
        num_found: wrong components that were found, whatever the rank.
        average_precision: area under precision over recall, 0-1; NaN without errors.
        precision: share of right ones among the `num_errors` most suspicious proposals; NaN
            where there are no such proposals.
        recall: share of the errors that these find; NaN without errors.
        f1: harmonic mean of both: 0 where nothing was found, NaN without errors.
    """

    kind: str
    size: str
    num_errors: int
    num_proposals: int
    num_found: int
    average_precision: float
    precision: float
    recall: float
    f1: float


def evaluate_regions(
    proposals: Sequence[ProposedRegion],
    planted: Sequence[PlantedRegion],
    least_iou: float = LEAST_IOU,
) -> list[RegionDetection]:
    """Match proposals with components, the most suspicious first, and measure.

    Of proposals that tie, those that overlap most are matched first, and all count at once: the
    order in which they are given changes nothing.

    Returns:
        Over all errors, then each kind, then each size that occurs.
    """
    matches = _matched(proposals, planted, least_iou)
    kinds = sorted({region.kind for region in planted})
    sizes = [name for name, _ in SIZES if any(region.size_name == name for region in planted)]
    groups = [(ALL_KINDS, ALL_KINDS), *((kind, ALL_KINDS) for kind in kinds)]
    groups += [(ALL_KINDS, size) for size in sizes]
    return [_measured(matches, planted, kind, size) for kind, size in groups]


def _matched(
    proposals: Sequence[ProposedRegion], planted: Sequence[PlantedRegion], least_iou: float
) -> list[Match]:
    """For each proposal, the most suspicious first: the component it finds, and its suspicion."""
    of_image: dict[str, list[int]] = defaultdict(list)
    for place, region in enumerate(planted):
        of_image[region.sample_id].append(place)
    free = set(range(len(planted)))
    ranked = sorted(proposals, key=lambda proposal: -proposal.suspicion)
    matches: list[Match] = []
    for suspicion, tied in groupby(ranked, key=lambda proposal: proposal.suspicion):
        group = list(tied)
        found: dict[int, int] = {}
        overlaps = [
            (rle.iou(proposal.runs, planted[place].runs), place, number)
            for number, proposal in enumerate(group)
            for place in of_image[proposal.sample_id]
            if place in free
        ]
        for overlap, place, number in sorted(
            overlaps, key=lambda overlap: (-overlap[0], overlap[1])
        ):
            if overlap >= least_iou and place in free and number not in found:
                found[number] = place
                free.discard(place)
        matches += [(found.get(number), suspicion) for number in range(len(group))]
    return matches


def _measured(
    matches: list[Match], planted: Sequence[PlantedRegion], kind: str, size: str
) -> RegionDetection:
    targets = {
        place
        for place, region in enumerate(planted)
        if kind in (ALL_KINDS, region.kind) and size in (ALL_KINDS, region.size_name)
    }
    # What found another kind of error is no false alarm.
    counted = [(place, score) for place, score in matches if place is None or place in targets]
    is_right = np.array([place is not None for place, _ in counted], bool)
    scores = np.array([score for _, score in counted], np.float64)
    num_errors = len(targets)
    right_at, num_at = _at_number(is_right, scores, num_errors)
    shown = num_errors + num_at
    return RegionDetection(
        kind,
        size,
        num_errors,
        len(counted),
        int(is_right.sum()),
        average_precision(is_right, scores, num_errors),
        right_at / num_at if num_at else _NAN,
        right_at / num_errors if num_errors else _NAN,
        2 * right_at / shown if shown else _NAN,
    )


def _at_number(
    is_right: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], number: int
) -> tuple[float, int]:
    """Right ones among the first `number`, ties by their mean, and how many these are."""
    num = min(number, len(scores))
    if not num:
        return 0.0, 0
    cut = np.sort(scores)[-num]
    above, tied = scores > cut, scores == cut
    right = is_right[above].sum() + (num - above.sum()) * is_right[tied].mean()
    return float(right), num


def average_precision(
    is_right: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], num_errors: int
) -> float:
    """Sum of precision times the step of recall, over distinct scores; NaN without errors.

    Args:
        is_right: (N,) whether a proposal finds an error.
        scores: (N,), higher is more suspicious.
        num_errors: that there are, found or not.

    >>> round(average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]), 4), 4)
    0.4167
    """
    if not num_errors:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(is_right[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)[: len(order)])
    recall = right[last] / num_errors
    precision = right[last] / (last + 1)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def components_of(mask: npt.NDArray[np.bool_]) -> Iterator[rle.Runs]:
    """4-connected components of a mask (H, W), as runs; the smallest ones are left out."""
    numbers = connected_components(np.where(mask, 0, -1))
    least = smallest_region_px(mask.size)
    for number in range(numbers.max(initial=-1) + 1):
        runs = rle.runs_of(numbers == number)
        if rle.area(runs) >= least:
            yield runs


def proposals_of(findings: pa.Table) -> list[ProposedRegion]:
    """Components of the rows that have a mask.

    Args:
        findings: rows of the `findings` or the `areas` table with `sample_id`, `suspicion`,
            `mask_rle` and `mask_size_px`.
    """
    proposals = []
    for row in findings.to_pylist():
        if row["mask_rle"] is None:
            continue
        height, width = row["mask_size_px"]
        mask = rle.decode(row["mask_rle"], (height, width))
        proposals += [
            ProposedRegion(row["sample_id"], row["suspicion"], runs) for runs in components_of(mask)
        ]
    return proposals


def planted_of(truth: pa.Table) -> list[PlantedRegion]:
    """Components of a table of planted regions, as `inject` writes it.

    Raises:
        ValueError: a column is missing, or a row holds no mask.
    """
    missing = [name for name in _PLANTED if name not in truth.column_names]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}")
    return [_planted(number, row) for number, row in enumerate(truth.to_pylist(), start=1)]


def _planted(number: int, row: dict[str, Any]) -> PlantedRegion:
    match row["sample_id"], row["mask_rle"], row["mask_size_px"]:
        case str(sample_id), str(counts), [int(height), int(width)] if min(height, width) > 0:
            try:
                runs = rle.decode_runs(counts, (height, width))
            except ValueError as error:
                raise ValueError(f"row {number}: {error}") from error
            return PlantedRegion(sample_id, row["kind"] or "", (height, width), runs)
    raise ValueError(f"row {number} has no sample_id, mask_rle and mask_size_px of two numbers")


def planted_regions_uri(truth_uri: str) -> str:
    """File of the planted regions that belong to a truth file.

    >>> planted_regions_uri("s3://bucket/noisy/truth.parquet")
    's3://bucket/noisy/truth_regions.parquet'
    """
    folder, slash, name = truth_uri.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}_regions.parquet"
