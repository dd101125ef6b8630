"""Lists the shards of a dataset and attaches their labels, without reading the data."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.config.categories import is_document
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.contents import owner_names
from ray_audit.formats.labels.array_tables import is_array_table
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.clocks import LabelClock
from ray_audit.formats.labels.index import IndexWriter, ShardLabels
from ray_audit.formats.labels.names import (
    fill_template,
    matched_groups,
    num_composed_otherwise,
)
from ray_audit.formats.labels.table_rows import LabelRows, TableLayout, layout_of, read_rows
from ray_audit.formats.labels.tables import tables_at
from ray_audit.formats.labels.text_tables import TextForm
from ray_audit.formats.places import fixed_folder
from ray_audit.formats.registry import format_in, formats, known_format
from ray_audit.formats.stacks.open_stack import check_template
from ray_audit.formats.stacks.pattern import has_star
from ray_audit.formats.zip_archives import is_damaged
from ray_audit.printable import few, plural
from ray_audit.samples import IGNORE, Shard
from ray_audit.sources.data_files import list_files
from ray_audit.sources.document_masks import with_drawn_masks, with_segments
from ray_audit.sources.episodes import with_episodes
from ray_audit.sources.etags import by_content, is_by_time, with_values
from ray_audit.sources.fold_shards import shards_in
from ray_audit.sources.in_order import labelled_in_order
from ray_audit.sources.mask_groups import with_mask_folders
from ray_audit.sources.matched_names import COMPOSED, Matcher
from ray_audit.sources.split import Split, split_of
from ray_audit.sources.tabled_masks import with_masks_of_table

_INSIDE = ("column", "folder", "arrays")  # forms that need a format of their own


@dataclass(frozen=True)
class Listing:
    """The shards of a dataset.

    Attributes:
        shards: sorted by key.
        notes: what the user should know: labels without a shard, shards without labels.
        labels_digest: changes when any label does.
        num_by_time: shards that are told apart by size and time of change alone: local files that
            are not small.
        num_left_out: shards beyond the limit that was asked for.
    """

    shards: tuple[Shard, ...]
    notes: tuple[str, ...]
    labels_digest: str
    num_by_time: int = 0
    num_left_out: int = 0


def list_dataset(dataset: DatasetConfig, index_dir: Path, limit: int | None = None) -> Listing:
    """List shards, check the labels in one pass, and write the label index where one is needed.

    Args:
        dataset: what to list.
        index_dir: local folder for the index of a label table, and of what a split names in
            containers; stays empty for other forms.
        limit: keep only the first shards by key.

    Raises:
        SpecificationError: a format that is not read, or two files with one key.
        LabelError: a label table is wrong; the message names file, row and value.
        StorageError: the store cannot be listed or read.
    """
    left_out: list[str] = []
    shards, unlisted = with_episodes(list_files(dataset, notes=left_out), dataset)
    _check_labels_form(dataset, shards)
    split = split_of(shards, dataset, index_dir)
    labelled, notes = _with_labels(dataset, shards, index_dir, split)
    notes = [*left_out, *unlisted, *notes]
    if split is not None:
        labelled, notes = split.shards(labelled), [*notes, *split.notes]
    labelled = shards_in(labelled, dataset.fold)
    kept = labelled[:limit]
    without = [shard.key for shard in kept if not shard.label_digest]
    if without:
        notes = [*notes, f"{plural(len(without), 'shard')} without labels: {few(without)}"]
    labels = [f"{shard.key}\x1e{shard.label_digest}" for shard in kept]
    digests = storage.digest(*labels, *([split.digest] if split else []))
    by_time = sum(is_by_time(shard.uri, shard.etag) for shard in kept)
    num_left_out = len(labelled) - len(kept)
    return Listing(tuple(kept), tuple(notes), digests, by_time, num_left_out)


def _check_labels_form(dataset: DatasetConfig, shards: list[Shard]) -> None:
    labels = dataset.labels
    readable = [shard for shard in shards if not is_damaged(shard.key)]
    if not readable:
        raise SpecificationError(
            f"dataset.uri: {few(s.uri for s in shards)} cannot be read as zip archives: they are "
            "damaged, or were cut off"
        )
    firsts = {format_in(dataset, shard.key): shard for shard in reversed(readable)}
    if dataset.kind == "images" and len(firsts) > 1:
        raise SpecificationError(
            f"dataset.uri: {few(shard.key for shard in firsts.values())} are of different "
            "formats (image files, Parquet, tar, volumes); give each its own specification"
        )
    fitting = [format_.name for format_ in formats() if labels.form in format_.forms]
    for form, shard in firsts.items():
        if form.holds_several and "{" in (labels.frames or labels.segments or ""):
            raise SpecificationError(
                f"labels.{labels.form}: one file per shard does not go with {shard.key}, which "
                "holds several sequences; use one table, or labels.arrays"
            )
        if labels.form in _INSIDE and labels.form not in form.forms:
            raise SpecificationError(
                f"labels.{labels.form} does not go with {shard.key}: it needs files of "
                f"{' or '.join(fitting)}"
            )
        if form.holds_several and labels.match is not None and "arrays" not in form.forms:
            raise SpecificationError(
                f"labels.match goes with one file per sample; {shard.key} holds several"
            )
        if dataset.volume is not None and not (form.is_volume or form.takes_window):
            raise SpecificationError(
                "dataset.volume goes with volumes (NIfTI, MetaImage, NRRD, DICOM, pages of TIFF "
                f"and GIF), and {shard.key} is none; leave the key out"
            )
        form.check(shard, labels)
        is_named = "arrays" in form.forms  # HDF5 has folders within
        if "masks" in form.forms and "/" in (labels.masks or "") and not is_named:
            raise SpecificationError(
                f"labels.masks: masks of {form.name} files lie in the same files; name the "
                "member ('{key}.mask.png') or the column, without a folder"
            )


def _with_labels(
    dataset: DatasetConfig, shards: list[Shard], index_dir: Path, split: Split | None
) -> tuple[list[Shard], list[str]]:
    labels = dataset.labels
    if labels.folder:
        return _from_folders(dataset, shards), []
    form = known_format(next(shard.key for shard in shards if not is_damaged(shard.key)))
    if labels.form in form.forms:
        # The labels lie in the shard itself: they change when it does.
        return [
            replace(shard, label_digest=storage.digest(shard.size_bytes, shard.etag))
            for shard in shards
        ], []
    uri = str(getattr(labels, labels.form))
    if is_document(labels.masks):
        return with_drawn_masks(dataset, shards, index_dir)
    if labels.has_mask_table:
        return with_masks_of_table(dataset, shards)
    if "{" in uri:
        found, notes = _from_files(dataset, shards, uri)
        if labels.document is None:
            return found, notes
        found, more = with_segments(dataset, found, index_dir)
        return found, [*notes, *more]
    if labels.masks:
        raise SpecificationError(
            f"labels.masks: {uri} names one file for all images; use {{stem}}, {{path}}, {{name}}, "
            "{folder} or {key} in it, the groups of labels.match, or a table of images and masks"
        )
    if labels.form == "videos" or (labels.form == "images" and not form.holds_several):
        return _from_short_table(dataset, shards, uri)
    return _from_table(dataset, shards, uri, index_dir, split)


def _from_folders(dataset: DatasetConfig, shards: list[Shard]) -> list[Shard]:
    classes, match = ClassNames.of(dataset), dataset.labels.match
    if match is not None and all(matched_groups(match, shard.key) is None for shard in shards):
        raise LabelError(
            f"labels.match: {match!r} is found in none of the {len(shards)} keys; the first is "
            f"{shards[0].key}"
        )
    known: dict[str, int] = {}  # each folder's name is looked up once
    return [_from_folder(shard, classes, match, known) for shard in shards]


def _from_folder(
    shard: Shard, classes: ClassNames, match: str | None, known: dict[str, int]
) -> Shard:
    if is_damaged(shard.key):
        return shard
    groups = matched_groups(match, shard.key)
    if groups is None:
        return replace(shard, num_labelled=0)
    folder = shard.uri.replace("\\", "/").rstrip("/").rsplit("/", 2)[-2]
    name = groups.get("1", folder)
    try:
        index = known[name] if name in known else known.setdefault(name, classes.parse(name))
    except ValueError as error:
        what = "folder" if match is None else "name"
        raise LabelError(f"{shard.key}: its {what}: {error}") from None
    return replace(
        shard, class_index=index, label_digest=str(index), num_labelled=_num_labels(index)
    )


def _num_labels(class_index: int) -> int:
    return 0 if class_index == IGNORE else 1


def _from_files(
    dataset: DatasetConfig, shards: list[Shard], template: str
) -> tuple[list[Shard], list[str]]:
    """One label file a shard: found by one listing of the folder that holds them."""
    folder = fixed_folder(template)
    stored = {item.uri: item for item in storage.list_prefix(folder)}
    if dataset.labels.masks:
        check_template(template, dataset.kind, known_format(shards[0].key).is_volume)
    tables, notes = _label_tables(dataset, shards, template)
    shared = [uri for uri, count in Counter(tables).items() if count > 1 and uri]
    if shared:
        raise LabelError(
            f"labels.{dataset.labels.form}: {plural(len(shared), 'label file')} would be shared "
            f"by several files: {few(shared)}. Use {{path}} (folders too) or {{name}}"
        )
    if has_star(template):
        classes = None if dataset.kind == "video" else ClassNames.of(dataset)
        found, absent = with_mask_folders(shards, tables, stored, classes)
        _check_first_file(dataset, found, next(filter(None, tables)), "")
        return found, [*notes, *absent]
    found = []
    there = by_content([stored[uri] for uri in tables if uri in stored])
    read = {item.uri: item for item in with_values(there)}
    for shard, uri in zip(shards, tables, strict=True):
        item = read.get(uri)
        label_digest = storage.digest(item.size_bytes, item.etag) if item else ""
        label_uri = item.uri if item else None
        found.append(replace(shard, label_uri=label_uri, label_digest=label_digest))
    num = num_composed_otherwise((uri for uri in tables if uri and uri not in stored), stored)
    hint = f"{num} of the label files' names {COMPOSED}; rename them" if num else ""
    _check_first_file(dataset, found, next(filter(None, tables)), hint)
    return found, [*notes, hint] if hint else notes


def _label_tables(
    dataset: DatasetConfig, shards: list[Shard], template: str
) -> tuple[list[str], list[str]]:
    """The label file of each shard, empty where `labels.match` is not found; and a note on those.

    Raises:
        LabelError: it is found in none.
    """
    match = dataset.labels.match
    groups = [matched_groups(match, shard.key) for shard in shards]
    without = [shard.key for shard, found in zip(shards, groups, strict=True) if found is None]
    if len(without) == len(shards):
        raise LabelError(
            f"labels.match: {match!r} is found in none of the {len(shards)} keys; the first is "
            f"{shards[0].key}"
        )
    tables = [
        "" if found is None else _stored_uri(fill_template(template, shard.key, found))
        for shard, found in zip(shards, groups, strict=True)
    ]
    if not without:
        return tables, []
    return tables, [f"labels.match is not found in {plural(len(without), 'key')}: {few(without)}"]


def _stored_uri(uri: str) -> str:
    """The URI as a listing shows it."""
    fs, path = storage.filesystem(uri)
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    return path if protocol == "file" else f"{protocol}://{path}"


def _check_first_file(
    dataset: DatasetConfig, shards: list[Shard], expected: str, hint: str
) -> None:
    first = next((shard.label_uri for shard in shards if shard.label_uri), None)
    if first is None:
        raise LabelError(
            f"labels.{dataset.labels.form}: no label file found for any of {len(shards)} files; "
            f"the first looked for was {expected}"
            f"{hint and f'. {hint}'}"
        )
    if dataset.labels.masks is None:
        layout = _layout_of(first, dataset, with_name=False)
        _check_unit(dataset, first, layout)
        for _ in read_rows(first, layout, ClassNames.of(dataset)):
            pass


def _from_short_table(
    dataset: DatasetConfig, shards: list[Shard], uri: str
) -> tuple[list[Shard], list[str]]:
    """A table with one row per shard: its label travels with the shard, and needs no index."""
    layout = _layout_of(uri, dataset, with_name=True)
    if layout.name_column is None or is_array_table(uri):
        in_order = replace(layout, name_column=None)
        return labelled_in_order(uri, in_order, dataset, shards), []
    matcher = Matcher(uri, owner_names(shards, dataset.labels, layout.name_column))
    found: dict[str, tuple[int, int]] = {}
    lost: Counter[str] = Counter()
    for rows in read_rows(uri, layout, ClassNames.of(dataset)):
        owners = matcher.match(rows)
        for offset, (code, label) in enumerate(zip(rows.name_codes, rows.labels, strict=True)):
            owner, row = owners[code], rows.first_row + offset
            if owner is None:
                continue
            if owner.member:  # in an archive that cannot be read
                lost[owner.shard_key] += int(label) != IGNORE
                continue
            if owner.shard_key in found:
                raise LabelError(
                    f"{uri}: rows {found[owner.shard_key][1]} and {row}: {owner.shard_key} is "
                    "labelled twice; keep one of the rows"
                )
            found[owner.shard_key] = (int(label), row)
    notes = matcher.notes(dataset, shards, any_found=bool(found or lost))
    labelled = [_with_class(shard, found.get(shard.key)) for shard in shards]
    return [replace(s, num_labelled=lost[s.key]) if s.key in lost else s for s in labelled], notes


def _with_class(shard: Shard, found: tuple[int, int] | None) -> Shard:
    if found is None:
        return replace(shard, num_labelled=0)
    index = found[0]
    return replace(
        shard, class_index=index, label_digest=str(index), num_labelled=_num_labels(index)
    )


def _layout_of(uri: str, dataset: DatasetConfig, with_name: bool) -> TableLayout:
    labels = dataset.labels
    return layout_of(
        uri, labels.form, labels.columns, with_name, LabelClock.of(labels), TextForm.of(labels)
    )


def _check_unit(dataset: DatasetConfig, uri: str, layout: TableLayout) -> None:
    if layout.in_seconds and dataset.kind == "sequences" and dataset.fps is None:
        columns = dataset.labels.columns
        raise LabelError(
            f"{uri}: its labels are in seconds, but feature sequences have no clock; give "
            f"dataset.fps, their frames a second, or {columns.start_frame} and {columns.end_frame}"
        )


def _from_table(
    dataset: DatasetConfig, shards: list[Shard], uri: str, index_dir: Path, split: Split | None
) -> tuple[list[Shard], list[str]]:
    """One table for all, or several: one pass that checks it and divides it by shard."""
    tables = tables_at(uri)
    layout = _layout_of(tables[0], dataset, with_name=True)
    if layout.name_column is None and not layout.numbers:
        raise LabelError(f"{uri}: labels.header has no {dataset.labels.columns.image}")
    _check_unit(dataset, tables[0], layout)
    matcher = Matcher(uri, owner_names(shards, dataset.labels, layout.name_column or ""))
    overlap = dataset.labels.overlap
    writer = IndexWriter(index_dir, layout.numbers, layout.in_seconds, overlap)
    classes = ClassNames.of(dataset)
    for table in tables:
        writer.begin(table)
        for rows in read_rows(table, layout, classes):
            matched = matcher.match(rows)
            owners = [o if o and (split is None or split.has(o)) else None for o in matched]
            codes = [-1 if o is None else writer.code_of(o) for o in owners]
            _add_matched(writer, rows, np.array(codes, np.int64)[rows.name_codes])
    if is_array_table(tables[0]):
        matcher.check_count()
    found = writer.finish()
    if not found:
        matcher.check_any_left(split is not None, writer.num_dropped)
    notes = matcher.notes(dataset, shards, any_found=bool(found))
    if writer.num_dropped:
        notes.append(f"labels.overlap: drop leaves {plural(writer.num_dropped, 'row')} out")
    return [_described(shard, found.get(shard.key)) for shard in shards], notes


def _add_matched(writer: IndexWriter, rows: LabelRows, codes: np.ndarray) -> None:
    kept = np.flatnonzero(codes >= 0)
    if len(kept):
        numbers = {name: values[kept] for name, values in rows.numbers.items()}
        writer.add(codes[kept], kept + rows.first_row, numbers, rows.labels[kept])


def _described(shard: Shard, labels: ShardLabels | None) -> Shard:
    if labels is None:
        return replace(shard, num_labelled=0)
    return replace(shard, label_digest=labels.digest, num_labelled=labels.num_labelled)
