"""What `dataset.split` names in containers, kept beside the label index.

Rows are sorted by shard, in small row groups: a reader reads those that can hold its shard.
"""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ray_audit import parquet_io, storage
from ray_audit.errors import LabelError
from ray_audit.sample_ids import Owner

INDEX = "split.parquet"
_ROW_GROUP_ROWS = 8_192
_SCHEMA = pa.schema([("shard", pa.string()), ("member", pa.string())])


def write_members(folder: Path, owners: Iterable[Owner]) -> None:
    """Write the names, by shard; an owner without a member stands for all of its shard."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = sorted(owners)
    columns = {"shard": [o.shard_key for o in rows], "member": [o.member for o in rows]}
    table = pa.table(columns, _SCHEMA)
    pq.write_table(table, folder / INDEX, row_group_size=_ROW_GROUP_ROWS, compression="zstd")


def read_members(index_uri: str | None, shard_key: str) -> frozenset[str]:
    """Names in one shard; the empty one where all of it is named.

    Raises:
        LabelError: no index is given.
        StorageError: it cannot be read.
    """
    if index_uri is None:
        raise LabelError(f"{shard_key}: what is named in it lies in the label index; give its URI")
    uri, found = storage.join(index_uri, INDEX), set[str]()
    with storage.open_read(uri) as stream, storage.explained("read", uri):
        table = parquet_io.open_file(stream)
        for group in range(table.num_row_groups):
            statistics = table.metadata.row_group(group).column(0).statistics
            if statistics.min <= shard_key <= statistics.max:
                rows = table.read_row_group(group)
                kept = rows.filter(pc.equal(rows["shard"], shard_key))
                found.update(kept["member"].to_pylist())
    return frozenset(found)
