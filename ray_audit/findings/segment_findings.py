"""Findings of one video or sequence: its rows of the `scores` table to segments worth a look.

`mislabel`: the checkpoints see another class in most of the segment. `disorder`: the segment breaks
the order of the other videos, and another class mends it. `boundary`: the frames at one end
of the segment belong to its neighbour. `missing_segment`: a stretch within the segment, or at an
end beside none of its class, is seen as another class, as where a segment was given the class of
its neighbour. A segment's suspicion is the mean over its frames.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from ray_audit.findings.finding import MAX_EVIDENCE, Finding, Kind, Side
from ray_audit.scores.csl import segment_ids, segment_rows
from ray_audit.scores.order import OrderStatistics
from ray_audit.scores.suggested_order import OrderJudge, SuggestedOrder, suggest_order

FEWEST_SHIFTED = 3
SHIFT_MARGIN = 1.0
"""A boundary must move by this many frames, and the neighbour's probability summed over them must
exceed the given class's by this, before it is a finding. So must a stretch within a segment."""
SHARE_OF_A_SEGMENT = 0.5
"""Without an order a stretch is a segment that is missing only if it has this share of the frames
of the video's median segment: checkpoints that waver for a moment make no finding."""


COLUMNS = (
    "sample_id",
    "shard",
    "frame_index",
    "label",
    "suggested",
    "boundary_frame",
    "p_suggested",
    "confidence",
    "csl",
    "csl_segment",
    "boundary_shift",
    "suspicion",
    "correctness",
    "num_checkpoints",
)
"""Columns of the `scores` table that are read."""
_MEANS = (
    "confidence",
    "csl",
    "csl_segment",
    "boundary_shift",
    "p_suggested",
    "suspicion",
    "correctness",
    "num_checkpoints",
)


@dataclass(frozen=True)
class SegmentContext:
    """What a video's findings need to know of the whole dataset.

    Attributes:
        classes: class names in index order.
        order: statistics of all videos, the one to be judged included; None where the dataset
            has no order to speak of.
        wrong_fraction: estimated share of wrong labels.
        csl_cutoff: `csl_segment` that this share of the frames reaches, in nats: from here on a
            segment is a finding even if its given label was learnt in the end; None: never.
    """

    classes: tuple[str, ...]
    order: OrderStatistics | None = None
    wrong_fraction: float = 0.0
    csl_cutoff: float | None = None


def segment_findings(scores: pa.Table, context: SegmentContext) -> list[Finding]:
    """Findings of ONE shard.

    Args:
        scores: its rows of the `scores` table, in any order, with `COLUMNS`.
        context: of the dataset.

    Returns:
        In time order: one for a segment that is wrong as a whole, else at most one for each of
        its ends, and those of stretches within it.

    Raises:
        ValueError: rows of several shards.
    """
    shards = scores["shard"].unique().to_pylist()
    if len(shards) > 1:
        raise ValueError(f"rows of {len(shards)} shards, {shards[0]!r} first; expected one")
    video = _LabelledVideo(scores.sort_by("frame_index"), context)
    order = video.suggested_order()
    findings = []
    for segment in range(len(video.segments)):
        whole = list(_of_segment(video, segment, order))
        findings += whole or [*_of_boundaries(video, segment), *_of_stretches(video, segment)]
    return findings


