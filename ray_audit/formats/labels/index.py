"""The label index: one table of all labels, split so that a task reads only its shard's part.

Rows go to one of 64 buckets by a hash of their shard, first as a spill and then, sorted by
shard, as a Parquet file with small row groups. A reader opens one bucket and only the row
groups that can hold its shard.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ray_audit import parquet_io, storage
from ray_audit.config import Overlap
from ray_audit.errors import LabelError
from ray_audit.formats.labels.overlaps import chosen_frames, disjoint
from ray_audit.sample_ids import Owner
from ray_audit.samples import IGNORE, Shard

_NUM_BUCKETS = 64
_SPILL_ROWS = 16_384
_ROW_GROUP_ROWS = 8_192
_IN_SECONDS = b"in_seconds"


@dataclass(frozen=True)
class ShardLabels:
    """What the index holds of one shard.

    Attributes:
        digest: changes when its labels do.
        num_labelled: labelled samples, void ones left out; None where only the decoder knows.
    """

    digest: str
    num_labelled: int | None


def bucket_of(shard_key: str) -> int:
    """The bucket of a shard, 0 to 63."""
    return hashlib.sha256(shard_key.encode()).digest()[-1] % _NUM_BUCKETS


def bucket_name(bucket: int) -> str:
    """File name of a bucket below the index."""
    return f"labels_{bucket:02d}.parquet"


def read_index(index_uri: str, shard_key: str) -> pa.Table:
    """The labels of one shard.

    Returns:
        Columns `shard`, `part` (array or member, else ""), then `frame` (int64), or `start` and
        `end` (float64; seconds where the schema's metadata says `in_seconds`), then `label`
        (int32, `IGNORE` where void); sorted by part, then frame or start.

    Raises:
        StorageError: the bucket is not there or cannot be read.
    """
    uri = storage.join(index_uri, bucket_name(bucket_of(shard_key)))
    with storage.open_read(uri) as stream, storage.explained("read", uri):
        # A file object, and not a name: the store's credentials are fsspec's.
        table = parquet_io.open_file(stream)
        groups = [i for i in range(table.num_row_groups) if _may_hold(table, i, shard_key)]
        rows = table.read_row_groups(groups)
    return rows.filter(pc.equal(rows["shard"], shard_key))


def index_rows(shard: Shard, index_uri: str | None) -> pa.Table | None:
    """The index rows of a shard, or None where it has no labels."""
    if not shard.label_digest or shard.label_uri is not None:
        return None
    if index_uri is None:
        raise LabelError(f"{shard.key}: its labels are in the label index; give its URI")
    return read_index(index_uri, shard.key)


def is_in_seconds(rows: pa.Table) -> bool:
    """Whether the segments of an index table are in seconds."""
    return _IN_SECONDS in (rows.schema.metadata or {})


def _may_hold(table: pq.ParquetFile, group: int, shard_key: str) -> bool:
    statistics = table.metadata.row_group(group).column(0).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= shard_key <= statistics.max)


class IndexWriter:
    """Collects label rows of any order and size, and writes the index.

    Args:
        folder: an empty or new local folder.
        numbers: names of the number columns: `frame`, or `start` and `end`, or none.
        in_seconds: whether segments are in seconds.
        overlap: what holds where rows claim one frame.

    Attributes:
        num_dropped: rows of which `overlap: drop` leaves nothing, once it has finished.
    """

    def __init__(
        self,
        folder: Path,
        numbers: tuple[str, ...],
        in_seconds: bool,
        overlap: Overlap = "error",
    ) -> None:
        self._overlap = overlap
        self._folder = folder
        self._numbers = numbers
        self._in_seconds = in_seconds
        self._owners: dict[Owner, int] = {}
        self._buckets: list[int] = []  # of each owner
        self._unwritten: dict[int, list[pa.RecordBatch]] = {}
        self._spills: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        self._tables: list[tuple[str, int]] = []  # and how many rows lie before each
        self._num_rows = 0
        self.num_dropped = 0
        folder.mkdir(parents=True, exist_ok=True)

    def code_of(self, owner: Owner) -> int:
        """A small number for an owner, as `add` takes it."""
        code = self._owners.setdefault(owner, len(self._owners))
        if code == len(self._buckets):
            self._buckets.append(bucket_of(owner.shard_key))
        return code

    def begin(self, table: str) -> None:
        """What is added from now on are rows of this table, behind all that were there before."""
        self._tables.append((table, self._num_rows))

    def add(
        self,
        codes: np.ndarray,
        rows: np.ndarray,
        numbers: Mapping[str, np.ndarray],
        labels: np.ndarray,
    ) -> None:
        """Take rows: owner codes (R,), row numbers (R,), number columns (R,), labels (R,).

        Row numbers are those in the table that was begun last, ascending.
        """
        rows = rows + self._tables[-1][1]
        self._num_rows = int(rows[-1])
        batch = pa.RecordBatch.from_pydict(
            {"owner": codes.astype(np.int32), "row": rows.astype(np.int64)}
            | {name: numbers[name].astype(np.float64) for name in self._numbers}
            | {"label": labels.astype(np.int32)}
        )
        buckets = np.asarray(self._buckets, np.int64)[codes]
        for bucket in np.unique(buckets):
            part = batch.take(pa.array(np.flatnonzero(buckets == bucket)))
            self._hold(int(bucket), part)

    def finish(self) -> dict[str, ShardLabels]:
        """Sort, check and write every bucket.

        Returns:
            What is known of each shard that has labels.

        Raises:
            LabelError: two labels for one frame, video or image; or segments that overlap.
        """
        owners = list(self._owners)
        rank = np.empty(len(owners), np.int64)
        rank[sorted(range(len(owners)), key=owners.__getitem__)] = np.arange(len(owners))
        names = pa.table(
            {"shard": [o.shard_key for o in owners], "part": [o.member for o in owners]}
        )
        found: dict[str, ShardLabels] = {}
        for bucket in sorted({*self._unwritten, *self._spills}):
            table = self._sorted(self._collect(bucket), rank)
            table = self._resolved(table)
            self._check(table, owners)
            indexed = self._named(table, names)
            path = self._folder / bucket_name(bucket)
            pq.write_table(indexed, path, row_group_size=_ROW_GROUP_ROWS, compression="zstd")
            found |= self._describe(indexed)
        return found

    def _hold(self, bucket: int, batch: pa.RecordBatch) -> None:
        batches = self._unwritten.setdefault(bucket, [])
        batches.append(batch)
        if sum(part.num_rows for part in batches) < _SPILL_ROWS:
            return
        if bucket not in self._spills:
            path = self._spill_path(bucket)
            self._spills[bucket] = pa.ipc.new_stream(str(path), batch.schema)
        for part in batches:
            self._spills[bucket].write_batch(part)
        batches.clear()

    def _spill_path(self, bucket: int) -> Path:
        return self._folder / f"spill_{bucket:02d}.arrows"

    def _collect(self, bucket: int) -> pa.Table:
        parts = (
            [pa.Table.from_batches(self._unwritten.pop(bucket))]
            if self._unwritten.get(bucket)
            else []
        )
        if bucket in self._spills:
            self._spills.pop(bucket).close()
            path = self._spill_path(bucket)
            with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
                parts.insert(0, reader.read_all())
            path.unlink()
        return pa.concat_tables(parts)

    def _sorted(self, table: pa.Table, rank: np.ndarray) -> pa.Table:
        keys = [table["row"].to_numpy()]
        if self._numbers:
            keys.append(table[self._numbers[0]].to_numpy())
        keys.append(rank[table["owner"].to_numpy()])
        return table.take(pa.array(np.lexsort(keys)))

    def _resolved(self, table: pa.Table) -> pa.Table:
        """The sorted table without overlaps, where the specification says what holds."""
        if self._overlap == "error" or not self._numbers:
            return table
        codes = table["owner"].to_numpy()
        if "end" not in self._numbers:
            kept = chosen_frames(codes, table[self._numbers[0]].to_numpy(), self._overlap)
            self._count_dropped(table, kept)
            return table.take(pa.array(kept))
        edges = (table["start"].to_numpy(), table["end"].to_numpy())
        at, starts, ends = disjoint(codes, *edges, table["row"].to_numpy(), self._overlap)
        self._count_dropped(table, at)
        taken = table.take(pa.array(at))
        for name, values in (("start", starts), ("end", ends)):
            taken = taken.set_column(taken.column_names.index(name), name, pa.array(values))
        return taken

    def _count_dropped(self, table: pa.Table, kept: np.ndarray) -> None:
        if self._overlap == "drop":
            self.num_dropped += table.num_rows - len(np.unique(kept))

    def _check(self, table: pa.Table, owners: list[Owner]) -> None:
        """Neighbours in the sorted table must not claim the same frame."""
        codes = table["owner"].to_numpy()
        clash = codes[1:] == codes[:-1]
        if "end" in self._numbers:
            clash &= table["start"].to_numpy()[1:] < table["end"].to_numpy()[:-1]
        elif self._numbers:
            frames = table[self._numbers[0]].to_numpy()
            clash &= frames[1:] == frames[:-1]
        at = np.flatnonzero(clash)
        if len(at):
            first, second = (table.slice(int(at[0]) + i, 1).to_pylist()[0] for i in (0, 1))
            raise LabelError(self._clash_message(first, second, owners))

    def _clash_message(
        self, first: dict[str, float], second: dict[str, float], owners: list[Owner]
    ) -> str:
        where = "#".join(filter(None, owners[int(first["owner"])]))
        rows = self._told(int(first["row"]), int(second["row"]))
        if "end" in self._numbers:
            spans = " and ".join(f"{r['start']:g}-{r['end']:g}" for r in (first, second))
            return f"{rows}: segments {spans} of {where} overlap (labels.overlap)"
        what = f"frame {first['frame']:g} of {where}" if self._numbers else where
        twice = f"{what} is labelled twice; keep one of the rows (labels.overlap)"
        return f"{rows}: {twice}"

    def _told(self, first: int, second: int) -> str:
        """Where two rows lie."""
        (table, row), (other, other_row) = self._place(first), self._place(second)
        if table == other:
            return f"{table}: rows {row} and {other_row}"
        return f"{table}, row {row}, and {other}, row {other_row}"

    def _place(self, row: int) -> tuple[str, int]:
        """The table of a row, and its number there."""
        table, before = next(item for item in reversed(self._tables) if item[1] < row)
        return table, row - before

    def _named(self, table: pa.Table, names: pa.Table) -> pa.Table:
        """The table as it is written: names in place of owner codes."""
        columns = dict(zip(names.column_names, names.take(table["owner"]).columns, strict=True))
        for name in self._numbers:
            columns[name] = table[name].cast(pa.int64()) if name == "frame" else table[name]
        columns["label"] = table["label"]
        metadata = {_IN_SECONDS: b"1"} if self._in_seconds else None
        return pa.table(columns).replace_schema_metadata(metadata)

    def _describe(self, indexed: pa.Table) -> dict[str, ShardLabels]:
        codes = pc.run_end_encode(indexed["shard"].combine_chunks())
        start, found = 0, {}
        for key, stop in zip(codes.values.to_pylist(), codes.run_ends.to_pylist(), strict=True):
            part = indexed.slice(start, stop - start)
            found[key] = ShardLabels(self._digest(part), self._count(part))
            start = stop
        return found

    def _digest(self, part: pa.Table) -> str:
        content = hashlib.sha256(b"s" if self._in_seconds else b"f")
        for name in part.column_names[1:]:
            values = part[name].to_numpy()
            if values.dtype == object:
                content.update("\x1f".join(values).encode())
            else:
                content.update(np.ascontiguousarray(values).tobytes())
        return content.hexdigest()[:32]

    def _count(self, part: pa.Table) -> int | None:
        labelled = part["label"].to_numpy() != IGNORE
        if "end" not in self._numbers:
            return int(labelled.sum())
        if self._in_seconds:
            return None
        spans = zip(part["start"].to_numpy(), part["end"].to_numpy(), strict=True)
        counts = [max(0, int(np.ceil(e - 0.5) - np.ceil(s - 0.5))) for s, e in spans]
        return int(np.asarray(counts)[labelled].sum())
