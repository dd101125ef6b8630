"""Files that hold several samples with their labels: Parquet, Arrow, tar and arrays."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa

from ray_audit import storage
from ray_audit.discovery.array_containers import labelled_arrays
from ray_audit.discovery.class_names import names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.label_classes import classes_of
from ray_audit.discovery.label_columns import reading_of
from ray_audit.discovery.masked_arrays import masked_arrays
from ray_audit.discovery.name_pairs import folder_pattern
from ray_audit.discovery.sequence_arrays import labelled_sequences
from ray_audit.discovery.table_heads import Head, read_heads
from ray_audit.discovery.tree import Tree, extension, folder_of
from ray_audit.discovery.words import CLASS_MEMBERS, MASK_MEMBERS
from ray_audit.errors import RayAuditError
from ray_audit.formats.images import EXTENSIONS
from ray_audit.formats.parquet import ParquetImages
from ray_audit.formats.registry import format_of

_HEAD_BYTES = 8 * 2**20
_BROKEN = (RayAuditError, OSError, ValueError, KeyError, TypeError, pa.ArrowException)
_TWO = ("background", "foreground")


def container_proposals(tree: Tree) -> Iterator[Guess]:
    """Datasets in containers, the likeliest first."""
    readers = (
        ("Parquet", _parquet),
        ("Arrow", _parquet),
        ("tar", _tar),
        ("npz", _arrays),
        ("HDF5", _arrays),
        *((name, _masked) for name in ("npz", "HDF5", "MATLAB")),
        ("npz", _npz),
        *((name, _sequences) for name in ("npz", "HDF5", "MATLAB")),
    )
    for name, read in readers:
        files = [path for path in tree.files if _is_of(path, name)]
        if not files:
            continue
        with suppress(*_BROKEN, tarfile.TarError):
            proposal = read(tree, files)
            if proposal is not None:
                yield proposal


def _is_of(path: str, name: str) -> bool:
    form = format_of(path)
    return form is not None and form.name == name


def _uri(tree: Tree, files: list[str]) -> tuple[str, tuple[str, ...]]:
    """A pattern of the files, and parts of the dataset that it leaves out."""
    depth = Counter(path.count("/") for path in files).most_common(1)[0][0]
    same = [path for path in files if path.count("/") == depth]
    train = [path for path in same if path.rsplit("/", 1)[-1].lower().startswith("train")]
    folders, others = folder_pattern([folder_of(path) for path in same])
    start = "train*" if train and len(train) < len(same) else "*"
    name = f"{start}{extension(same[0])}"
    return tree.at("/".join([*(part for part in folders if part), name])), others


def _parquet(tree: Tree, files: list[str]) -> Guess | None:
    form = format_of(files[0])
    assert isinstance(form, ParquetImages)
    with storage.open_read(tree.at(files[0])) as stream:
        schema = form.opened(stream).schema_arrow
    images = [f.name for f in schema if _is_image(f.type)]
    if not images:
        return None
    image = next((name for name in images if "im" in name.lower()), images[0])
    labels: dict[str, Any] = {} if image == "image" else {"image_column": image}
    masks = [name for name in images if name != image]
    uri, others = _uri(tree, files)
    assumed = [f"images are the column {image!r} of {len(files)} files"]
    assumed += [f"only the part for training: {', '.join(others)} are there too"] if others else []
    if masks:
        labels["masks"] = masks[0]
        assumed.append(f"masks are the column {masks[0]!r}")
        return Guess(
            f"{form.name} with masks",
            {"kind": "images", "uri": uri, "labels": labels, "classes": list(_TWO)},
            tuple(assumed),
            ("names and number of the classes: masks were not looked into",),
        )
    column, classes, why, questions, more = _label_column(tree, files[0], schema)
    if column is None:
        return None
    dataset = {"kind": "images", "uri": uri, "labels": {"column": column, **labels, **more}}
    dataset["classes"] = classes
    return Guess(f"{form.name} with labels", dataset, (*assumed, *why), questions)


def _is_image(type_: pa.DataType) -> bool:
    if pa.types.is_struct(type_):
        return bool(type_.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_))


def _features(schema: pa.Schema) -> dict[str, Any]:
    metadata = (schema.metadata or {}).get(b"huggingface")
    features: dict[str, Any] = json.loads(metadata)["info"]["features"] if metadata else {}
    return features


def _label_column(
    tree: Tree, path: str, schema: pa.Schema
) -> tuple[str | None, list[str], tuple[str, ...], tuple[str, ...], dict[str, Any]]:
    """Name of the label's column, classes, what was assumed, what is asked, and further keys."""
    for name, feature in _features(schema).items():
        if isinstance(feature, dict) and feature.get("names"):
            why = f"labels are the column {name!r}, whose classes the file names"
            return name, [str(class_name) for class_name in feature["names"]], (why,), (), {}
    heads = read_heads(tree, path)
    reading = reading_of(heads[0], None, "images") if heads else None
    if reading is None and heads and heads[0].names and len(heads[0].names) > 1:
        # Columns beside the label's are no times here: any of them may be its name.
        reading = reading_of(_named(heads[0]), 0, "images")
    if reading is None:
        return None, [], (), (), {}
    column = reading.labels.get("columns", {}).get("label", "label")
    if isinstance(column, list):  # a column for each class is a table's alone
        return None, [], (), (), {}
    guess = classes_of(reading.label_values, names_file(tree))
    assumed = (f"labels are the column {column!r}", *guess.assumed)
    return column, guess.classes, assumed, guess.questions, guess.labels


