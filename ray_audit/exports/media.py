"""Where pictures and videos lie, and what tools must know of a video."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from ray_audit import storage
from ray_audit.cuts.show import frame_size
from ray_audit.exports.content import Media, VideoFacts
from ray_audit.tables.run import RunTables

_ARRAY = re.compile(r"^(.*?\.npz)#", re.IGNORECASE | re.DOTALL)


def listed(uri: str | list[str]) -> dict[str, storage.StoredObject]:
    """The files of a dataset by shard key.

    Raises:
        StorageError: the dataset cannot be listed.
    """
    found = storage.list_objects(uri)
    keys = storage.shard_keys(uri, [item.uri for item in found])
    return dict(zip(keys, found, strict=True))


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


def media_at(shards: Iterable[str], files: dict[str, storage.StoredObject]) -> dict[str, Media]:
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


def video_facts(tables: RunTables, shards: Collection[str]) -> dict[str, VideoFacts]:
    """Frames and frame rates of videos, from the run's tables alone."""
    ends: dict[str, int] = defaultdict(int)
    shown: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for name, columns in (("scores", ["pts_s"]), ("filtered", [])):
        for one in _spans(tables, name, columns, shards):
            shard = one["shard"]
            ends[shard] = max(ends[shard], one["frame_index_max"] + 1)
            if one.get("pts_s_max") is not None:
                shown[shard] += [
                    (one[f"frame_index_{w}"], one[f"pts_s_{w}"]) for w in ("min", "max")
                ]
    return {shard: VideoFacts(end, _rate(shown[shard])) for shard, end in ends.items()}


def _spans(
    tables: RunTables, name: str, columns: list[str], shards: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Smallest and largest frame and time of each video, in each part of a table."""
    wanted = pa.array([*shards], pa.string())
    spans = [(column, what) for column in ("frame_index", *columns) for what in ("min", "max")]
    for (file,) in tables.parts(name):
        rows = tables.read(file, ["shard", "frame_index", *columns])
        rows = rows.filter(pc.is_in(rows["shard"], value_set=wanted))
        yield from rows.group_by("shard").aggregate(spans).to_pylist()


def _rate(shown: list[tuple[int, float]]) -> float | None:
    """Frames a second between the first and the last (frame, time)."""
    if not shown:
        return None
    (first, start_s), (last, end_s) = min(shown), max(shown)
    return round((last - first) / (end_s - start_s), 3) if end_s > start_s else None


def with_sizes(
    videos: dict[str, VideoFacts], files: dict[str, storage.StoredObject]
) -> dict[str, VideoFacts]:
    """Add frame sizes, read from each video's first frame; those that cannot be read fall out."""
    found = {}
    for shard, facts in videos.items():
        if shard in files:
            size = frame_size(files[shard].uri, files[shard].size_bytes)
            if size is not None:
                found[shard] = replace(facts, size_px=size)
    return found
