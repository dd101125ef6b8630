"""Names of shards and samples: made here, and taken apart here.

`<shard key>`, `<shard key>#<member>`, `<shard key>#<frame index>` or
`<shard key>#<member>#<frame index>`: a shard key may hold `#` itself, so that a name is taken apart
only by who knows the shard.
"""

import os
from typing import NamedTuple, Self

from ray_audit.storage import path_of
from ray_audit.stored_objects import NUMBERED, WILDCARD


class Owner(NamedTuple):
    """What labels belong to: a shard, and for containers the array or member in it."""

    shard_key: str
    member: str = ""

    @property
    def key(self) -> str:
        """Name of the sample, or what the names of its frames begin with.

        >>> Owner("a/b.png").key, Owner("f.npz", "s1").key
        ('a/b.png', 'f.npz#s1')
        """
        return "#".join(filter(None, self))

    def frame(self, frame_index: int) -> str:
        """Name of one of its frames.

        >>> Owner("v.mp4").frame(7), Owner("f.npz", "s1").frame(7)
        ('v.mp4#7', 'f.npz#s1#7')
        """
        return frame_id(self.key, frame_index)

    @classmethod
    def of_sample(cls, shard_key: str, sample_id: str) -> Self:
        """Owner of a sample that is no frame.

        >>> Owner.of_sample("t.tar", "t.tar#one#two"), Owner.of_sample("a.png", "a.png")
        (Owner(shard_key='t.tar', member='one#two'), Owner(shard_key='a.png', member=''))
        """
        return cls(shard_key, sample_id[len(shard_key) + 1 :])


def frame_id(owner_key: str, frame_index: int) -> str:
    """Name of a frame, by the key of its owner."""
    return f"{owner_key}#{frame_index}"


def shard_keys(uri: str | list[str], uris: list[str]) -> list[str]:
    """Keys of listed shards: the path below the last `/` before the first wildcard.

    For a list, below the directory that all share. Scheme and bucket never count, so that a
    local copy and S3 give the same keys.

    >>> shard_keys("s3://b/v/*/*.mp4", ["s3://b/v/or1/x.mp4", "s3://b/v/or2/x.mp4"])
    ['or1/x.mp4', 'or2/x.mp4']
    """
    paths = [path_of(u) for u in uris]
    pattern = path_of(uri) if isinstance(uri, str) else ""
    wildcards = [m.start() for m in (WILDCARD.search(pattern), NUMBERED.search(pattern)) if m]
    if wildcards:
        root = pattern[: min(wildcards)]
        base = root[: root.rfind("/") + 1]
    else:
        folders = [p[: p.rfind("/") + 1] for p in paths]
        base = os.path.commonpath(folders).rstrip("/") + "/" if folders else ""
    return [p[len(base) :] for p in paths]
