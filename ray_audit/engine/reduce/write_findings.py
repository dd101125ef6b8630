"""The findings of a run, made from its score tables: one pass to rank them, one to write them."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_audit.engine.backends.base import Mapper
from ray_audit.engine.reduce.kept import Kept
from ray_audit.findings.finding import Finding, findings_table
from ray_audit.findings.image_findings import COLUMNS as IMAGE_COLUMNS
from ray_audit.findings.image_findings import ImageContext, image_findings
from ray_audit.findings.mask_findings import COLUMNS as MASK_COLUMNS
from ray_audit.findings.mask_findings import WholeMaskContext, mask_findings
from ray_audit.findings.region_findings import COLUMNS as REGION_COLUMNS
from ray_audit.findings.region_findings import MaskContext, region_findings
from ray_audit.findings.segment_findings import COLUMNS as SEGMENT_COLUMNS
from ray_audit.findings.segment_findings import SegmentContext, segment_findings
from ray_audit.scores.ranking import RankHistogram
from ray_audit.tables.store import TableFile, read_table, write_table

Part = tuple[TableFile, TableFile | None, TableFile | None]
"""A part of the score table, and those of candidate regions and losses of masks beside it."""

NUM_TOP = 10
_SPAN = ("shard", "start_frame", "end_frame")
_TOP_COLUMNS = (
    "rank",
    "finding_id",
    "kind",
    "shard",
    "sample_id",
    "start_frame",
    "end_frame",
    "given",
    "suggested",
    "suspicion",
    "reason",
)


@dataclass(frozen=True)
class FindingsContext:
    """What the making of findings must know of the whole dataset.

    Attributes:
        run_uri: folder of the run, whose score tables are read.
        metadata: of the tables' files.
        dataset: what a finding of one image, segment or region is held against.
        masks: what a finding of a whole mask is; None where there is none.
    """

    run_uri: str
    metadata: dict[str, str]
    dataset: ImageContext | SegmentContext | MaskContext
    masks: WholeMaskContext | None = None


@dataclass(frozen=True)
class FindingsSummary:
    """What was found, in counts.

    Attributes:
        histogram: of all suspicions less 1.
        by_kind: findings of each kind.
        num_samples: samples that lie in a finding.
    """

    histogram: RankHistogram = field(default_factory=RankHistogram.empty)
    by_kind: Counter[str] = field(default_factory=Counter)
    num_samples: int = 0

    def merge(self, other: Self) -> Self:
        """Both together."""
        return type(self)(
            self.histogram.merge(other.histogram),
            self.by_kind + other.by_kind,
            self.num_samples + other.num_samples,
        )

    def counts(self) -> dict[str, Any]:
        """For the manifest."""
        by_kind = dict(sorted(self.by_kind.items()))
        return {
            "total": self.by_kind.total(),
            "by_kind": by_kind,
            "num_samples": self.num_samples,
        }


@dataclass(frozen=True)
class WrittenFindings:
    """The table of findings, and its first rows for the last screen."""

    files: list[TableFile]
    summary: FindingsSummary
    top: list[dict[str, Any]]


def write_findings(
    mapper: Mapper,
    context: FindingsContext,
    scores: list[TableFile],
    regions: list[TableFile] | None = None,
    trajectories: list[TableFile] | None = None,
) -> WrittenFindings:
    """Make the findings of every part of the score table, rank and write them.

    A rank needs the suspicions of all, and not all findings fit into memory: what does not, or lies
    in another process, is made once more.
    """
    by_part = [
        [None] * len(scores) if optional is None else optional
        for optional in (regions, trajectories)
    ]
    parts: list[tuple[int, Part]] = list(enumerate(zip(scores, *by_part, strict=True)))
    summary, kept = FindingsSummary(), Kept[pa.Table](attrgetter("nbytes"))
    for of_part in mapper.map(partial(_summarise, context, kept), parts):
        summary = summary.merge(of_part)
    files: list[TableFile] = []
    top: list[dict[str, Any]] = []
    for file, rows in mapper.map(partial(_write, context, kept, summary.histogram), parts):
        files.append(file)
        top = sorted([*top, *rows], key=lambda row: (row["rank"], row["finding_id"]))[:NUM_TOP]
    return WrittenFindings(files, summary, top)


def _find(context: FindingsContext, part: Part) -> tuple[pa.Table, list[Finding]]:
    """Rows of the score table that are looked at, and what is found in them."""
    scores, dataset = part[0], context.dataset
    if isinstance(dataset, ImageContext):
        table = read_table(context.run_uri, [scores], list(IMAGE_COLUMNS))
        return table, list(image_findings(table, dataset))
    if isinstance(dataset, MaskContext):
        return _find_in_masks(context, dataset, part)
    table = read_table(context.run_uri, [scores], list(SEGMENT_COLUMNS))
    shards = (table.filter(pc.equal(table["shard"], key)) for key in table["shard"].unique())
    return table, [finding for rows in shards for finding in segment_findings(rows, dataset)]


def _find_in_masks(
    context: FindingsContext, dataset: MaskContext, part: Part
) -> tuple[pa.Table, list[Finding]]:
    """Regions of masks, and masks without one whose losses stand apart."""
    scores, regions, losses = part
    columns = list(dict.fromkeys((*REGION_COLUMNS, *MASK_COLUMNS)))
    table = read_table(context.run_uri, [scores], columns)
    found: list[Finding] = []
    if regions is not None:
        found = region_findings(read_table(context.run_uri, [regions]), table, dataset)
    if losses is not None and context.masks is not None:
        trajectories = read_table(context.run_uri, [losses], ["loss"])
        have_regions = {item.sample_id for item in found}
        found += mask_findings(table, trajectories, have_regions, context.masks)
    return table, found


def _summarise(
    context: FindingsContext, kept: Kept[pa.Table], part: tuple[int, Part]
) -> FindingsSummary:
    number, files = part
    table, findings = _find(context, files)
    found = kept.given(number, lambda: findings_table(findings, context.metadata))
    return FindingsSummary(
        RankHistogram.empty().observe(_below_one(found)),
        Counter(found["kind"].to_pylist()),
        _num_samples(found, table),
    )


def _below_one(found: pa.Table) -> np.ndarray:
    """Suspicion - 1: the histogram's bins are narrow around zero, where the first ranks are."""
    below: np.ndarray = found["suspicion"].to_numpy() - 1.0
    return below


