"""Names inside container files, read without their content, to match label tables against."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ray_audit import storage
from ray_audit.config import LabelsConfig
from ray_audit.errors import StorageError
from ray_audit.formats.damage import is_damage
from ray_audit.formats.labels.names import OwnerNames
from ray_audit.formats.registry import known_format
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

_PAUSES_S = (0.5, 2.0, None)


class Contents(NamedTuple):
    """What a label table can name in a shard.

    Attributes:
        owners: the shard itself, or its arrays or images.
        is_whole: False where the names behind a damage are not known.
    """

    owners: list[Owner]
    is_whole: bool = True


def contents_of(shard: Shard, labels: LabelsConfig) -> Contents:
    """Names in a shard, as far as they can be read; reading a damaged one will say why it is.

    Raises:
        StorageError: the store did not give it, and did not at further tries either.
    """
    form = known_format(shard.key)
    if not form.holds_several:
        return Contents([Owner(shard.key)])
    for pause_s in _PAUSES_S:
        try:
            with storage.explained("list the names in", shard.uri):
                return _contents(shard, form.names(shard, labels))
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError | PermissionError):
                return Contents([], is_whole=False)  # a failure of stage `read`, once it is read
            if pause_s is None:
                raise
        time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")


def _contents(shard: Shard, names: Iterator[str]) -> Contents:
    found, is_whole = dict[str, None](), True
    try:
        for name in names:
            found[name] = None
    except Exception as error:
        if not is_damage(error):
            raise
        is_whole = False
    return Contents([Owner(shard.key, name) for name in found], is_whole)


def owner_names(shards: Sequence[Shard], labels: LabelsConfig, column: str) -> OwnerNames:
    """Everything that the rows of a label table can name; container files are opened."""
    partial: list[str] = []

    def owners() -> Iterator[Owner]:
        for shard in shards:
            contents = contents_of(shard, labels)
            if not contents.is_whole:
                partial.append(shard.key)
            yield from contents.owners

    return OwnerNames(owners(), column, partial, labels.match, folder_above(shards))


def folder_above(shards: Sequence[Shard]) -> str:
    """The URI of the folder that all keys are below; empty where they lie in several."""
    base = shards[0].uri.removesuffix(shards[0].key) if shards else ""
    return base if all(shard.uri == base + shard.key for shard in shards) else ""
