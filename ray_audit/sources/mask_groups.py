"""The mask files of each video, found in one listing of the folder that holds them all."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ray_audit import storage
from ray_audit.errors import LabelError
from ray_audit.formats.stacks.pattern import matching
from ray_audit.samples import Shard
from ray_audit.sources.etags import by_content
from ray_audit.storage import StoredObject


def with_mask_folders(
    shards: Sequence[Shard],
    patterns: Sequence[str],
    stored: Mapping[str, StoredObject],
    are_frames: bool = True,
) -> list[Shard]:
    """Shards with the pattern of their masks, and with a digest of all files that it matches.

    Args:
        shards: videos.
        patterns: `labels.masks` filled in for each, empty where it has none.
        stored: all files of the folder, by URI.
        are_frames: whether each file is the mask of a frame, and not a part of one mask.

    Raises:
        LabelError: a file is a mask of two videos.
    """
    uris = sorted(stored)
    found: list[list[StoredObject]] = []
    taken: dict[str, Shard] = {}
    for shard, pattern in zip(shards, patterns, strict=True):
        files = _files(pattern, uris, stored) if pattern else []
        for item in files:
            other = taken.setdefault(item.uri, shard)
            if other is not shard:
                raise LabelError(
                    f"labels.masks: {item.uri} would be a mask of {other.key} and of {shard.key}; "
                    "put more of the video's name into the template"
                )
        found.append(files)
    digests = {item.uri: item for item in by_content([i for files in found for i in files])}
    return [
        _labelled(shard, pattern, [digests[item.uri] for item in files], are_frames)
        for shard, pattern, files in zip(shards, patterns, found, strict=True)
    ]


def _files(
    pattern: str, uris: Sequence[str], stored: Mapping[str, StoredObject]
) -> list[StoredObject]:
    """Only what begins as the pattern does is looked at: a dataset may have a million masks."""
    prefix = pattern[: pattern.index("*")]
    start, stop = bisect_left(uris, prefix), bisect_left(uris, prefix + "\U0010ffff")
    candidates = [stored[uri] for uri in uris[start:stop]]
    return [file.stored for file in matching(pattern, candidates)]


def _labelled(shard: Shard, pattern: str, files: Sequence[StoredObject], are_frames: bool) -> Shard:
    if not files:
        return replace(shard, num_labelled=0)
    digest = storage.digest(*(f"{item.uri}\x1e{item.size_bytes}\x1e{item.etag}" for item in files))
    return replace(
        shard,
        label_uri=pattern,
        label_digest=digest,
        num_labelled=len(files) if are_frames else None,
    )
