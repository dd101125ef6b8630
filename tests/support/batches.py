"""Small batches for the tests of probes and engine."""

import numpy as np
import pyarrow as pa

from ray_audit.samples import IGNORE, SAMPLE_SCHEMA, Batch
from ray_audit.task import Task


def rows(num, **columns):
    values = {
        "sample_id": [f"s{i}" for i in range(num)],
        "shard": ["shard"] * num,
        "frame_index": [None] * num,
        "pts_s": [None] * num,
        "label": [None] * num,
        "cut": list(range(num)),
        "position": [0] * num,
        "num_labelled": [1] * num,
        "sample_num_labelled": [1] * num,
    }
    values.update(columns)
    return pa.table(values, schema=SAMPLE_SCHEMA)


def class_batch(inputs, labels):
    samples = rows(len(inputs), label=list(map(int, labels)))
    targets = np.asarray(labels, np.int8)
    return Batch("unit", 0, Task.CLASS, samples, {"inputs": inputs, "targets": targets})


def dense_batch(inputs, masks, **arrays):
    counts = [int((m != IGNORE).sum()) for m in masks]
    samples = rows(len(inputs), num_labelled=counts, sample_num_labelled=counts)
    arrays_by_name = {"inputs": inputs, "targets": np.asarray(masks, np.int8), **arrays}
    return Batch("unit", 0, Task.DENSE, samples, arrays_by_name)


def frames_batch(inputs, targets, owned):
    cut, position = np.nonzero(owned)
    samples = rows(
        len(cut),
        sample_id=[f"v#{c}.{t}" for c, t in zip(cut, position, strict=True)],
        frame_index=[int(t) for t in position],
        label=[int(targets[c, t]) for c, t in zip(cut, position, strict=True)],
        cut=cut.astype(int).tolist(),
        position=position.astype(int).tolist(),
    )
    arrays_by_name = {"inputs": inputs, "targets": np.asarray(targets, np.int8)}
    return Batch("unit", 0, Task.FRAMES, samples, arrays_by_name)