def _num_samples(found: pa.Table, scores: pa.Table) -> int:
    """Rows of the score table that lie in a finding, each once: frames of segments, or images."""
    is_segment = pc.and_(pc.is_valid(found["start_frame"]), pc.is_null(found["mask_rle"]))
    images = found.filter(pc.invert(is_segment))["sample_id"]
    num = int(pc.count_distinct(images).as_py())
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    columns = (found.filter(is_segment)[name].to_pylist() for name in _SPAN)
    for shard, start, end in zip(*columns, strict=True):
        spans[shard].append((start, end))
    for shard, of_shard in spans.items():
        # Not every frame of a span is a sample: some are not labelled, or not taken.
        frames = scores.filter(pc.equal(scores["shard"], shard))["frame_index"].to_numpy()
        inside = [(start <= frames) & (frames < end) for start, end in of_shard]
        num += int(np.logical_or.reduce(inside).sum())
    return num


def _write(
    context: FindingsContext,
    kept: Kept[pa.Table],
    histogram: RankHistogram,
    part: tuple[int, Part],
) -> tuple[TableFile, list[dict[str, Any]]]:
    number, files = part
    found = kept.given(number, lambda: findings_table(_find(context, files)[1], context.metadata))
    ranks = 1 + histogram.num_above(_below_one(found))
    place = found.schema.get_field_index("rank")
    found = found.set_column(place, found.schema.field(place), pa.array(ranks, pa.int64()))
    found = found.sort_by([("rank", "ascending"), ("finding_id", "ascending")])
    file = write_table(context.run_uri, "findings", number, found)
    return file, found.select(_TOP_COLUMNS).slice(0, NUM_TOP).to_pylist()
