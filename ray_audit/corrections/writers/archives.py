"""Labels inside Parquet and WebDataset tar shards: the shard is rewritten as a stream."""

import io
import tarfile
from itertools import count
from typing import Any

from ray_audit import storage
from ray_audit.config import LabelsConfig
from ray_audit.corrections.writers.changes import LabelChanges
from ray_audit.corrections.writers.masks import encode_mask
from ray_audit.corrections.writers.rows import Cells, copy_parquet
from ray_audit.corrections.writers.values import is_label, relabelled
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard
from ray_audit.sources.classes import ClassNames
from ray_audit.sources.members import member_key
from ray_audit.sources.names import fill_template


def write_parquet(
    shard: Shard, labels: LabelsConfig, classes: ClassNames, changes: LabelChanges, to_uri: str
) -> int:
    """Rewrite the label (or mask) column of a Parquet shard, a row group at a time.

    Returns:
        How many new labels were written.
    """
    rows, num_written = count(), 0
    columns = {"label": labels.column or str(labels.masks)}
    if labels.key_column:
        columns["key"] = labels.key_column

    def edit(cells: Cells) -> list[Cells] | None:
        nonlocal num_written
        owner = Owner(shard.key, str(cells.get("key", next(rows))))
        new = _new_cell(cells["label"], owner, labels, classes, changes)
        num_written += new is not None
        return None if new is None else [{"label": new}]

    with (
        storage.open_read(shard.uri, shard.size_bytes) as source,
        storage.open_write(to_uri) as sink,
    ):
        copy_parquet(source, sink, columns, edit)
    return num_written


def _new_cell(
    old: Any, owner: Owner, labels: LabelsConfig, classes: ClassNames, changes: LabelChanges
) -> Any:
    if labels.masks:
        mask = None if old is None else changes.mask(owner)
        if mask is None:
            return None
        if isinstance(old, dict):
            return {**old, "bytes": encode_mask(old["bytes"], mask, labels.channel)}
        return encode_mask(old, mask, labels.channel)
    new = changes.classes.get(owner)
    return relabelled(old, new, classes) if new is not None and is_label(old, classes) else None


def write_tar(
    shard: Shard, labels: LabelsConfig, classes: ClassNames, changes: LabelChanges, to_uri: str
) -> int:
    """Rewrite the label (or mask) members of a tar; all others are copied as they stand.

    Returns:
        How many new labels were written.
    """
    plain = shard.key.lower().endswith(".tar")
    num_written = 0
    with (
        storage.open_read(shard.uri, shard.size_bytes) as source,
        storage.open_write(to_uri) as sink,
        tarfile.open(fileobj=source, mode="r|" if plain else "r|gz") as old,
        tarfile.open(
            fileobj=sink, mode="w|" if plain else "w|gz", format=tarfile.PAX_FORMAT
        ) as new,
    ):
        while (member := old.next()) is not None:
            old.members = []  # type: ignore[attr-defined] # it would keep them all
            new.members = []  # type: ignore[attr-defined]
            content = old.extractfile(member) if member.isfile() else None
            changed = None
            if content is not None and _holds_label(member.name, labels):
                stored = content.read()
                changed = _new_member(stored, member.name, shard, labels, classes, changes)
                num_written += changed is not None
                content = io.BytesIO(stored if changed is None else changed)
                member.size = len(content.getvalue())
            new.addfile(member, content)
    return num_written


def _holds_label(name: str, labels: LabelsConfig) -> bool:
    key, extension = member_key(name)
    if labels.masks:
        file = key.rsplit("/", 1)[-1]
        return extension == member_key(fill_template(labels.masks, file))[1]
    return extension == labels.column


def _new_member(
    stored: bytes,
    name: str,
    shard: Shard,
    labels: LabelsConfig,
    classes: ClassNames,
    changes: LabelChanges,
) -> bytes | None:
    owner = Owner(shard.key, member_key(name)[0])
    if labels.masks:
        mask = changes.mask(owner)
        return None if mask is None else encode_mask(stored, mask, labels.channel)
    new = changes.classes.get(owner)
    text = stored.decode("utf-8", "surrogateescape")
    old = text.strip()
    if new is None or not is_label(old, classes):
        return None
    changed = text.replace(old, str(relabelled(old, new, classes)), 1)
    return changed.encode("utf-8", "surrogateescape")
