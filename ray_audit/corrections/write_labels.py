"""Writes a copy of a dataset's labels, in the format in which they came."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError, SampleError, SpecificationError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.base import BrokenOffError
from ray_audit.formats.class_folders import check_folders, write_folders
from ray_audit.formats.damage import is_damage
from ray_audit.formats.job import UnitContext
from ray_audit.formats.label_changes import LabelChanges, MaskOf, Progress, WrittenLabels
from ray_audit.formats.labels.array_tables import NPY, is_array_table
from ray_audit.formats.labels.writing import write_tables
from ray_audit.formats.mask_files import (
    LOSSLESS,
    check_kept,
    check_stored,
    copied_masks,
    may_hold_more,
    write_drawn,
    write_mask_file,
    write_mask_files,
)
from ray_audit.formats.places import absolute, below, check_target, copied_uri
from ray_audit.formats.registry import known_format
from ray_audit.formats.stacks.open_stack import check_stack_writable, has_stacks
from ray_audit.formats.stacks.pattern import has_star, listed_files
from ray_audit.formats.stacks.write_stack import write_sound_stack, write_stacks
from ray_audit.formats.zip_archives import is_damaged
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard
from ray_audit.sources import Listing

_LABELS, _DATA = "labels", "data"


def check_writable(dataset: DatasetConfig, listing: Listing, to_uri: str) -> None:
    """Refuse, before any work, what could not be written.

    Raises:
        SpecificationError: the target holds files, or the labels have a form that cannot be
            written back.
        StorageError: the target cannot be listed.
    """
    check_target(to_uri)
    masks = dataset.labels.masks
    shards = _without_damaged(listing.shards)[0]
    form = known_format(shards[0].key)
    inside = "masks" in form.forms or has_stacks(dataset, shards[0])
    is_file = masks is not None and not inside and not dataset.has_drawn_masks
    lossy = _first_lossy(shards) if is_file else None
    if lossy is not None:
        raise SpecificationError(
            f"labels.masks: {lossy} has a format in which changed masks would not come back as "
            f"they were; expected one of {', '.join(LOSSLESS)}"
        )
    _check_table(dataset)
    if has_stacks(dataset, shards[0]):
        first = next((shard for shard in shards if shard.label_uri), shards[0])
        check_stack_writable(first, dataset)
    if dataset.labels.folder and dataset.labels.match is None:
        check_folders(shards)
    why = form.not_written(shards[0], dataset.labels)
    if why is not None:
        raise SpecificationError(f"labels of {shards[0].key} cannot be written back: {why}")


def check_masks(
    dataset: DatasetConfig, shards: Iterable[Shard], samples: Collection[str] | None = None
) -> None:
    """Refuse, before any is written, masks that hold more than a new one would.

    Args:
        dataset: whose masks.
        shards: those whose masks may change.
        samples: in containers, those whose masks may change; None for all of them.

    Raises:
        SpecificationError: names the file, or the sample, and what is in it.
        StorageError: a file cannot be read.
    """
    if dataset.has_drawn_masks:
        return
    files: list[Shard] = []
    try:
        for shard in shards:
            if "masks" in known_format(shard.key).forms:
                _check_within(dataset, shard, samples)
            elif shard.label_uri:
                files.append(shard)
        _check_files(dataset, files)
    except LabelError as error:
        raise SpecificationError(f"labels.masks: {error}") from None


def _check_files(dataset: DatasetConfig, labelled: Sequence[Shard]) -> None:
    if not labelled:
        return
    uris = [str(shard.label_uri) for shard in labelled]
    are_stacks = has_stacks(dataset, labelled[0]) and not has_star(uris[0])
    if has_star(uris[0]):
        uris = [file.stored.uri for uri in uris for file in listed_files(uri)]
    check_kept(uris, dataset.labels, are_stacks)


def _check_within(dataset: DatasetConfig, shard: Shard, samples: Collection[str] | None) -> None:
    """Look at the masks of a container, all of them where the first is one that may hold more."""
    everything = dataset.model_copy(update={"split": None, "fold": None})
    job = UnitContext(everything, None, None, UnitAccounting("corrections"))
    try:
        items = known_format(shard.key).read((shard,), job)
        for number, item in enumerate(item for item in items if item.mask is not None):
            if isinstance(item.mask, bytes) and may_hold_more(item.mask):
                if samples is None or item.sample_id in samples:
                    check_stored(item.mask, dataset.labels, item.sample_id)
            elif number == 0:
                return
    except LabelError:
        raise
    except Exception as error:
        if not is_damage(error.cause if isinstance(error, BrokenOffError) else error):
            raise  # the container is left out of the copy otherwise


def _check_table(dataset: DatasetConfig) -> None:
    labels = dataset.labels
    given = str(getattr(labels, labels.form))
    if labels.form == "frames" and is_array_table(given) and not given.lower().endswith(NPY):
        raise SpecificationError(
            f"labels.frames: {given}: new labels are written into arrays in .npy files only; save "
            "the labels with numpy.save, or as a table"
        )
    if labels.form not in ("images", "videos"):
        return
    name = labels.columns.image if labels.form == "images" else labels.columns.video
    uri = str(getattr(labels, labels.form))
    if is_array_table(uri) or (labels.header is not None and name not in labels.header):
        raise SpecificationError(
            f"labels.{labels.form}: {uri} has no names of files, so that a copy of some of its "
            "labels could not be told apart; write a table with a column of names"
        )


def _first_lossy(shards: Sequence[Shard]) -> str | None:
    """A mask file that would not come back as it was; the template may end in a field."""
    ends = tuple(f".{extension}" for extension in LOSSLESS)
    uris = (shard.label_uri for shard in shards)
    return next((uri for uri in uris if uri and not uri.lower().endswith(ends)), None)


def write_labels(
    dataset: DatasetConfig,
    listing: Listing,
    changes: LabelChanges,
    to_uri: str,
    progress: Progress = lambda what, done, total: None,
) -> WrittenLabels:
    """Copy the labels of a dataset to a new place, with some of them changed.

    Nothing is written in place. Other columns, their order, the order of rows, and whether a label
    is a name or an index stay as they came; void and missing labels stay too. Labels that lie in
    the data (Parquet columns, npz arrays, tar members, class folders) take the data along.

    Args:
        dataset: whose labels.
        listing: its shards; those left out by a limit are not changed (label tables) or not
            copied (everything that is one file per shard).
        changes: the new labels.
        to_uri: an empty folder, local or of any store; gets `labels/` or `data/`.
        progress: told how far the work is.

    Raises:
        SpecificationError: see `check_writable`.
        LabelError: a new label has no place in the labels, or does not fit their format.
        StorageError: an object cannot be read or written.
    """
    check_writable(dataset, listing, to_uri)
    shards, damaged = _without_damaged(listing.shards)
    written = _written(dataset, shards, changes, to_uri, progress)
    return replace(written, left_out=damaged | dict(written.left_out))


def _without_damaged(shards: tuple[Shard, ...]) -> tuple[tuple[Shard, ...], dict[str, str]]:
    """The shards that can be read, and why others are not copied."""
    damaged = {s.key: "it cannot be read as a zip archive" for s in shards if is_damaged(s.key)}
    return tuple(shard for shard in shards if shard.key not in damaged), damaged


def _written(
    dataset: DatasetConfig,
    shards: tuple[Shard, ...],
    changes: LabelChanges,
    to_uri: str,
    progress: Progress,
) -> WrittenLabels:
    to_labels, to_data = below(to_uri, _LABELS), below(to_uri, _DATA)
    if dataset.labels.folder:
        return write_folders(dataset, shards, changes, to_data, progress)
    if dataset.labels.form in known_format(shards[0].key).forms:
        left_out = _write_shards(dataset, shards, changes, to_data, progress)
        return _copied_data(dataset, shards, to_data, left_out)
    if has_stacks(dataset, shards[0]):
        stacks = write_stacks(dataset, shards, changes, to_labels, progress)
        return replace(stacks, dataset=_with_data(stacks.dataset))
    if dataset.labels.masks:
        return WrittenLabels(
            _with_data(write_mask_files(dataset, shards, changes, to_labels, progress))
        )
    return WrittenLabels(_with_data(write_tables(dataset, shards, changes, to_labels, progress)))


def write_masks(
    dataset: DatasetConfig,
    shard: Shard,
    mask: MaskOf | None,
    to_uri: str,
    stored: MaskOf | None = None,
) -> dict[str, str]:
    """Write the masks of one shard, so that several can be written side by side.

    Args:
        dataset: with `labels.masks`.
        shard: an image with its mask file, or a Parquet or tar file.
        mask: as in `LabelChanges`; None to copy the shard's masks as they are.
        to_uri: as for `write_labels`, whose `check_writable` comes first.
        stored: gives the mask as it is, where it is drawn.

    Returns:
        What is not in the copy, and why: the shard, or `shard key#member`.

    Raises:
        LabelError: a new mask does not fit the format of the old one.
        StorageError: an object cannot be read or written.
    """
    if is_damaged(shard.key):
        return _without_damaged((shard,))[1]
    if has_stacks(dataset, shard):
        return write_sound_stack(dataset, shard, mask, below(to_uri, _LABELS))
    if "masks" not in known_format(shard.key).forms:
        if shard.label_uri is not None:
            new = None if mask is None else mask(Owner(shard.key))
            if dataset.has_drawn_masks:
                return _write_drawn(shard, new, stored, below(to_uri, _LABELS))
            write_mask_file(dataset.labels, shard, new, below(to_uri, _LABELS))
        return {}
    left_out: dict[str, str] = {}
    changes = LabelChanges() if mask is None else LabelChanges(mask=mask)
    _write_shard(dataset, shard, changes, below(to_uri, _DATA), mask is not None, left_out)
    return left_out


def _write_drawn(
    shard: Shard, mask: np.ndarray | None, stored: MaskOf | None, to_uri: str
) -> dict[str, str]:
    """The drawn mask of one image; a reason where it cannot be drawn."""
    try:
        write_drawn(shard, mask, stored, to_uri)
    except SampleError as error:
        return {shard.key: f"its mask cannot be drawn: {error}"}
    return {}


def written_masks(dataset: DatasetConfig, shards: tuple[Shard, ...], to_uri: str) -> WrittenLabels:
    """What `write_masks` of all shards has made."""
    shards = _without_damaged(shards)[0]
    if "masks" in known_format(shards[0].key).forms:
        to_data = below(to_uri, _DATA)
        written = {item.uri for item in storage.list_prefix(to_data)}
        gone = {s.key: "" for s in shards if storage.join(to_data, s.key) not in written}
        return _copied_data(dataset, shards, to_data, gone)
    return WrittenLabels(_with_data(copied_masks(dataset, below(to_uri, _LABELS))))


def _copied_data(
    dataset: DatasetConfig,
    shards: tuple[Shard, ...],
    to_data: str,
    left_out: Mapping[str, str],
) -> WrittenLabels:
    kept = tuple(shard for shard in shards if shard.key not in left_out)
    uri = copied_uri(dataset.uri, kept, absolute(to_data))
    return WrittenLabels(_placed(dataset, uri), left_out=left_out)


def _with_data(dataset: DatasetConfig) -> DatasetConfig:
    """The section with URIs that mean the same from every working directory."""
    uri = dataset.uri
    found = absolute(uri) if isinstance(uri, str) else [absolute(pattern) for pattern in uri]
    return _placed(dataset, found)


def _placed(dataset: DatasetConfig, uri: str | list[str]) -> DatasetConfig:
    changed: dict[str, Any] = {"uri": uri}
    if dataset.split is not None:
        changed["split"] = absolute(dataset.split)
    if dataset.episodes is not None:
        episodes = {"uri": absolute(dataset.episodes.uri)}
        changed["episodes"] = dataset.episodes.model_copy(update=episodes)
    return dataset.model_copy(update=changed)


def _write_shards(
    dataset: DatasetConfig,
    shards: tuple[Shard, ...],
    changes: LabelChanges,
    to_uri: str,
    progress: Progress,
) -> dict[str, str]:
    """Copy shards with their new labels; what had to be left out of the copy, and why."""
    touched = {owner.shard_key for owner in (*changes.frames, *changes.classes)}
    left_out, num_written = dict(changes.left_out), 0
    for num_done, shard in enumerate(shards):
        progress("writing files", num_done, len(shards))
        if shard.key not in left_out:
            is_touched = bool(dataset.labels.masks) or shard.key in touched
            num_written += _write_shard(dataset, shard, changes, to_uri, is_touched, left_out)
    num_expected = sum(owner.shard_key not in left_out for owner in changes.classes) + sum(
        len(change.frames)
        for owner, change in changes.frames.items()
        if owner.shard_key not in left_out
    )
    if not dataset.labels.masks and num_written != num_expected:
        raise LabelError(
            f"{num_expected - num_written} of {num_expected} new labels stand for samples "
            "that have no label"
        )
    return left_out


def _write_shard(
    dataset: DatasetConfig,
    shard: Shard,
    changes: LabelChanges,
    to_uri: str,
    is_touched: bool,
    left_out: dict[str, str],
) -> int:
    """Copy one shard; 0, and a reason in `left_out`, where it cannot be read to its end."""
    target, form = below(to_uri, shard.key), known_format(shard.key)
    try:
        if not is_touched and form.is_clean(shard):
            storage.copy(shard.uri, target)
            return 0
        return form.write(shard, dataset, changes, target, left_out)
    except Exception as error:
        if not is_damage(error):
            raise
        left_out[shard.key] = f"it cannot be read to its end: {error}"
        return 0
