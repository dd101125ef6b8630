"""Per-sample records of training itself: loss, probability and margin at no further forward pass.

These are train-mode values: taken while the weights change within the epoch, with batch statistics
and dropout. They are no substitute for an audit's trajectories, which look at all samples with the
same weights in eval mode.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from ray_audit import storage
from ray_audit.probes.dense import observe_pixels
from ray_audit.probes.masks import Masks
from ray_audit.probes.rows import Rows, observe_rows
from ray_audit.probes.transfer import download
from ray_audit.samples import Batch

_CHUNK_ROWS = 50_000
_VALUES = ("loss", "p_label", "margin")

RECORD_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("epoch", pa.int32()),
        ("label", pa.int32()),  # the given one; null for masks
        ("num_labelled", pa.int64()),  # elements of the row: of a tile, those that it owns
        *((name, pa.float64()) for name in _VALUES),  # of a mask the mean over these
    ],
    metadata={
        "mode": "train",
        "note": "values of the training pass itself: train mode, weights changing in the epoch",
    },
)

Add = Callable[[Batch, Tensor], None]


@contextmanager
def epoch_records(uri: str, epoch: int, num_classes: int) -> Iterator[Add]:
    """Write the records of an epoch, complete or not at all.

    Args:
        uri: Parquet file.
        epoch: from 1.
        num_classes: K.

    Yields:
        A function that takes each batch with its logits (N, K), (N, T, K) or (N, K, H, W).
    """
    tables: list[pa.Table] = []
    with storage.open_write(uri) as sink, pq.ParquetWriter(sink, RECORD_SCHEMA) as writer:

        def add(batch: Batch, logits: Tensor) -> None:
            tables.append(record_table(batch, logits, epoch, num_classes))
            if sum(table.num_rows for table in tables) >= _CHUNK_ROWS:
                writer.write_table(pa.concat_tables(tables))
                tables.clear()

        yield add
        if tables:
            writer.write_table(pa.concat_tables(tables))


def record_table(batch: Batch, logits: Tensor, epoch: int, num_classes: int) -> pa.Table:
    """Rows of one batch, against the given labels; `logits` of masks serve as scratch space."""
    num_labelled = batch.samples["num_labelled"].to_numpy()
    if batch.task.is_dense:
        masks = Masks.of(batch, logits.device)
        seen = observe_pixels(logits.detach().float().clone(), masks, batch, None)
        count = np.maximum(num_labelled, 1)
    else:
        rows = Rows.of(batch, logits.device)
        seen = observe_rows(logits, batch, rows, num_classes, final=False)
        count = np.ones_like(num_labelled)
    (observed,) = download([{name: seen[name] for name in _VALUES}])
    values = {name: observed[name] / count for name in _VALUES}
    columns = {
        "sample_id": batch.samples["sample_id"],
        "epoch": np.full(len(num_labelled), epoch, np.int32),
        "label": batch.samples["label"],
        "num_labelled": num_labelled,
        **values,
    }
    return pa.table(columns, schema=RECORD_SCHEMA)
