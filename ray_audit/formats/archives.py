"""Labels inside Parquet and WebDataset tar shards: the shard is rewritten as a stream."""

import io
import tarfile
from itertools import count
from typing import Any

from ray_audit import storage
from ray_audit.config import LabelsConfig
from ray_audit.formats.changes import LabelChanges
from ray_audit.formats.labels.cells import text_of
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.copying import Cells, copy_parquet
from ray_audit.formats.labels.relabel import is_label, relabelled
from ray_audit.formats.mask_files import encode_mask
from ray_audit.formats.tar_members import MemberNames, is_plain, members_of, opened_tar, refusal
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard


def write_parquet(
    shard: Shard,
    labels: LabelsConfig,
    classes: ClassNames,
    changes: LabelChanges,
    to_uri: str,
    left_out: dict[str, str],
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
        owner = Owner(shard.key, str(text_of(cells.get("key", next(rows)))))
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
    shard: Shard,
    labels: LabelsConfig,
    classes: ClassNames,
    changes: LabelChanges,
    to_uri: str,
    left_out: dict[str, str],
) -> int:
    """Rewrite the label (or mask) members of a tar; others are copied as they stand.

    Links, devices and members whose names lead out of the folder in which they are unpacked are
    left out: whoever unpacks the copy must not meet them.

    Args:
        shard: the archive.
        labels: which members are labels.
        classes: of the dataset.
        changes: new labels.
        to_uri: of the copy.
        left_out: takes the members that were left out, and why.

    Returns:
        How many new labels were written.

    Raises:
        SampleError: a member would fill the memory.
        tarfile.TarError, EOFError, zlib.error: the archive is damaged.
    """
    names, num_written = MemberNames(labels), 0
    with (
        storage.open_read(shard.uri, shard.size_bytes) as source,
        storage.open_write(to_uri) as sink,
        opened_tar(source, shard.key) as old,
        tarfile.open(
            fileobj=sink,
            mode="w|" if is_plain(shard.key) else "w|gz",
            format=tarfile.PAX_FORMAT,
        ) as new,
    ):
        for member in members_of(old, shard.size_bytes):
            new.members = []  # type: ignore[attr-defined] # it would keep them all
            refused = refusal(member)
            if refused is not None:
                left_out[f"{shard.key}#{member.name}"] = str(refused)
                continue
            content = old.extractfile(member) if member.isfile() else None
            key = names.label_key(member.name)
            if content is not None and key is not None:
                stored = content.read()
                changed = _new_member(stored, Owner(shard.key, key), labels, classes, changes)
                num_written += changed is not None
                content = io.BytesIO(stored if changed is None else changed)
                member.size = len(content.getvalue())
            new.addfile(member, content)
    return num_written


def holds_refused(shard: Shard) -> bool:
    """Whether a tar has a member that a copy must not have.

    Raises:
        SampleError, tarfile.TarError, EOFError, zlib.error: as `write_tar`.
    """
    with (
        storage.open_read(shard.uri, shard.size_bytes) as source,
        opened_tar(source, shard.key, "r:") as file,
    ):
        # All are looked at: an archive that breaks off is found out.
        return sum(refusal(member) is not None for member in members_of(file, shard.size_bytes)) > 0


def _new_member(
    stored: bytes, owner: Owner, labels: LabelsConfig, classes: ClassNames, changes: LabelChanges
) -> bytes | None:
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