def _named(head: Head) -> Head:
    names = head.names or ()
    rows = tuple((str(i), *row) for i, row in enumerate(head.rows))
    return Head(rows, ("\0row", *names), head.keys)


def _tar(tree: Tree, files: list[str]) -> Guess | None:
    members = _members(tree, files[0])
    ends = Counter(name.rsplit("/", 1)[-1].partition(".")[2].lower() for name in members)
    images = [end for end in ends if end in EXTENSIONS]
    if not images:
        return None
    uri, others = _uri(tree, files)
    assumed = [f"members of {files[0]} end in {', '.join(f'.{end}' for end in sorted(ends))}"]
    assumed += [f"only the part for training: {', '.join(others)} are there too"] if others else []
    dataset: dict[str, Any] = {"kind": "images", "uri": uri}
    mask = next((end for end in MASK_MEMBERS if end in ends), None)
    label = next((end for end in CLASS_MEMBERS if end in ends), None)
    names = names_file(tree)
    if mask is not None:
        dataset |= {"labels": {"masks": f"{{key}}.{mask}"}}
        dataset["classes"] = names.names if names else list(_TWO)
        questions = ("names and number of the classes: masks were not looked into",)
        return Guess("tar with masks", dataset, tuple(assumed), questions)
    if label is None:
        return None
    values = [text for name, text in members.items() if name.lower().endswith(f".{label}")]
    guess = classes_of(tuple(dict.fromkeys(v.strip() for v in values)), names)
    dataset |= {"labels": {"column": label, **guess.labels}, "classes": guess.classes}
    return Guess("tar with labels", dataset, (*assumed, *guess.assumed), guess.questions)


def _members(tree: Tree, path: str) -> dict[str, str]:
    """Names of the first members, and the text of short ones."""
    size = min(_HEAD_BYTES, tree.sizes[path])
    stored = io.BytesIO(storage.read_range(tree.at(path), 0, size))
    found: dict[str, str] = {}
    with suppress(tarfile.TarError, EOFError, OSError), tarfile.open(fileobj=stored) as file:
        for member in file:
            if not member.isfile():
                continue
            content = file.extractfile(member) if member.size < 1_000 else None
            found[member.name] = content.read().decode("utf-8", "replace") if content else ""
    return found


def _arrays(tree: Tree, files: list[str]) -> Guess | None:
    return labelled_arrays(tree, files, _uri(tree, files)[0])


def _masked(tree: Tree, files: list[str]) -> Guess | None:
    return masked_arrays(tree, files, _uri(tree, files)[0])


def _sequences(tree: Tree, files: list[str]) -> Guess | None:
    return labelled_sequences(tree, files, _uri(tree, files)[0])


def _npz(tree: Tree, files: list[str]) -> Guess | None:
    path = files[0]
    if tree.sizes[path] > 64 * _HEAD_BYTES:
        return None
    with np.load(io.BytesIO(storage.read_bytes(tree.at(path))), allow_pickle=False) as arrays:
        names = set(arrays.files)
        ends = Counter(end for name in names for end in _endings(name, names))
        if not ends:
            return None
        frame = next((end for end in ends if "frame" in end), None)
        label = next((end for end in ends if end != frame), None)
        if label is None:
            return None
        keys = [name for name in names if name + label in names]
        values = {str(v) for key in keys for v in np.unique(arrays[key + label])}
    guess = classes_of(tuple(sorted(values)), names_file(tree))
    labels = {"arrays": f"{{key}}{label}"} | ({"frame_arrays": f"{{key}}{frame}"} if frame else {})
    uri, _ = _uri(tree, files)
    dataset = {"kind": "sequences", "uri": uri, "labels": {**labels, **guess.labels}}
    dataset |= {"classes": guess.classes, "clip": {"frames": None}}
    assumed = (f"arrays whose names end in {label!r} are the labels of others", *guess.assumed)
    return Guess("npz with label arrays", dataset, assumed, guess.questions)


def _endings(name: str, names: set[str]) -> list[str]:
    """What other names have behind this one."""
    return [other[len(name) :] for other in names if other != name and other.startswith(name + "_")]
