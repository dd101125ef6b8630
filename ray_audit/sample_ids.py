"""Names of samples: made here, and taken apart here.

`<shard key>`, `<shard key>#<member>`, `<shard key>#<frame index>` or
`<shard key>#<member>#<frame index>`: a shard key may hold `#` itself, so that a name is taken apart
only by who knows the shard.
"""

from typing import NamedTuple, Self


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
