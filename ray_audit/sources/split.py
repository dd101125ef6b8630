"""What of a dataset a list names: `dataset.split`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.contents import contents_of, folder_above
from ray_audit.formats.labels.names import OwnerNames, stem_of_name
from ray_audit.formats.members import write_members
from ray_audit.formats.registry import known_format
from ray_audit.printable import few, plural
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard


@dataclass(frozen=True)
class Split:
    """What the lines of `dataset.split` name.

    Attributes:
        owners: files, and what is named in containers.
        notes: what the user should know of lines.
    """

    owners: frozenset[Owner]
    notes: tuple[str, ...]

    def has(self, owner: Owner) -> bool:
        """Whether a file, or what lies in one, is named, or all of the file."""
        return owner in self.owners or Owner(owner.shard_key) in self.owners

    @property
    def digest(self) -> str:
        """Changes when anything else is named."""
        return storage.digest(*(owner.key for owner in sorted(self.owners)))

    def shards(self, shards: Sequence[Shard]) -> list[Shard]:
        """Those that hold something that is named.

        The identity of a container is that of what is named in it: a list that changes makes
        another one of it.
        """
        members: dict[str, list[str]] = {}
        for owner in sorted(self.owners):
            members.setdefault(owner.shard_key, []).append(owner.member)
        return [
            _with_digest(shard, members[shard.key])
            if known_format(shard.key).holds_several
            else shard
            for shard in shards
            if shard.key in members
        ]


def split_of(shards: Sequence[Shard], dataset: DatasetConfig, index_dir: Path) -> Split | None:
    """What `dataset.split` names; None where there is none. What it names in containers is kept.

    A line is a key, a path or a name, with an extension or without one: that of a label file will
    do as well (`rgb-01-1.txt`). What `labels.match` finds first in a key is a name, too. A line
    that names a container, or a folder in one, stands for all that lies in it.

    Args:
        shards: all of the dataset.
        dataset: says where the list lies.
        index_dir: gets the names in containers.

    Raises:
        SpecificationError: the list is no text, names nothing of the dataset, or a line names
            several.
        StorageError: the list, or the names in a container, cannot be read.
    """
    if dataset.split is None:
        return None
    lines, partial = _lines(dataset.split), list[str]()
    names = OwnerNames(
        _owners(shards, dataset, partial),
        "line",
        partial,
        match=dataset.labels.match,
        above=folder_above(shards),
    )
    chosen: set[Owner] = set()
    missing: dict[str, None] = {}
    for line in lines:
        owners = _named(dataset.split, line, names)
        chosen.update(owners)
        if not owners:
            missing[line] = None
    if not chosen:
        raise SpecificationError(
            f"dataset.split: {dataset.split} names none of the {len(shards)} files; its lines are "
            f"{few(missing) or 'empty'}, the first file is {shards[0].key}"
        )
    if any(known_format(shard.key).holds_several for shard in shards):
        write_members(index_dir, chosen)
    return Split(frozenset(chosen), tuple(_notes(lines, missing, names)))


def _owners(shards: Sequence[Shard], dataset: DatasetConfig, partial: list[str]) -> Iterator[Owner]:
    for shard in shards:
        yield Owner(shard.key)
        if known_format(shard.key).holds_several:
            contents = contents_of(shard, dataset.labels)
            if not contents.is_whole:
                partial.append(shard.key)
            yield from contents.owners


def _lines(uri: str) -> list[str]:
    try:
        text = storage.read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecificationError(
            f"dataset.split: {uri} is no text: expected a name a line ({error})"
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _named(uri: str, line: str, names: OwnerNames) -> list[Owner]:
    folder = line[: len(line) - len(line.rsplit("/", 1)[-1])]
    try:
        owners = names.find_all(line) or names.find_all(folder + stem_of_name(line))
        lost = None if owners else names.find(line)
    except LabelError as error:
        raise SpecificationError(f"dataset.split: {uri}: {error}") from error
    return owners if lost is None else [lost]


def _notes(lines: list[str], missing: dict[str, None], names: OwnerNames) -> Iterator[str]:
    if missing:
        what = few(missing)
        yield f"{len(missing)} of {len(lines)} lines of dataset.split match no file: {what}"
    if names.lost:
        files = dict.fromkeys(owner.shard_key for owner in names.lost.values())
        yield (
            f"{plural(len(names.lost), 'line')} of dataset.split ({few(names.lost)}) match nothing "
            f"that could be listed; they are taken to lie in {few(files)}, which cannot be read to "
            "the end"
        )


def _with_digest(shard: Shard, members: list[str]) -> Shard:
    if "" in members:
        return shard
    named = storage.digest(*members)
    labels = storage.digest(shard.label_digest, named) if shard.label_digest else ""
    return replace(shard, etag=f"{shard.etag} {named}", label_digest=labels)
