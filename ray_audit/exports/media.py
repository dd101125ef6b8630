"""Where pictures and videos lie, and what tools must know of a video."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_audit.config import DatasetConfig
from ray_audit.exports.content import Media, Row, VideoFacts
from ray_audit.formats.show import frame_size
from ray_audit.formats.video.orientation import Orientation
from ray_audit.samples import Shard
from ray_audit.sources.data_files import list_files
from ray_audit.sources.episodes import with_episodes
from ray_audit.tables.run_tables import RunTables

_ARRAY = re.compile(r"^(.*?\.(?:npz|h5|hdf5|hdf|mat))#", re.IGNORECASE | re.DOTALL)


def listed(dataset: DatasetConfig) -> dict[str, Shard]:
    """The files of a dataset by key: folders of frames, members of archives and series too.

    Raises:
        SpecificationError, LabelError: the dataset is none any more, or its episodes are not.
        StorageError: it cannot be listed.
    """
    shards, _ = with_episodes(list_files(dataset, list), dataset)
    return {shard.key: shard for shard in shards}


def file_key(shard: str) -> str:
    """Key of the file that holds a shard: of an npz file, several arrays are shards.

    >>> file_key("a/s.npz#left"), file_key("v#1.mp4")
    ('a/s.npz', 'v#1.mp4')
    """
    found = _ARRAY.match(shard)
    return found[1] if found else shard


def below(prefix: str, key: str) -> str:
    """A key below a prefix; percent-encoded where the prefix is a web address.

    >>> below("/mnt/v", "a b.mp4"), below("/data/local-files/?d=v/", "a b.mp4")
    ('/mnt/v/a b.mp4', '/data/local-files/?d=v/a%20b.mp4')
    """
    is_web = prefix.lower().startswith(("http://", "https://")) or "?" in prefix
    joined = prefix if prefix.endswith(("/", "=")) else f"{prefix}/"
    return joined + (quote(key, safe="/") if is_web else key)


def media_at(shards: Iterable[str], files: dict[str, Shard]) -> dict[str, Media]:
    """Media of the shards whose file is in the dataset."""
    found = {shard: files.get(file_key(shard)) for shard in shards}
    return {
        shard: Media(shard, item.uri, file_key(shard))
        for shard, item in found.items()
        if item is not None
    }


def media_below(shards: Iterable[str], prefix: str) -> dict[str, Media]:
    """Media of shards where a prefix says where they lie; nothing is looked up."""
    addresses = {shard: below(prefix, file_key(shard)) for shard in shards}
    return {shard: Media(shard, address, address) for shard, address in addresses.items()}


def video_facts(
    tables: RunTables, shards: Collection[str], findings: Iterable[Row]
) -> dict[str, VideoFacts]:
    """Frames and times of videos, from the run's tables alone.

    Args:
        tables: of the run.
        shards: the videos.
        findings: segments; the times about their edges are kept.
    """
    edges: dict[str, set[int]] = defaultdict(set)
    for row in findings:
        edges[row["shard"]] |= {row["start_frame"], row["end_frame"] - 1, row["end_frame"]}
    near = {shard: _Near(sorted(frames)) for shard, frames in edges.items()}
    ends: dict[str, int] = defaultdict(int)
    shown: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for name, columns in (("scores", ["pts_s"]), ("filtered", [])):
        for span in _spans(tables, name, columns, shards, near):
            shard = span["shard"]
            ends[shard] = max(ends[shard], span["frame_index_max"] + 1)
            if span.get("pts_s_max") is not None:
                shown[shard] += [
                    (span[f"frame_index_{w}"], span[f"pts_s_{w}"]) for w in ("min", "max")
                ]
    return {
        shard: VideoFacts(
            end, _rate(shown[shard]), times=near[shard].times() if shard in near else ()
        )
        for shard, end in ends.items()
    }


class _Near:
    """The frames with a time that are next to some frames, on either side."""

    def __init__(self, frames: list[int]) -> None:
        self._frames = np.array(frames)
        self._below: dict[int, tuple[int, float]] = {}
        self._above: dict[int, tuple[int, float]] = {}

    def see(self, frames: np.ndarray, times_s: np.ndarray) -> None:
        """Take frames in any order, with their times."""
        order = np.argsort(frames)
        frames, times_s = frames[order], times_s[order]
        below = np.searchsorted(frames, self._frames, side="right") - 1
        above = np.searchsorted(frames, self._frames)
        for place, frame in enumerate(self._frames.tolist()):
            if below[place] >= 0:
                found = (int(frames[below[place]]), float(times_s[below[place]]))
                self._below[frame] = max(found, self._below.get(frame, found))
            if above[place] < len(frames):
                found = (int(frames[above[place]]), float(times_s[above[place]]))
                self._above[frame] = min(found, self._above.get(frame, found))

    def times(self) -> tuple[tuple[int, float], ...]:
        """Those frames, ascending, with their times."""
        return tuple(sorted({*self._below.values(), *self._above.values()}))


def _spans(
    tables: RunTables,
    name: str,
    columns: list[str],
    shards: Collection[str],
    near: dict[str, _Near],
) -> Iterator[dict[str, Any]]:
    """Smallest and largest frame and time of each video, in each part of a table."""
    keys = pa.array([*shards], pa.string())
    spans = [(column, what) for column in ("frame_index", *columns) for what in ("min", "max")]
    for (file,) in tables.parts(name):
        rows = tables.read(file, ["shard", "frame_index", *columns])
        rows = rows.filter(pc.is_in(rows["shard"], value_set=keys))
        if "pts_s" in columns:
            _show_to(near, rows)
        yield from rows.group_by("shard").aggregate(spans).to_pylist()


def _show_to(near: dict[str, _Near], rows: pa.Table) -> None:
    rows = rows.filter(pc.is_valid(rows["pts_s"]))
    for shard in rows["shard"].unique().to_pylist():
        if shard in near:
            rows_of_shard = rows.filter(pc.equal(rows["shard"], shard))
            near[shard].see(
                rows_of_shard["frame_index"].to_numpy(), rows_of_shard["pts_s"].to_numpy()
            )


def _rate(shown: list[tuple[int, float]]) -> float | None:
    """Frames a second between the first and the last (frame, time)."""
    if not shown:
        return None
    (first, start_s), (last, end_s) = min(shown), max(shown)
    return round((last - first) / (end_s - start_s), 3) if end_s > start_s else None


def with_sizes(
    videos: dict[str, VideoFacts],
    files: dict[str, Shard],
    orientation: Orientation,
) -> dict[str, VideoFacts]:
    """Add frame sizes, read from each video's first frame; those that cannot be read fall out."""
    found = {}
    for shard, facts in videos.items():
        if shard in files:
            size = frame_size(files[shard].uri, files[shard].size_bytes, orientation)
            if size is not None:
                found[shard] = replace(facts, size_px=size)
    return found
