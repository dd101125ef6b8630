"""What every format is made from: findings, and the pictures and videos that they lie in."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Subject = Literal[
    "masks", "images", "videos", "segments", "sequences", "members", "folders", "episodes"
]
"""What findings lie in: masks, images and videos with one label each, segments of videos; and what
no labelling tool opens: feature sequences, images within other files, folders of frames that are
videos, and videos that lie one after another in one file."""

Row = dict[str, Any]
Documents = dict[str, bytes]
"""File name below the export's folder -> content."""

EVIDENCE = (
    *("finding_id", "rank", "kind", "suspicion", "given", "suggested"),
    *("loss", "p_given", "p_suggested", "reason"),
)
"""What goes along with a finding in every format."""


@dataclass(frozen=True)
class Media:
    """A picture or a video that findings lie in; it is pointed at, never copied.

    Attributes:
        key: shard key: its path below the dataset's folder.
        address: as documents write it: where the dataset lies, or below the prefix asked for.
        name: as tools write it that look for files in a folder of their own.
    """

    key: str
    address: str
    name: str


@dataclass(frozen=True)
class VideoFacts:
    """What tools must know of a video.

    Attributes:
        num_frames: frames that the audit knows, in decoding order.
        frames_per_s: on the whole; None where the video has no times.
        size_px: height and width; None where the format does not need it.
        times: when some frames are shown, (frame, seconds) ascending: those next to the edges of
            findings.
    """

    num_frames: int
    frames_per_s: float | None
    size_px: tuple[int, int] | None = None
    times: tuple[tuple[int, float], ...] = ()

    def time_s(self, frame: int) -> float:
        """When a frame is shown, between or beyond those that are known.

        The video has times.
        """
        assert self.frames_per_s
        assert self.times
        (first, first_s), (last, last_s) = self.times[0], self.times[-1]
        if frame < first:
            return first_s - (first - frame) / self.frames_per_s
        if frame > last:
            return last_s + (frame - last) / self.frames_per_s
        at = bisect_left(self.times, (frame,))
        (after, after_s), (before, before_s) = self.times[at], self.times[max(at - 1, 0)]
        if after == frame:
            return after_s
        return before_s + (after_s - before_s) * (frame - before) / (after - before)


@dataclass(frozen=True)
class Content:
    """Findings of a run, chosen and located.

    Attributes:
        run_id: of the run.
        name: of the specification.
        subject: what they lie in.
        classes: names in index order.
        rows: of the `findings` table, first ranks first.
        media: shard key -> where it lies; holds every row's where the format needs it.
        videos: shard key -> facts, where the format needs them.
    """

    run_id: str
    name: str
    subject: Subject
    classes: Sequence[str]
    rows: list[Row]
    media: dict[str, Media]
    videos: dict[str, VideoFacts] = field(default_factory=dict)

    def by_media(self) -> list[tuple[Media, list[Row]]]:
        """Findings of each picture or video, in the order of their first ranks."""
        grouped: dict[str, list[Row]] = {}
        for row in self.rows:
            grouped.setdefault(row["shard"], []).append(row)
        return [(self.media[key], rows) for key, rows in grouped.items()]


@dataclass(frozen=True)
class ExportFormat:
    """A format that findings are written in.

    Attributes:
        make: the documents.
        fits: what findings may lie in.
        needs_media: whether it points at files; rows without one are left out.
        needs_times: whether it needs the frame rates of videos.
        needs_sizes: whether it needs the frame sizes of videos, which are read from them.
    """

    make: Callable[[Content], Documents]
    fits: frozenset[Subject]
    needs_media: bool = True
    needs_times: bool = False
    needs_sizes: bool = False


def evidence(row: Row) -> Row:
    """Its values."""
    return {name: row[name] for name in EVIDENCE}


def label_of(row: Row) -> str:
    """The class that a tool shows: the suggested, or the given where nothing is suggested."""
    label: str = row["given"] if row["suggested"] is None else row["suggested"]
    return label


def labels_of(content: Content) -> list[str]:
    """Every label that documents use: the classes, and how unlabelled pixels are called."""
    used = {label_of(row) for row in content.rows}
    return [*content.classes, *sorted(used - set(content.classes))]
