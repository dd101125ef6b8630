"""The files of a dataset that a list names: `dataset.split`."""

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.contents import folder_above
from ray_audit.formats.labels.names import OwnerNames, stem_of
from ray_audit.formats.registry import known_format
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

_NUM_NAMED = 3


def shards_of_split(shards: list[Shard], dataset: DatasetConfig) -> tuple[list[Shard], list[str]]:
    """The shards that the lines of `dataset.split` name, in their order of keys; and notes.

    A line is a key, a path or a name, with an extension or without one: that of a label file will
    do as well (`rgb-01-1.txt`). What `labels.match` finds first in a key is a name, too.

    Raises:
        SpecificationError: the list is no text, names none of the files, or a line names several.
    """
    if dataset.split is None:
        return shards, []
    several = next((s.key for s in shards if known_format(s.key).holds_several), None)
    if several is not None:
        raise SpecificationError(
            f"dataset.split goes with one file per sample; {several} holds several"
        )
    lines = _lines(dataset.split)
    names = OwnerNames(
        (Owner(s.key) for s in shards),
        "line",
        match=dataset.labels.match,
        above=folder_above(shards),
    )
    chosen: set[str] = set()
    missing: dict[str, None] = {}
    for line in lines:
        owner = _named(dataset.split, line, names)
        if owner is None:
            missing[line] = None
        else:
            chosen.add(owner.shard_key)
    few = ", ".join(list(missing)[:_NUM_NAMED]) + (", ..." if len(missing) > _NUM_NAMED else "")
    if not chosen:
        raise SpecificationError(
            f"dataset.split: {dataset.split} names none of the {len(shards)} files; its lines are "
            f"{few or 'empty'}, the first file is {shards[0].key}"
        )
    notes = [f"{len(missing)} of {len(lines)} lines of dataset.split match no file: {few}"]
    return [shard for shard in shards if shard.key in chosen], notes if missing else []


def _lines(uri: str) -> list[str]:
    try:
        text = storage.read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecificationError(
            f"dataset.split: {uri} is no text: expected a name a line ({error})"
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _named(uri: str, line: str, names: OwnerNames) -> Owner | None:
    try:
        owner = names.find(line)
        if owner is None:
            folder = line[: len(line) - len(line.rsplit("/", 1)[-1])]
            owner = names.find(folder + stem_of(line))
        return owner
    except LabelError as error:
        raise SpecificationError(f"dataset.split: {uri}: {error}") from error
