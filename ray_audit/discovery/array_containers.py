"""Arrays of images beside arrays of their labels, in npz and HDF5 files."""

from collections.abc import Iterator

import numpy as np

from ray_audit import storage
from ray_audit.discovery.class_names import names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import not_for_training
from ray_audit.discovery.label_classes import classes_of
from ray_audit.discovery.tree import Tree
from ray_audit.formats.array_files import ArrayFile
from ray_audit.formats.array_labels import flat_labels
from ray_audit.formats.arrays import ArrayFiles
from ray_audit.formats.registry import format_of

_MAX_LABEL_VALUES = 10_000_000
_WORDS = ("label", "class", "target")


def labelled_arrays(tree: Tree, files: list[str], uri: str) -> Guess | None:
    """The images and labels of the first file, if it holds just one pair of them for training."""
    path = files[0]
    form = format_of(path)
    assert isinstance(form, ArrayFiles)
    size_bytes = tree.sizes[path]
    with (
        storage.open_read(tree.at(path), size_bytes) as stream,
        form.opened(stream, size_bytes) as file,
    ):
        pairs = [pair for pair in _pairs(file) if not not_for_training(pair[0])]
        if len(pairs) != 1:
            return None
        ((image, label),) = pairs
        values = np.unique(np.asarray(flat_labels(file.array(label), label)).astype(str)).tolist()
        named = file.class_names(label)
    guess = classes_of(tuple(values), ("the file", named) if named else names_file(tree))
    labels = {"column": label, "image_column": image, **guess.labels}
    dataset = {"kind": "images", "uri": uri, "labels": labels, "classes": guess.classes}
    assumed = (f"images are the array {image!r}, and labels {label!r}", *guess.assumed)
    return Guess(f"{form.name} with images and labels", dataset, assumed, guess.questions)


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
    return file.rows(name, 0, 1).dtype == np.uint8


def _is_called_label(name: str) -> bool:
    last = name.rsplit("/", 1)[-1].lower()
    return last == "y" or last.startswith("y_") or any(word in last for word in _WORDS)


def _is_labels(file: ArrayFile, name: str) -> bool:
    return file.rows(name, 0, 1).dtype.kind in "iuUSO"


def _part(name: str) -> str:
    """Which part of a dataset an array is of, by its name; empty where that is not said.

    >>> _part("train_images"), _part("y_train"), _part("labels")
    ('train', 'train', '')
    """
    lowered = name.lower()
    return next((part for part in ("train", "val", "test") if part in lowered), "")
