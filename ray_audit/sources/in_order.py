"""Labels without names: one a line, in the order of the files' names."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.table_rows import TableLayout, read_rows
from ray_audit.samples import IGNORE, Shard


def labelled_in_order(
    uri: str, layout: TableLayout, dataset: DatasetConfig, shards: Sequence[Shard]
) -> list[Shard]:
    """Shards with the label of their line.

    Raises:
        LabelError: there are more or fewer lines than files, or the files have several orders.
    """
    labels = [
        label
        for rows in read_rows(uri, layout, ClassNames.of(dataset))
        for label in rows.labels.tolist()
    ]
    if len(labels) != len(shards):
        raise LabelError(
            f"{uri}: {len(labels)} labels without names for {len(shards)} files "
            f"({shards[0].key} to {shards[-1].key}): a label a line goes by the order of the "
            "files' names, and needs as many. Where there are names, say so in labels.header"
        )
    _check_one_order(uri, [shard.key for shard in shards])
    return [
        replace(
            shard, class_index=label, label_digest=str(label), num_labelled=int(label != IGNORE)
        )
        for shard, label in zip(shards, labels, strict=True)
    ]


def _check_one_order(uri: str, keys: list[str]) -> None:
    """Refuse files whose order could be another one.

    Raises:
        LabelError: they are ordered otherwise by the numbers in their names than by letters, or
            by their names than by their paths, as where a validation set was sorted into folders.
    """
    if keys != sorted(keys, key=storage.natural_key):
        raise LabelError(
            f"{uri} has labels without names, which go by the order of the files' names, and that "
            f"could be two: {keys[0]}, {keys[1]}, ... by letters, or by the numbers in them. Write "
            "a table with the files' names, or give numbers leading zeros"
        )
    names = [key.rsplit("/", 1)[-1] for key in keys]
    before = next((at for at, (a, b) in enumerate(pairwise(names)) if not _is_before(a, b)), None)
    if before is not None:
        raise LabelError(
            f"{uri} has labels without names, which go by the order of the files' names, and that "
            f"is another one than that of their paths: {keys[before]} lies before "
            f"{keys[before + 1]}. Write a table with the files' names, or keep the files in one "
            "folder"
        )


def _is_before(name: str, other: str) -> bool:
    return name < other and storage.natural_key(name) <= storage.natural_key(other)
