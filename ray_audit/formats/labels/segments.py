"""New labels of frames put into segments: split where they begin, merged where they meet."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ray_audit.errors import LabelError
from ray_audit.formats.label_changes import FrameChange
from ray_audit.samples import IGNORE


@dataclass(frozen=True)
class Segment:
    """A row of a segment table, or a piece of one.

    Attributes:
        row: in the table.
        start: in frames or seconds.
        end: exclusive.
        label: class index, or `IGNORE` where void.
        changed: whether it has a new label, or grew.
    """

    row: int
    start: float
    end: float
    label: int
    changed: bool = False


def resegmented(
    segments: list[Segment],
    change: FrameChange,
    times: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[dict[int, list[dict[str, Any]]], int]:
    """Segments of one video after some frames got new labels.

    Args:
        segments: all of the video, in any order, not overlapping.
        change: the new labels.
        times: when every frame is shown, and its middle, (T,) seconds each; None where segments
            are in frames.

    Returns:
        For each row that differs, the rows that replace it (none where it was merged into
        another) by the cells that differ: `start`, `end`, and `label` as a class index; and how
        many new labels found a segment.

    Raises:
        LabelError: times do not ascend, so that no segment can hold just these frames.
    """
    in_order = sorted(segments, key=lambda segment: segment.start)
    pieces: list[Segment] = []
    num_written = 0
    for segment in in_order:
        frames, cuts = _frames_of(segment, change, times)
        positions, labels = change.at(frames)
        if segment.label == IGNORE or not len(positions):
            pieces.append(segment)
            continue
        num_written += len(positions)
        new = np.full(len(frames), segment.label)
        new[positions] = labels
        pieces += _pieces(segment, new, cuts)
    merged = _merged(pieces)
    originals = {segment.row: segment for segment in segments}
    by_row: dict[int, list[Segment]] = defaultdict(list)
    for piece in merged:
        by_row[piece.row].append(piece)
    replaced = {
        row: [_cells(piece, original, times is None) for piece in by_row[row]]
        for row, original in originals.items()
        if by_row[row] != [original]
    }
    return replaced, num_written


def _frames_of(
    segment: Segment, change: FrameChange, times: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a segment from its first to its last, and where a cut before each would lie."""
    if times is None:
        first, stop = (int(np.ceil(edge - 0.5)) for edge in (segment.start, segment.end))
        frames = np.arange(max(first, 0), stop)
        return frames, frames.astype(np.float64)
    times_s, middles_s = times
    frames = np.flatnonzero((middles_s >= segment.start) & (middles_s < segment.end))
    cuts = times_s[frames]
    if len(change.at(frames)[0]) and (np.diff(frames) != 1).any() | (np.diff(cuts) <= 0).any():
        raise LabelError(
            f"frames of the segment {segment.start:g}-{segment.end:g} s are not in order of time, "
            "so that segments in seconds cannot tell them apart; give the segments in frames"
        )
    return frames, cuts


def _pieces(segment: Segment, labels: np.ndarray, cuts: np.ndarray) -> Iterator[Segment]:
    """The segment cut where the label changes; its own ends stay as they are."""
    at = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    edges = [segment.start, *cuts[at[1:-1]].tolist(), segment.end]
    for index in range(len(at) - 1):
        label = int(labels[at[index]])
        changed = label != segment.label
        yield replace(
            segment, start=edges[index], end=edges[index + 1], label=label, changed=changed
        )


def _merged(pieces: list[Segment]) -> list[Segment]:
    """Pieces in order of time, with a changed one joined to a neighbour of its label."""
    merged: list[Segment] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if (
            last is None
            or (last.label, last.end) != (piece.label, piece.start)
            or not (last.changed or piece.changed)
        ):
            merged.append(piece)
            continue
        kept = piece if last.changed and not piece.changed else last
        merged[-1] = replace(kept, start=last.start, end=piece.end, changed=True)
    return merged


def _cells(piece: Segment, original: Segment, in_frames: bool) -> dict[str, Any]:
    """The cells of a row in which a piece differs from the segment that was there."""
    cells: dict[str, Any] = {}
    for name in ("start", "end"):
        edge = getattr(piece, name)
        if edge != getattr(original, name):
            cells[name] = int(edge) if in_frames and edge == int(edge) else edge
    if piece.label != original.label:
        cells["label"] = piece.label
    return cells
