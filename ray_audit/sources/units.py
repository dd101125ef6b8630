"""Groups shards into work units."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from ray_audit import storage
from ray_audit.formats.registry import known_format
from ray_audit.formats.volumes.dicom_volume import is_dicom
from ray_audit.samples import Shard, Slice, WorkUnit

_GROUP_FILES, _MOST_FILES = 64, 512  # in the middle
_SPREAD, _LARGEST_GROUP = 4, 1024  # so many times the middle, and not more than that
_BATCHES_PER_GROUP = 4
_GROUP_BYTES = 64 * 2**20


Part = tuple[Slice, Shard]
"""A slice of a long video, and the video with the number of labels that the slice owns."""


def group_units(
    shards: Sequence[Shard],
    salt: str,
    parts: Mapping[str, Sequence[Part]] | None = None,
    batch_size: int = 1,
    decoded_bytes: Callable[[Shard], int] | None = None,
) -> list[WorkUnit]:
    """One unit a video, npz, npy, Parquet or tar file, or a slice of one; image files in groups.

    Groups end after a key whose hash says so, so that a file that comes or goes changes its own
    group and leaves the others their identity. The smaller a file is once decoded, the less often
    one ends at it: groups of small files fill a crate too.

    Args:
        shards: sorted by key.
        salt: goes into every unit's id, e.g. a digest of the configuration.
        parts: slices of long videos, by shard key; others are one unit.
        batch_size: images in a batch, if many: no batch is larger than its group.
        decoded_bytes: of an image file; None for groups of some 64 whatever they weigh.
    """
    fewest, units = max(_GROUP_FILES, _BATCHES_PER_GROUP * batch_size), []

    def num_files(shard: Shard) -> int:
        fitting = _GROUP_BYTES // max(1, decoded_bytes(shard)) if decoded_bytes else 0
        return max(fewest, min(fitting, _MOST_FILES))

    for group in _groups(shards, num_files):
        slices = (parts or {}).get(group[0].key)
        if slices is None:
            units.append(WorkUnit(_unit_id(group, salt), tuple(group)))
            continue
        for part, shard in slices:
            units.append(WorkUnit(_slice_id(group, part, salt), (shard,), part))
    return units


def _groups(shards: Sequence[Shard], num_files: Callable[[Shard], int]) -> Iterator[list[Shard]]:
    group: list[Shard] = []
    num_bytes = 0
    for shard in shards:
        if not _is_small(shard):
            if group:
                yield group
                group, num_bytes = [], 0
            yield [shard]
            continue
        group.append(shard)
        num_bytes += shard.size_bytes
        if num_bytes >= _GROUP_BYTES or _ends_group(group, num_files(shard)):
            yield group
            group, num_bytes = [], 0
    if group:
        yield group


def _is_small(shard: Shard) -> bool:
    # A DICOM file that has a class is an image, and no volume.
    is_image = is_dicom(shard.key) and shard.class_index is not None
    return is_image or known_format(shard.key).is_small


def _ends_group(group: list[Shard], num_files: int) -> bool:
    """Whether its number or its last key ends it; `num_files` is that of the middle group."""
    max_files = _SPREAD * num_files
    if num_files <= _MOST_FILES:
        max_files = min(max_files, _LARGEST_GROUP)
    last_bytes = hashlib.sha256(group[-1].key.encode()).digest()[-8:]
    return int.from_bytes(last_bytes) % num_files == 0 or len(group) >= max_files


def _slice_id(group: list[Shard], part: Slice, salt: str) -> str:
    bounds = (part.first_frame, part.own_start, part.own_stop, part.stop_frame, part.is_last)
    return storage.digest("slice", _unit_id(group, salt), *bounds)


def _unit_id(group: list[Shard], salt: str) -> str:
    parts = [(s.key, s.size_bytes, s.etag, s.label_digest) for s in group]
    return storage.digest(salt, *(value for part in parts for value in part))