class _LabelledVideo:
    """Columns of one shard in frame order, and its segments."""

    def __init__(self, scores: pa.Table, context: SegmentContext) -> None:
        self.context = context
        self.shard: str = scores["shard"][0].as_py() if len(scores) else ""
        self.frames = scores["frame_index"].to_numpy()
        self.labels = _integers(scores, "label")
        self.suggested = _integers(scores, "suggested")
        self.boundary = _integers(scores, "boundary_frame")
        order = context.order
        self.others = None if order is None else order.without(self.labels)
        # Once for all segments: a video may have as many of them as frames.
        self.values = {name: _floats(scores, name) for name in _MEANS}
        self.sample_ids = scores["sample_id"].to_pylist()
        ids = segment_ids(self.labels)
        self.segments = segment_rows(ids)
        self.path = np.array([self.labels[rows[0]] for rows in self.segments], np.int64)
        self.num_frames = np.array([len(rows) for rows in self.segments], np.int64)
        self.judge = None if self.others is None else OrderJudge(self.num_frames, self.others)
        median = float(np.median(self.num_frames)) if self.segments else 0.0
        self.fewest_missing = SHARE_OF_A_SEGMENT * median
        # Where frames are thinned out, those up to the next sampled one belong to the segment.
        step = int(np.diff(self.frames).min(initial=self.frames[-1])) if len(ids) > 1 else 1
        firsts = [int(self.frames[rows[0]]) for rows in self.segments]
        lasts = [int(self.frames[rows[-1]]) for rows in self.segments]
        ends = [min(last + step, after) for last, after in zip(lasts, firsts[1:], strict=False)]
        self.spans = list(zip(firsts, [*ends, *(last + 1 for last in lasts[-1:])], strict=True))

    def suggested_order(self) -> SuggestedOrder | None:
        """Order that the video should have, None where there is none to keep."""
        if self.others is None or not self.segments:
            return None
        return suggest_order(self.path, self.num_frames, self.others)

    def breaks_order(self, segment: int, label: int) -> bool:
        """Whether the video would be more unusual if the segment had this class."""
        return self.judge is not None and self.judge.added(self.path, segment, label) > 0.0

    def misses(self, segment: int, label: int, stretch: slice) -> bool:
        """Whether a stretch of a segment may be one of another class that is missing.

        Where there is an order, the video must not become more unusual by it; without one nothing
        but its length tells it from checkpoints that waver.
        """
        num_frames = int(stretch.stop - stretch.start)
        if self.judge is None:
            return num_frames >= self.fewest_missing
        given = int(self.path[segment])
        parts = [
            (given, stretch.start),
            (label, num_frames),
            (given, int(self.num_frames[segment]) - stretch.stop),
        ]
        classes, frames = zip(*(part for part in parts if part[1]), strict=True)
        return self.judge.added_by_parts(self.path, segment, classes, frames) <= 0.0

    def name(self, label: int) -> str:
        """Class name in quotes, as it is."""
        return f"'{self.context.classes[label]}'"

    def mean(self, column: str, rows: np.ndarray) -> float:
        """Mean over the rows where it is known."""
        values = self.values[column][rows]
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else float("nan")

    def p_of(self, label: int, rows: np.ndarray) -> float:
        """Mean probability of a class, as far as it is the suggestion of the frames."""
        p = self.values["p_suggested"][rows]
        return float(np.where(self.suggested[rows] == label, np.nan_to_num(p), 0.0).mean())

    def evidence(self, rows: np.ndarray) -> tuple[str, ...]:
        """Samples spread over the rows, those with the highest loss first."""
        csl = self.values["csl"]
        parts = np.array_split(rows, min(MAX_EVIDENCE, len(rows)))
        highest = (part[np.nan_to_num(csl[part], nan=-np.inf).argmax()] for part in parts)
        chosen = sorted(highest, key=lambda row: -np.nan_to_num(csl[row], nan=-np.inf))
        return tuple(self.sample_ids[row] for row in chosen)

    def finding(
        self,
        kind: Kind,
        segment: int,
        rows: np.ndarray,
        span: tuple[int, int],
        suggested: int,
        reason: str,
        side: Side | None = None,
        part: str = "",
    ) -> Finding:
        """What all kinds have in common."""
        given, (start, end) = int(self.path[segment]), self.spans[segment]
        return Finding(
            kind=kind,
            shard=self.shard,
            sample_id=self.sample_ids[rows[0]],
            given=self.context.classes[given],
            suggested=self.context.classes[suggested],
            suspicion=self.mean("suspicion", rows),
            reason=f"frames {span[0]}-{span[1] - 1} are given {self.name(given)}, but {reason}",
            anchor=f"{start}-{end}" + (f":{side or part}" if side or part else ""),
            evidence=self.evidence(rows),
            start_frame=span[0],
            end_frame=span[1],
            side=side,
            shift_frames=None if side is None else _shift(span, side),
            loss=self.mean("csl", rows),
            p_given=self.mean("confidence", rows),
            p_suggested=self.p_of(suggested, rows),
        )


