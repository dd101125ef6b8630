"""A new label in the way in which the old one was written."""

from collections.abc import Sequence

import numpy as np

from ray_audit.errors import LabelError
from ray_audit.formats.labels.cells import label_of, text_of
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.truths import truth_of, written_like
from ray_audit.formats.labels.values import whole_number
from ray_audit.samples import IGNORE


def relabelled(old: object, class_index: int, classes: ClassNames) -> str | int | bytes:
    """Write a class where `old` stood: a name stays a name, an index an index, a truth value one.

    Returns:
        Text or bytes where the old label was text or bytes, a truth value where it was one, else a
        number. Numbers and truth values that are text are written as the old one was (`1.0`, `01`,
        `TRUE`).

    Raises:
        LabelError: no way of writing the class reads as the class (it is void, say).

    >>> classes = ClassNames(["cat", "dog"])
    >>> relabelled("cat", 1, classes), relabelled("0.0", 1, classes), relabelled(0, 1, classes)
    ('dog', '1.0', 1)
    """
    if isinstance(old, bytes):
        return str(relabelled(text_of(old), class_index, classes)).encode()
    name = classes.classes[class_index]
    for way in _ways(old, class_index, classes):
        if is_read_as(way, class_index, classes):
            return way
    raise LabelError(
        f"class {name!r} cannot be written in place of {old!r}: it would be read as another class "
        "or as void; see dataset.void"
    )


def _ways(old: object, class_index: int, classes: ClassNames) -> Sequence[str | int]:
    """How a class may be written in place of another, what is most like the old one first."""
    texts, numbers = classes.texts_of(class_index), classes.numbers_of(class_index)
    if isinstance(old, bool | np.bool_):  # what holds it holds no other number
        return [False, True]
    if not isinstance(old, str):
        return numbers
    if truth_of(old) is not None:
        return [*(written_like(old, truth) for truth in (False, True)), *texts]
    if whole_number(old) is None or old.strip() in classes.classes:
        return [*texts, *map(str, numbers)]
    return [*(_digits_like(old.strip(), number) for number in numbers), *texts]


def _digits_like(old: str, number: int) -> str:
    """A number in the digits of another.

    >>> _digits_like("1.0", 2), _digits_like("01", 2), _digits_like("0", 12), _digits_like("-1", 1)
    ('2.0', '02', '12', '1')
    """
    whole, point, rest = old.partition(".")
    width = len(whole) if whole.startswith("0") else 0
    return f"{number:0{width}d}{point}{rest}"


def is_read_as(value: object, class_index: int, classes: ClassNames) -> bool:
    """Whether a stored value means this class."""
    try:
        return classes.parse(value) == class_index
    except ValueError:
        return False


def is_label(value: object, classes: ClassNames) -> bool:
    """Whether a stored value is a class: neither missing, nor void, nor something else."""
    try:
        return value is not None and classes.parse(label_of(value)) != IGNORE
    except ValueError:
        return False


def writable_classes(classes: ClassNames) -> list[int]:
    """Class indices that a label can have: those that are not void too."""
    return [
        index
        for index in range(len(classes))
        if any(
            is_read_as(way, index, classes)
            for way in (*classes.texts_of(index), *classes.numbers_of(index))
        )
        or (classes.colours_of(index) and index not in classes.void_classes)
    ]
