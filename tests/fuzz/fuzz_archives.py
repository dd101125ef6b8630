"""Bytes as shards and checkpoints: batches and failures that add up, and no exception of others.

python -m tests.fuzz.fuzz_archives -max_total_time=120
"""

import contextlib
import io
import tarfile
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
from PIL import Image

from tests.fuzz.harness import atheris_or_exit, fuzz, scratch

atheris = atheris_or_exit()
with atheris.instrument_imports(include=["ray_audit.cuts", "ray_audit.sources"]):
    from ray_audit.checkpoints.file_tensors import read_state
    from ray_audit.config import DatasetConfig, InputConfig
    from ray_audit.cuts.batching import AUTO_BATCH
    from ray_audit.cuts.unit import cut_unit
    from ray_audit.errors import RayAuditError
    from ray_audit.samples import Shard, Tail, WorkUnit

LABELS = {
    ".tar": ("images", {"column": "cls"}),
    ".tar.gz": ("images", {"column": "cls"}),
    ".parquet": ("images", {"column": "label"}),
    ".npz": ("sequences", {"arrays": "{key}_label"}),
    ".png": ("images", {"folder": True}),
    ".safetensors": None,
    ".pt": None,
}
SUFFIXES = tuple(LABELS)
FOLDER = scratch()


def one_input(data):
    """The first byte chooses what the rest is taken for."""
    if not data:
        return
    suffix = SUFFIXES[data[0] % len(SUFFIXES)]
    path = FOLDER / f"x{suffix}"
    path.write_bytes(data[1:])
    if LABELS[suffix] is None:
        with contextlib.suppress(RayAuditError):
            read_state(str(path))
        return
    kind, labels = LABELS[suffix]
    values = {"kind": kind, "uri": str(path), "labels": labels, "classes": ["a", "b"]}
    config = DatasetConfig.model_validate(values | {"max_px": 1e6})
    shard = Shard(path.name, str(path), len(data) - 1, "etag", label_digest="inside", class_index=0)
    with contextlib.suppress(RayAuditError):
        *batches, tail = cut_unit(
            WorkUnit("0" * 32, (shard,)), config, InputConfig(), None, AUTO_BATCH
        )
        assert isinstance(tail, Tail)
        assert tail.num_batches == len(batches)


def good_files():
    """A small good file of each kind."""
    image, tar, gz, npz, weights, pickled, table = (io.BytesIO() for _ in range(7))
    Image.new("RGB", (4, 4)).save(image, "PNG")
    for stream, mode in ((tar, "w"), (gz, "w:gz")):
        with tarfile.open(fileobj=stream, mode=mode) as file:
            for name, content in (("0.png", image.getvalue()), ("0.cls", b"0")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
    pq.write_table(pa.table({"image": [image.getvalue()], "label": [0]}), table)
    np.savez(npz, s=np.zeros((3, 2), np.float32), s_label=np.zeros(3, np.int64))
    weights.write(safetensors.torch.save({"w": torch.zeros(2)}))
    torch.save({"w": torch.zeros(2)}, pickled)
    files = (tar, gz, table, npz, image, weights, pickled)
    return [bytes([index]) + file.getvalue() for index, file in enumerate(files)]


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # torch tells of pickles that it does not like
    fuzz(atheris, one_input, good_files())
