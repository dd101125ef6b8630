"""Arrays of images beside arrays of their labels, in npz and HDF5 files."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ray_audit import storage
from ray_audit.discovery.class_names import NamesFound, names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import not_for_training
from ray_audit.discovery.label_classes import classes_of
from ray_audit.discovery.tree import Tree
from ray_audit.discovery.words import LABEL_ARRAY
from ray_audit.formats.array_files import ArrayFile
from ray_audit.formats.array_labels import flat_labels
from ray_audit.formats.arrays import ArrayFiles
from ray_audit.formats.labels.array_tables import label_array
from ray_audit.formats.registry import format_of

_MAX_LABEL_VALUES = 10_000_000
_NUM_FILES = 8


class _Array(NamedTuple):
    """An array of a file, how many elements it has, and whether there is no other."""

    path: str
    name: str
    num: int
    is_alone: bool = False


def labelled_arrays(tree: Tree, files: list[str], uri: str) -> Guess | None:
    """The images and labels of the first file, if it holds just one pair of them for training."""
    with opened_arrays(tree, files[0]) as (form, file):
        pairs = [pair for pair in _pairs(file) if not not_for_training(pair[0])]
        if not pairs:
            return _in_two_files(tree, files)
        if len(pairs) != 1:
            return None
        ((image, label),) = pairs
        values = np.unique(np.asarray(flat_labels(file.array(label), label)).astype(str)).tolist()
        named = file.class_names(label)
    guess = classes_of(tuple(values), NamesFound("the file", named) if named else names_file(tree))
    labels = {"column": label, "image_column": image, **guess.labels}
    dataset = {"kind": "images", "uri": uri, "labels": labels, "classes": guess.classes}
    assumed = (f"images are the array {image!r}, and labels {label!r}", *guess.assumed)
    return Guess(f"{form.name} with images and labels", dataset, assumed, guess.questions)


@contextmanager
def opened_arrays(tree: Tree, path: str) -> Iterator[tuple[ArrayFiles, ArrayFile]]:
    """A file of arrays, and its format."""
    form, size_bytes = format_of(path), tree.sizes[path]
    assert isinstance(form, ArrayFiles)
    with (
        storage.open_read(tree.at(path), size_bytes) as stream,
        form.opened(stream, size_bytes) as file,
    ):
        yield form, file


def _in_two_files(tree: Tree, files: list[str]) -> Guess | None:
    """Images in one file and as many labels in another, as PatchCamelyon has them."""
    images, labels = list[_Array](), list[_Array]()
    for path in [path for path in files if not not_for_training(path)][:_NUM_FILES]:
        with opened_arrays(tree, path) as (_, file):
            shapes = {name: file.shape(name) for name in file.names}
            images += [
                _Array(path, name, shape[0])
                for name, shape in shapes.items()
                if _is_images(file, name, shape)
            ]
            labels += [
                _Array(path, name, shape[0], len(shapes) == 1)
                for name, shape in shapes.items()
                if shape and shape[0] == math.prod(shape) and _is_labels(file, name)
            ]
    if len(images) != 1 or len(labels) != 1 or images[0].num != labels[0].num:
        return None
    (image,), (label,) = images, labels
    uri = tree.at(label.path)
    with storage.open_read(uri, tree.sizes[label.path]) as stream:
        stored = label_array(uri, stream, tree.sizes[label.path], label.name)
    guess = classes_of(tuple(np.unique(stored).astype(str).tolist()), names_file(tree))
    keys = {"images": uri, "image_column": image.name, **guess.labels}
    keys |= {} if label.is_alone else {"variable": label.name}
    dataset = {"kind": "images", "uri": tree.at(image.path), "labels": keys}
    assumed = (f"{label.path} has the labels of {image.path}, in order", *guess.assumed)
    what = "images in a file of arrays, and their labels in another"
    return Guess(what, {**dataset, "classes": guess.classes}, assumed, guess.questions)


def _pairs(file: ArrayFile) -> Iterator[tuple[str, str]]:
    """Arrays of images, each with the only array that is as long and called as labels are."""
    shapes = {name: file.shape(name) for name in file.names}
    for image, shape in shapes.items():
        if not _is_images(file, image, shape):
            continue
        labels = [
            name
            for name, other in shapes.items()
            if other in ((shape[0],), (shape[0], 1)) and _is_called_label(name)
        ]
        same_part = [name for name in labels if _part(name) == _part(image)]
        chosen = same_part or labels
        if len(chosen) == 1 and shape[0] <= _MAX_LABEL_VALUES and _is_labels(file, chosen[0]):
            yield image, chosen[0]


def _is_images(file: ArrayFile, name: str, shape: tuple[int, ...]) -> bool:
    if len(shape) not in (3, 4) or 0 in shape or (len(shape) == 4 and shape[3] not in (1, 3, 4)):
        return False
    if shape[1] * shape[2] == 1:  # labels, one a row, with axes to spare
        return False
    return file.rows(name, 0, 1).dtype == np.uint8


def _is_called_label(name: str) -> bool:
    return LABEL_ARRAY.search(name.rsplit("/", 1)[-1]) is not None


def _is_labels(file: ArrayFile, name: str) -> bool:
    return file.rows(name, 0, 1).dtype.kind in "iubUSO"


def _part(name: str) -> str:
    """Which part of a dataset an array is of, by its name; empty where that is not said.

    >>> _part("train_images"), _part("y_train"), _part("labels")
    ('train', 'train', '')
    """
    lowered = name.lower()
    return next((part for part in ("train", "val", "test") if part in lowered), "")
