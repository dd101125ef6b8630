"""Feature arrays beside arrays of their labels, in npz, HDF5 and MATLAB files."""

from collections import Counter
from typing import Any

import numpy as np

from ray_audit.discovery.array_containers import opened_arrays
from ray_audit.discovery.class_names import names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.label_classes import classes_of
from ray_audit.discovery.tree import Tree
from ray_audit.formats.array_files import ArrayFile
from ray_audit.formats.array_labels import flat_labels

_MOST_ARRAYS = 2_000


def labelled_sequences(tree: Tree, files: list[str], uri: str) -> Guess | None:
    """Features with labels that lie in the same group, or are the only ones of a file."""
    with opened_arrays(tree, files[0]) as (form, file):
        shapes = {name: file.shape(name) for name in file.names[:_MOST_ARRAYS]}
        pairs = _pairs(file, shapes)
        if not pairs:
            return None
        ((last, is_deep), _), *others = Counter(
            (label.rsplit("/", 1)[-1], "/" in label) for _, label in pairs
        ).most_common()
        if others:
            return None
        values = {
            str(value)
            for _, label in pairs
            for value in np.unique(flat_labels(file.array(label), label)).tolist()
        }
    guess = classes_of(tuple(sorted(values)), names_file(tree))
    labels = {"arrays": f"{{folder}}/{last}" if is_deep else last, **guess.labels}
    dataset: dict[str, Any] = {"kind": "sequences", "uri": uri, "labels": labels}
    dataset |= {"classes": guess.classes, "clip": {"frames": None}}
    feature, label = pairs[0]
    num = max(shapes[label])
    if shapes[feature][0] != num:
        dataset["axes"] = "DT"
    assumed = [f"features are arrays such as {feature!r} {shapes[feature]}, labels {label!r}"]
    what = f"{form.name} with features and labels"
    return Guess(what, dataset, (*assumed, *guess.assumed), guess.questions)


def _pairs(file: ArrayFile, shapes: dict[str, tuple[int, ...]]) -> list[tuple[str, str]]:
    """Features and labels of the groups that have one of each."""
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for name, shape in shapes.items():
        features, labels = groups.setdefault(name.rpartition("/")[0], ([], []))
        if len(shape) == 2 and min(shape) > 1:
            features.append(name)
        elif shape and max(shape) > 1 and max(shape) == np.prod(shape):
            labels.append(name)
    return [
        (features[0], labels[0])
        for features, labels in groups.values()
        if len(features) == 1 and len(labels) == 1 and _go_together(file, shapes, features, labels)
    ]


def _go_together(
    file: ArrayFile,
    shapes: dict[str, tuple[int, ...]],
    features: list[str],
    labels: list[str],
) -> bool:
    feature, label = features[0], labels[0]
    kinds = [file.rows(name, 0, 1).dtype.kind for name in (feature, label)]
    return kinds[0] == "f" and kinds[1] in "iubUSOf" and max(shapes[label]) in shapes[feature]
