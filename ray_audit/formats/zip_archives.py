"""Zip archives: their members are listed as files; what is left here is damaged."""

import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from ray_audit import archives, storage
from ray_audit.config import LabelsConfig
from ray_audit.errors import SampleError
from ray_audit.formats.base import Format, Item, StoredSequence
from ray_audit.formats.job import UnitContext
from ray_audit.formats.labels.timeline import Labels
from ray_audit.samples import Shard


class ZipArchives(Format):
    """An archive whose directory could not be read: all that it holds is lost, and is counted."""

    name = "zip"
    kind = "images"
    extensions = (archives.ENDING.removeprefix("."),)
    holds_several = True

    @property
    def kinds(self) -> tuple[str, ...]:
        """All of them: members are files of any kind."""
        return ("video", "images", "sequences")

    def names(self, shard: Shard, labels: LabelsConfig) -> Iterator[str]:
        """None can be known."""
        yield from _unreadable(shard)

    def read(self, shards: tuple[Shard, ...], job: UnitContext) -> Iterator[Item]:
        """None can be read."""
        yield from _unreadable(shards[0])

    def sequences(self, shard: Shard, job: UnitContext) -> Iterator[StoredSequence]:
        """None can be read."""
        num, counts = shard.num_labelled, job.counts_lost(shard.key)
        job.tally.fail(shard.key, _damage(shard), stage="read", num_samples=num, counts=counts)
        return iter(())

    def timelines(
        self, shard: Shard, job: UnitContext
    ) -> Iterator[tuple[str, Callable[[], Labels]]]:
        """None can be read."""
        yield from _unreadable(shard)


def is_damaged(key: str) -> bool:
    """Whether a listed file is an archive: others are listed by their members."""
    return key.lower().endswith(archives.ENDING)


def _unreadable(shard: Shard) -> Iterator[Any]:
    raise _damage(shard)
    yield  # a generator, so that it raises where it is read


def _damage(shard: Shard) -> Exception:
    try:
        with storage.open_read(shard.uri, shard.size_bytes) as stream:
            zipfile.ZipFile(stream).close()
    except (zipfile.BadZipFile, ValueError, LookupError, RuntimeError) as error:
        return SampleError("decode", f"{shard.uri} is no zip archive: {error}")
    return SampleError("decode", f"{shard.uri} was no zip archive when it was listed")
