"""Which samples belong to a fold: a function of names alone, so that a new one moves no other.

A video, an image file or a .npy sequence goes by its shard key; a sequence in an npz, an image in a
Parquet or tar file by `shard key#name`. Samples that must not be parted (images of one patient,
videos of one operation) share what `dataset.fold.group` matches in their names.
"""

import re

from ray_audit import storage
from ray_audit.config import FoldConfig
from ray_audit.errors import SpecificationError


def fold_of(key: str, fold: FoldConfig) -> int:
    """Number of the fold that a sample belongs to, from 0; `fold.index` plays no part.

    Args:
        key: of a shard, or `shard key#name` of what lies in one.
        fold: number of folds, seed and group.

    Raises:
        SpecificationError: the group's pattern is none, or matches nothing in the name.
    """
    return int(storage.digest("fold", fold.seed, _group_of(key, fold.group))[:12], 16) % fold.num


def _group_of(key: str, pattern: str | None) -> str:
    if pattern is None:
        return key
    try:
        found = re.search(pattern, key)
    except re.error as error:
        raise SpecificationError(f"fold group {pattern!r} is no pattern: {error}") from error
    if found is None:
        raise SpecificationError(
            f"fold group {pattern!r} matches nothing in {key!r}: every sample needs a group"
        )
    return found[1] if found.re.groups else found[0]


def counts_lost(container_key: str, fold: FoldConfig | None) -> bool:
    """Whether a part counts what is lost of a container, where no names say whose samples they are.

    Of all folds one does, so that together they count it once. It goes by the container's own name,
    which a group need not match.
    """
    return fold is None or is_in(container_key, fold.model_copy(update={"group": None}))


def is_in(key: str, fold: FoldConfig | None) -> bool:
    """Whether a sample belongs to a part of the dataset; all do where there is no fold."""
    if fold is None:
        return True
    return (fold_of(key, fold) == fold.index) == (fold.part == "held_out")
