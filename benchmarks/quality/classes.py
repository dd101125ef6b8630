"""Sets with one label an image: CIFAR-10N (human labels) and the test digits of MNIST."""

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from benchmarks.quality.batches import model_input
from benchmarks.quality.case import Case, Part, folds
from ray_audit.config import InputConfig
from ray_audit.training.noise import TruthRow, corrupt_classes, truth_table

_NUM_CLASSES = 10
_IDX_HEADER_BYTES = 16


def cifar_case(
    data: Path,
    folder: Path,
    seed: int,
    *,
    num_rows: int = 10_000,
    num_folds: int = 0,
    first_row: int = 0,
    width: int = 32,
) -> Case:
    """The first rows of CIFAR-10 with the labels of one annotator each, and the true ones."""
    source = pq.read_table(next((data / "cifar10n").glob("*.parquet")))
    source = source[first_row : first_row + num_rows]
    given = np.asarray(source["random_label1"].to_pylist())
    true = np.asarray(source["clean_label"].to_pylist())
    kinds = ["human" if wrong else None for wrong in given != true]
    contents = source["image"].to_pylist()
    scaling = {"mean": [0.49, 0.48, 0.45], "std": [0.25, 0.24, 0.26]}
    return _case(folder, contents, given, true, kinds, scaling, 3, width, num_folds, seed)


def mnist_case(data: Path, folder: Path, seed: int, *, num_folds: int = 0) -> Case:
    """The 10,000 test digits; wrong are the 15 that people judged so, right all others."""
    source = data / "mnist_errors"
    with gzip.open(source / "t10k-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(), np.uint8, offset=_IDX_HEADER_BYTES)
    with (source / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    given = np.array([int(row["given_label"]) for row in rows])
    kinds = [row["mturk_verdict"] if row["mturk_error"] == "1" else None for row in rows]
    # What a wrong digit really is, is not always known: only that it is not the given one.
    true = np.where([kind is not None for kind in kinds], -1, given)
    contents = [_png(image) for image in pixels.reshape(-1, 28, 28)]
    scaling = {"mean": [0.13], "std": [0.31]}
    return _case(folder, contents, given, true, kinds, scaling, 1, 16, num_folds, seed)


def digit_case(
    data: Path, folder: Path, seed: int, *, num_rows: int, rate: float, num_folds: int = 0
) -> Case:
    """Some test digits, the same share of errors each of `symmetric` and `asymmetric`."""
    source = data / "mnist_errors"
    with gzip.open(source / "t10k-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(), np.uint8, offset=_IDX_HEADER_BYTES)
    with (source / "labels.csv").open(newline="", encoding="utf-8") as stream:
        true = np.array([int(row["given_label"]) for row in csv.DictReader(stream)])
    rows = np.random.default_rng([seed, 81]).permutation(len(true))[:num_rows]
    images, true = pixels.reshape(-1, 28, 28)[rows], true[rows]
    wrong = corrupt_classes(true, _NUM_CLASSES, rate, ("symmetric", "asymmetric"), seed)
    kinds = [row.kind for row in wrong.truth]
    contents = [_png(image) for image in images]
    scaling = {"mean": [0.13], "std": [0.31]}
    return _case(folder, contents, wrong.labels, true, kinds, scaling, 1, 8, num_folds, seed)


def _png(pixels: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "png")
    return sink.getvalue()


def _pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _case(
    folder: Path,
    contents: list[bytes],
    given: np.ndarray,
    true: np.ndarray,
    kinds: list[str | None],
    scaling: dict[str, list[float]],
    channels: int,
    width: int,
    num_folds: int,
    seed: int,
) -> Case:
    everything = np.arange(len(contents))
    splits = [(everything, everything)]
    if num_folds:
        splits = folds(len(contents), num_folds, seed)
    keys = [""] * len(contents)
    parts = []
    for fold, (trained, audited) in enumerate(splits):
        file = f"part{fold}.parquet"
        _write(folder / file, audited, contents, given)
        for i in audited.tolist():
            keys[i] = f"{file}#{i}"
        parts.append(Part(f"part{fold}", str(folder / file), trained, audited, fold))
    config = InputConfig(**scaling)
    truth = [
        TruthRow(key, kind is not None, kind, int(label))
        for key, kind, label in zip(keys, kinds, true, strict=True)
    ]
    return Case(
        dataset={
            "kind": "images",
            "labels": {"column": "label", "image_column": "image", "key_column": "key"},
            "classes": [str(i) for i in range(_NUM_CLASSES)],
        },
        model={
            "factory": "ray_audit.training.models:small_cnn",
            "kwargs": {"num_classes": _NUM_CLASSES, "in_channels": channels, "width": width},
            "input": scaling,
        },
        inputs=[torch.from_numpy(model_input(_pixels(content), config)) for content in contents],
        targets=[torch.tensor(label) for label in given.tolist()],
        keys=keys,
        truth=truth_table(truth),
        parts=parts,
    )


def _write(path: Path, chosen: np.ndarray, contents: list[bytes], given: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "key": pa.array([str(i) for i in chosen], pa.string()),
        "image": pa.array([contents[i] for i in chosen], pa.binary()),
        "label": pa.array(given[chosen], pa.int64()),
    }
    pq.write_table(pa.table(columns), path, row_group_size=1000)
