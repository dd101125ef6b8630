"""Label tables: a row per frame, image, video or segment; one table, or one file per video."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, pairwise

import numpy as np

from ray_audit import storage
from ray_audit.config import DatasetConfig, LabelsConfig
from ray_audit.errors import LabelError
from ray_audit.formats.contents import owner_names
from ray_audit.formats.label_changes import LabelChanges, Progress
from ray_audit.formats.labels.cells import text_of
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.clocks import LabelClock, rows_at
from ray_audit.formats.labels.copied_columns import Cells, Edit
from ray_audit.formats.labels.copying import copy_table
from ray_audit.formats.labels.indicators import edit_of_cells, label_cells
from ray_audit.formats.labels.names import OwnerNames
from ray_audit.formats.labels.relabel import is_label, relabelled
from ray_audit.formats.labels.segments import Segment, resegmented
from ray_audit.formats.labels.table_rows import TableLayout, layout_of, read_rows
from ray_audit.formats.labels.tables import tables_at
from ray_audit.formats.labels.text_tables import TextForm
from ray_audit.formats.places import absolute, below, file_below, template_tail
from ray_audit.sample_ids import Owner, shard_keys
from ray_audit.samples import Shard


@dataclass(frozen=True)
class _Table:
    """One file with labels: of many owners, or of one."""

    uri: str
    to_uri: str
    layout: TableLayout
    only: Owner | None = None

    @property
    def columns(self) -> dict[str, str]:
        names = {"name": self.layout.name_column} if self.layout.name_column else {}
        return {**names, **self.layout.number_columns, **label_cells(self.layout.label_column)}


def write_tables(
    dataset: DatasetConfig,
    shards: tuple[Shard, ...],
    changes: LabelChanges,
    to_uri: str,
    progress: Progress,
) -> DatasetConfig:
    """Copy label tables below `to_uri` with changed labels; other cells keep their bytes.

    A segment that changes in part is split; a changed part that meets a segment of the same
    label is merged with it, under the other columns of the segment that was there.

    Raises:
        LabelError: a new label has no place in the tables.
    """
    form = dataset.labels.form
    uri = str(getattr(dataset.labels, form))
    writer = _TableWriter(dataset, shards, changes)
    if "{" not in uri:
        (tail,), tables = shard_keys(uri, [uri]), tables_at(uri)
        copy = below(to_uri, tail)
        for num_done, (table, name) in enumerate(zip(tables, shard_keys(uri, tables), strict=True)):
            progress("writing labels", num_done, len(tables))
            layout = _layout_of(table, dataset.labels, True)
            writer.write(_Table(table, below(to_uri, name), layout))
    else:
        copy = storage.join(to_uri, template_tail(uri))
        for num_done, shard in enumerate(shards):
            progress("writing labels", num_done, len(shards))
            if shard.label_uri is not None:
                writer.write_file(shard, below(to_uri, file_below(uri, shard.label_uri)))
    writer.check_all_written()
    labels = dataset.labels.model_copy(update={form: absolute(copy)})
    return dataset.model_copy(update={"labels": labels})


class _TableWriter:
    def __init__(
        self, dataset: DatasetConfig, shards: tuple[Shard, ...], changes: LabelChanges
    ) -> None:
        self._dataset = dataset
        self._changes = changes
        self._classes = ClassNames.of(dataset)
        self._names: OwnerNames | None = None
        self._shards = shards
        self._num_written = 0
        self._twice: set[tuple[Owner, int] | None] = set()
        self._votes = lru_cache(maxsize=64)(self._count_votes)
        self._by_frame = lru_cache(maxsize=64)(self._frame_labels)
        self._find = lru_cache(maxsize=1024)(self._find_owner)

    def write_file(self, shard: Shard, to_uri: str) -> None:
        """Copy the label file of one video, byte for byte where nothing changes."""
        assert shard.label_uri is not None
        owner = Owner(shard.key)
        if owner not in self._changes.frames:
            storage.copy(shard.label_uri, to_uri)
            return
        labels = self._dataset.labels
        layout = _layout_of(shard.label_uri, labels, with_name=False)
        self.write(_Table(shard.label_uri, to_uri, layout, owner))

    def write(self, table: _Table) -> None:
        """Copy one table with its changes."""
        edit: Edit
        if "start" in table.layout.number_columns:
            edit = self._segment_edit(table)
        elif "frame" in table.layout.number_columns or table.layout.is_by_row:
            edit = self._frame_edit(table)
            if table.layout.in_seconds:
                edit = self._clock_edit(table)
        else:
            edit = self._class_edit(table)
        edit = edit_of_cells(edit, table.layout.label_column)
        copy_table(table.uri, table.to_uri, table.columns, edit, table.layout.text)

    def check_all_written(self) -> None:
        """Every change must have met a label."""
        changes = self._changes
        num_expected = len(changes.classes) + sum(
            len(frame.frames) for frame in changes.frames.values()
        )
        if self._num_written != num_expected:
            raise LabelError(
                f"{num_expected - self._num_written} of {num_expected} new labels stand for "
                f"samples that labels.{self._dataset.labels.form} does not label"
            )

    def _owner(self, table: _Table, cells: Cells) -> Owner | None:
        return table.only or self._find(_text(cells["name"]))

    def _find_owner(self, name: str) -> Owner | None:
        if self._names is None:
            self._names = owner_names(self._shards, self._dataset.labels, "name")
        return self._names.find(name)

    def _frame_labels(self, owner: Owner) -> dict[int, int]:
        change = self._changes.frames[owner]
        return dict(zip(change.frames.tolist(), change.labels.tolist(), strict=True))

    def _row_of(self, table: _Table, cells: Cells, rows: Iterator[int]) -> int:
        """Which of the labels' frames a row stands for, from 0."""
        if table.layout.is_by_row:
            return next(rows)
        return int(float(cells["frame"])) - table.layout.clock.first_frame

    def _frame_edit(self, table: _Table) -> Edit:
        rows = count()

        def edit(cells: Cells) -> list[Cells] | None:
            owner = self._owner(table, cells)
            if owner is None or owner not in self._changes.frames:
                return None
            frame = self._row_of(table, cells, rows)
            return self._replaced(cells, self._by_frame(owner).get(frame), (owner, frame))

        return edit

    def _clock_edit(self, table: _Table) -> Edit:
        """Rows that stand for a stretch of time each get the label that most frames in it get."""
        rows = count()

        def edit(cells: Cells) -> list[Cells] | None:
            owner = self._owner(table, cells)
            if owner is None or owner not in self._changes.frames:
                return None
            row = self._row_of(table, cells, rows)
            votes = self._votes(owner, table.layout.clock.fps or 1.0).get(row)
            if votes is None or not is_label(_label(cells), self._classes):
                return None
            num_frames, by_label = votes
            self._num_written += by_label.total()
            label, num = by_label.most_common(1)[0]
            if 2 * num <= num_frames:
                return None
            return [{"label": relabelled(_label(cells), label, self._classes)}]

        return edit

    def _count_votes(self, owner: Owner, fps: float) -> dict[int, tuple[int, Counter[int]]]:
        """Row -> how many frames it stands for, and how many of them get each new label."""
        middles_s = self._times(owner)[1]
        change = self._changes.frames[owner]
        num_frames = Counter(rows_at(middles_s, fps).tolist())
        votes: dict[int, tuple[int, Counter[int]]] = {}
        rows = rows_at(middles_s[change.frames], fps)
        for row, label in zip(rows.tolist(), change.labels.tolist(), strict=True):
            votes.setdefault(row, (num_frames[row], Counter()))[1][label] += 1
        return votes

    def _times(self, owner: Owner) -> tuple[np.ndarray, np.ndarray]:
        if self._changes.times is None:
            raise ValueError("labels in seconds need LabelChanges.times")
        return self._changes.times(owner)

    def _class_edit(self, table: _Table) -> Edit:
        def edit(cells: Cells) -> list[Cells] | None:
            owner = self._owner(table, cells)
            return self._replaced(cells, self._changes.classes.get(owner) if owner else None)

        return edit

    def _replaced(
        self, cells: Cells, new: int | None, sample: tuple[Owner, int] | None = None
    ) -> list[Cells] | None:
        old = _label(cells)
        if new is None or not is_label(old, self._classes):
            return None
        # A frame may have several rows, of which labels.overlap says which holds: all are changed.
        if self._dataset.labels.overlap == "error" or sample not in self._twice:
            self._num_written += 1
            self._twice.update([sample] if self._dataset.labels.overlap != "error" else [])
        return [{"label": relabelled(old, new, self._classes)}]

    def _segment_edit(self, table: _Table) -> Edit:
        replaced = self._resegmented(table)
        rows = count(1)

        def edit(cells: Cells) -> list[Cells] | None:
            new_rows = replaced.get(next(rows))
            if new_rows is None:
                return None
            return [self._stored(table.layout, cells, row) for row in new_rows]

        return edit

    def _stored(self, layout: TableLayout, cells: Cells, row: Cells) -> Cells:
        """The cells of a new row as the table stores them."""
        stored = dict(row)
        if "label" in row:
            stored["label"] = relabelled(_label(cells), row["label"], self._classes)
        for name in layout.number_columns:
            if name in row and (layout.is_timed or layout.clock != LabelClock()):
                stored[name] = layout.clock.stored(name, row[name], cells[name], layout.is_timed)
        return stored

    def _resegmented(self, table: _Table) -> dict[int, list[Cells]]:
        """Row number -> the rows that replace it; only segments of changed videos are held."""
        replaced: dict[int, list[Cells]] = {}
        for owner, segments in self._changed_segments(table).items():
            times = self._times(owner) if table.layout.in_seconds else None
            self._check_disjoint(table, owner, segments)
            new_rows, num_written = resegmented(segments, self._changes.frames[owner], times)
            if "length" in table.layout.number_columns:
                new_rows = dict(_with_lengths(segments, new_rows))
            replaced |= new_rows
            self._num_written += num_written
        return replaced

    def _check_disjoint(self, table: _Table, owner: Owner, segments: list[Segment]) -> None:
        in_order = sorted(segments, key=lambda segment: segment.start)
        if any(after.start < before.end for before, after in pairwise(in_order)):
            raise LabelError(
                f"{table.uri}: segments of {'#'.join(filter(None, owner))} overlap, and one cannot "
                "be cut without the other; cut them apart in the table (labels.overlap reads them)"
            )

    def _changed_segments(self, table: _Table) -> dict[Owner, list[Segment]]:
        segments: dict[Owner, list[Segment]] = defaultdict(list)
        for rows in read_rows(table.uri, table.layout, self._classes):
            owners = [table.only] if table.only else [self._find(name) for name in rows.names]
            for offset, code in enumerate(rows.name_codes.tolist()):
                owner = owners[code]
                if owner is not None and owner in self._changes.frames:
                    start, end = (float(rows.numbers[name][offset]) for name in ("start", "end"))
                    label = int(rows.labels[offset])
                    segments[owner].append(Segment(rows.first_row + offset, start, end, label))
        return segments


def _with_lengths(
    segments: list[Segment], replaced: dict[int, list[Cells]]
) -> Iterator[tuple[int, list[Cells]]]:
    """New rows of segments with the length of each in place of its end."""
    originals = {segment.row: segment for segment in segments}
    for number, rows in replaced.items():
        old = originals[number]
        for row in rows:
            if "start" in row or "end" in row:
                row["length"] = row.pop("end", old.end) - row.get("start", old.start)
        yield number, rows


def _layout_of(uri: str, labels: LabelsConfig, with_name: bool) -> TableLayout:
    return layout_of(
        uri, labels.form, labels.columns, with_name, LabelClock.of(labels), TextForm.of(labels)
    )


def _text(value: object) -> str:
    value = text_of(value)
    return "" if value is None else str(value).strip()


def _label(cells: Cells) -> str | bool:
    """The label of a row as it is parsed: a truth value as one, all else as text."""
    value = cells["label"]
    return value if isinstance(value, bool) else _text(value)