def _of_segment(
    video: _LabelledVideo, segment: int, order: SuggestedOrder | None
) -> Iterator[Finding]:
    rows, span, given = video.segments[segment], video.spans[segment], video.path[segment]
    fits = int(given if order is None else order.classes[segment])
    seen, why = _what_is_seen(video, segment)
    speaks = order is not None and fits != given
    if seen is not None:
        if order is not None and speaks:
            why += f"; {_why_disordered(video, segment, order)}"
        elif video.breaks_order(segment, seen):
            why += "; the order of the other videos speaks against it"
        yield video.finding("mislabel", segment, rows, span, seen, why)
    elif order is not None and speaks:
        why = _why_disordered(video, segment, order)
        p_given = video.mean("confidence", rows)
        why += f"; the checkpoints do not object (mean probability {p_given:.2f})"
        yield video.finding("disorder", segment, rows, span, fits, why)


def _what_is_seen(video: _LabelledVideo, segment: int) -> tuple[int | None, str]:
    """Class that the checkpoints speak for in most frames of a segment, and the reason."""
    rows = video.segments[segment]
    known = video.suggested[rows]
    known = known[known >= 0]
    if not len(known):
        return None, ""
    seen = int(np.bincount(known).argmax())
    if 2 * int((known == seen).sum()) <= len(rows):
        return None, ""
    p_given, p_seen = video.mean("confidence", rows), video.p_of(seen, rows)
    if p_seen > p_given:
        num_checkpoints = video.mean("num_checkpoints", rows)
        num_others = num_checkpoints - video.mean("correctness", rows)
        return seen, (
            f"the checkpoints see {video.name(seen)} (mean probability {p_seen:.2f} against "
            f"{p_given:.2f}; {num_others:.1f} of {num_checkpoints:.0f} checkpoints, on average "
            "over the frames, do not predict the given class)"
        )
    csl, cutoff = video.mean("csl_segment", rows), video.context.csl_cutoff
    # A label that was learnt, and that the order speaks for, is not wrong for being hard.
    if cutoff is None or not csl >= cutoff or video.breaks_order(segment, seen):
        return None, ""
    return seen, (
        f"this was learnt late: their mean loss of {csl:.2f} nats is among the highest "
        f"{video.context.wrong_fraction:.1%}, the estimated share of wrong labels; the next best "
        f"class is {video.name(seen)} (mean probability {p_seen:.2f} against {p_given:.2f})"
    )


def _why_disordered(video: _LabelledVideo, segment: int, order: SuggestedOrder) -> str:
    others = video.others
    assert others is not None  # an order is suggested by the others only
    end, path, steps = others.num_classes, video.path.tolist(), []
    for before, after in zip([end, *path], [*path, end], strict=True):
        count = int(others.transitions[before, after])
        left = "the start" if before == end else video.name(before)
        right = "the end" if after == end else video.name(after)
        often = f"{count} time{'s' if count > 1 else ''}" if count else "never"
        steps.append(f"{left} -> {right} occurs {often}")
    return (
        f"in the other videos {steps[segment]} and {steps[segment + 1]}, while "
        f"{video.name(int(order.classes[segment]))} fits their order (the video's negative "
        f"log-likelihood falls from {order.nll_before:.1f} to {order.nll_after:.1f} nats)"
    )


