"""The shards of a fold, and the names of all that goes by a fold of its own."""

from collections.abc import Iterator, Sequence

from ray_audit.config import DatasetConfig, FoldConfig
from ray_audit.errors import SpecificationError
from ray_audit.folds import is_in
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.contents import contents_of
from ray_audit.formats.job import UnitContext
from ray_audit.formats.registry import known_format
from ray_audit.samples import Shard


def shards_in(shards: list[Shard], fold: FoldConfig | None) -> list[Shard]:
    """The shards of a part; those that hold several samples stay, and are sifted when read.

    Raises:
        SpecificationError: none is left.
    """
    if fold is None:
        return shards
    kept = [s for s in shards if known_format(s.key).holds_several or is_in(s.key, fold)]
    if not kept:
        raise SpecificationError(
            f"dataset.fold: fold {fold.index} of {fold.num} ({fold.part}) has none of the "
            f"{len(shards)} files"
        )
    return kept


def sample_keys(shards: Sequence[Shard], dataset: DatasetConfig, index_dir: str) -> Iterator[str]:
    """What goes by a fold of its own, in the order of the shards; container files are opened."""
    job = UnitContext(dataset, None, index_dir, UnitAccounting("folds"))
    for shard in shards:
        for owner in contents_of(shard, dataset.labels).owners:
            if job.is_named(owner):
                yield owner.key
