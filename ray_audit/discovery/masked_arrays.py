"""Arrays of images beside arrays of their masks, in npz, HDF5 and MATLAB files."""

from contextlib import suppress
from typing import NamedTuple

import numpy as np

from ray_audit.discovery.array_containers import opened_arrays
from ray_audit.discovery.class_names import NamesFound, names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import not_for_training
from ray_audit.discovery.pixel_values import Pixels, guessed
from ray_audit.discovery.tree import Tree
from ray_audit.discovery.words import MASK
from ray_audit.errors import RayAuditError
from ray_audit.formats.array_files import ArrayFile
from ray_audit.formats.array_labels import flat_labels

_NAMES = ("names", "classes", "class_names", "label_names")
_MAX_LOOKED_BYTES = 2**29
_NUM_MASKS = 8


class _Stack(NamedTuple):
    """Images (N, H, W) by the axis along which they lie."""

    name: str
    axis: str
    shape: tuple[int, ...]


def masked_arrays(tree: Tree, files: list[str], uri: str) -> Guess | None:
    """The images and masks of the first file, if it holds just one pair of them for training."""
    with opened_arrays(tree, files[0]) as (form, file):
        pairs = [
            (image, mask)
            for image in _images(file)
            for mask in _masks(file, image)
            if not not_for_training(image.name)
        ]
        if len(pairs) != 1:
            return None
        ((image, mask),) = pairs
        is_looked_at = tree.sizes[files[0]] <= _MAX_LOOKED_BYTES
        masks = _some(file, mask, image.axis) if is_looked_at else []
        names = _names(file, files[0]) or names_file(tree)
    labels = {"masks": mask, "image_column": image.name}
    labels |= {"image_axis": "last"} if image.axis == "last" else {}
    dataset = {"kind": "images", "uri": uri, "labels": labels}
    assumed = [f"images are the array {image.name!r} along its {image.axis} axis, masks {mask!r}"]
    questions: tuple[str, ...] = ()
    if masks:
        guess = guessed(masks, [mask] * len(masks), names)
        labels |= guess.labels
        dataset |= guess.dataset
        assumed += guess.assumed
        questions = guess.questions
    else:
        dataset["classes"] = names.names if names else ["background", "foreground"]
        questions = ("what values of masks mean: the file is too large to look into",)
    return Guess(f"{form.name} with images and masks", dataset, tuple(assumed), questions)


def _images(file: ArrayFile) -> list[_Stack]:
    """Arrays of colour images: (N, H, W, C), or (H, W, C, N) as MATLAB has them; either if so."""
    found = []
    for name in file.names:
        shape = file.shape(name)
        if len(shape) != 4 or 0 in shape:
            continue
        if shape[3] in (1, 3, 4):
            found.append(_Stack(name, "first", shape[:3]))
        if shape[2] in (1, 3):
            found.append(_Stack(name, "last", (shape[3], *shape[:2])))
    return found


def _masks(file: ArrayFile, image: _Stack) -> list[str]:
    """Arrays of as many planes of the same size, that are called as masks are."""
    num, *size = image.shape
    planes = (num, *size) if image.axis == "first" else (*size, num)
    fitting = {planes, (*planes, 1)} if image.axis == "first" else {planes}
    return [
        name
        for name in file.names
        if name != image.name
        and file.shape(name) in fitting
        and MASK.search(name.rsplit("/", 1)[-1])
    ]


def _some(file: ArrayFile, name: str, axis: str) -> list[Pixels]:
    """Values of a few masks; none where they are no whole numbers."""
    values = np.moveaxis(file.array(name), -1, 0) if axis == "last" else file.array(name)
    step = max(1, len(values) // _NUM_MASKS)
    some = values[::step][:_NUM_MASKS]
    if some.dtype.kind == "f" and not (some == np.rint(some)).all():
        return []
    return [Pixels(plane.shape[:2], False, np.unique(plane)) for plane in some]


def _names(file: ArrayFile, path: str) -> NamesFound | None:
    """Names of classes that lie in the file itself."""
    for name in _NAMES:
        if name in file.names:
            with suppress(RayAuditError, ValueError):
                texts = flat_labels(file.array(name), name).tolist()
                if texts and all(isinstance(text, str) for text in texts):
                    return NamesFound(f"{name!r} in {path}", texts)
    return None
