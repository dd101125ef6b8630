"""Samples of a WebDataset tar whose members lie apart, as in an archive that is sorted by kind."""

import tarfile
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

from ray_audit.errors import SampleError
from ray_audit.formats.tar_members import (
    MemberNames,
    is_unsafe,
    members_of,
    opened_tar,
    refusal,
)
from ray_audit.samples import Shard


class _Place(NamedTuple):
    offset: int
    size: int


def groups_apart(
    stream: IO[bytes], shard: Shard, names: MemberNames, keys: Iterable[str]
) -> Iterator[tuple[str, dict[str, bytes | SampleError]]]:
    """Members of some samples, wherever they lie: extension -> content, or why it is not read.

    One walk over the headers, then a sample at a time. What is held is the place of each member of
    these samples, and the content of one sample.

    Args:
        stream: of a plain archive; it is read back and forth.
        shard: the archive.
        names: of the images, labels and masks.
        keys: of the samples.

    Raises:
        tarfile.TarError, OSError: the archive is damaged.
    """
    with opened_tar(stream, shard.key, "r:") as file:
        places = _places(members_of(file, shard.size_bytes), names, keys)
    for key, found in places.items():
        yield key, {extension: _content(stream, place) for extension, place in found.items()}


def _places(
    members: Iterator[tarfile.TarInfo], names: MemberNames, keys: Iterable[str]
) -> dict[str, dict[str, _Place | SampleError]]:
    places: dict[str, dict[str, _Place | SampleError]] = {key: {} for key in keys}
    for member in members:
        found = None if member.isdir() or is_unsafe(member.name) else names.split(member.name)
        if found is None or found[0] not in places:
            continue
        key, extension = found
        if extension in places[key]:
            why = f"member {member.name!r} is there twice; keys must be unique in a file"
            places[key][extension] = SampleError("duplicate_key", why)
        elif member.sparse is not None:
            why = f"member {member.name!r} is sparse; pack the files without --sparse"
            places[key][extension] = SampleError("tar_member", why)
        else:
            place = _Place(member.offset_data, member.size)
            places[key][extension] = refusal(member) or place
    return places


def _content(stream: IO[bytes], place: _Place | SampleError) -> bytes | SampleError:
    if isinstance(place, SampleError):
        return place
    stream.seek(place.offset)
    content = stream.read(place.size)
    if len(content) < place.size:
        return SampleError("decode", f"cut off: {len(content)} of {place.size} bytes are there")
    return content