def _of_boundaries(video: _LabelledVideo, segment: int) -> Iterator[Finding]:
    rows, (start, end) = video.segments[segment], video.spans[segment]
    to, frames = video.boundary[rows], video.frames[rows]
    for frame in sorted(set(to[to >= 0].tolist())):
        # The boundary before the segment moves to a frame after these rows, the one after it to
        # the first of them. Both may move to one frame, where nothing is left of the segment.
        sides: tuple[tuple[Side, np.ndarray], ...] = (
            ("start", rows[(to == frame) & (frames < frame)]),
            ("end", rows[(to == frame) & (frames >= frame)]),
        )
        for side, moved in sides:
            neighbour = segment - 1 if side == "start" else segment + 1
            if len(moved) < FEWEST_SHIFTED or not 0 <= neighbour < len(video.path):
                continue
            p_given = video.mean("confidence", moved)
            p_seen = video.mean("boundary_shift", moved)
            if not (p_seen - p_given) * len(moved) > SHIFT_MARGIN:
                continue
            seen = int(video.path[neighbour])
            span = (start, frame) if side == "start" else (frame, end)
            why = (
                f"the checkpoints see {video.name(seen)} from the boundary at frame "
                f"{start if side == 'start' else end} on without a gap (mean probability at least "
                f"{p_seen:.2f} against {p_given:.2f}): the segment's {side} belongs at frame "
                f"{frame}, {abs(_shift(span, side))} frames "
                f"{'later' if side == 'start' else 'earlier'}"
            )
            yield video.finding("boundary", segment, moved, span, seen, why, side)


def _of_stretches(video: _LabelledVideo, segment: int) -> Iterator[Finding]:
    rows, (_, end) = video.segments[segment], video.spans[segment]
    p_given, p_seen = video.values["confidence"][rows], video.values["p_suggested"][rows]
    seen = np.where(p_seen > p_given, video.suggested[rows], -1)
    edges = np.flatnonzero(np.diff(seen, prepend=-2, append=-2)).tolist()
    nums_of_class: Counter[int] = Counter()
    for first, stop in pairwise(edges):
        label, stretch = int(seen[first]), slice(first, stop)
        if label < 0 or stop - first < FEWEST_SHIFTED:
            continue
        if _is_neighbours(video, segment, label, stretch):
            continue
        if not video.misses(segment, label, stretch):
            continue
        if not float((p_seen - p_given)[stretch].sum()) > SHIFT_MARGIN:
            continue
        inside = rows[stretch]
        last = end if stop == len(rows) else int(video.frames[rows[stop]])
        nums_of_class[label] += 1
        why = (
            f"the checkpoints see {video.name(label)} there without a gap (mean probability "
            f"{video.p_of(label, inside):.2f} against {video.mean('confidence', inside):.2f}), in "
            f"{len(inside)} of the segment's {len(rows)} frames: a segment seems to be missing"
            + "; the order of the other videos has it there"
            * (video.judge is not None)
        )
        yield video.finding(
            "missing_segment",
            segment,
            inside,
            (int(video.frames[inside[0]]), last),
            label,
            why,
            part=f"{video.context.classes[label]}:{nums_of_class[label]}",
        )


def _is_neighbours(video: _LabelledVideo, segment: int, label: int, stretch: slice) -> bool:
    """Whether a stretch lies at an end beside a segment of its class, whose boundary it is."""
    before = segment - 1 if stretch.start == 0 else -1
    after = segment + 1 if stretch.stop == video.num_frames[segment] else len(video.path)
    return (before >= 0 and video.path[before] == label) or (
        after < len(video.path) and video.path[after] == label
    )


def _shift(span: tuple[int, int], side: Side) -> int:
    """Frames by which the boundary at one end of a segment moves, below 0 where to the left."""
    return span[1] - span[0] if side == "start" else span[0] - span[1]


def _floats(scores: pa.Table, column: str) -> np.ndarray:
    """A column of numbers, NaN where null."""
    return np.asarray(scores[column].to_numpy(), np.float64)


def _integers(scores: pa.Table, column: str) -> np.ndarray:
    """A column of integers, -1 where null."""
    values: np.ndarray = scores[column].fill_null(-1).to_numpy().astype(np.int64)
    return values
