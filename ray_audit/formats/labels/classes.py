"""Label values to class indices, and back to values."""

import contextlib
import difflib
import re
from collections.abc import Sequence

import numpy as np

from ray_audit.config import AuditConfig, DatasetConfig
from ray_audit.errors import SampleError
from ray_audit.formats.labels.truths import truth_of, truth_texts
from ray_audit.formats.labels.values import (
    ValueTable,
    packed_colour,
    read_values,
    value_table,
    whole_number,
)
from ray_audit.samples import IGNORE

_FRACTION = re.compile(r"[-+]?\d*[.,]\d+(e[-+]?\d+)?", re.IGNORECASE)


class ClassNames:
    """The classes of a dataset, and the values that mean "not labelled".

    One rule for every form of labels: text that is exactly a class name is that class; any other
    whole number, as text or typed, is an index (counted from `first_value`). A number that is
    both an index and, as a number, the name of another class is refused: `labels.values` says
    which. A truth value, stored as one or written `true` or `false` in any case, is the class of
    that name; where there is none, of the name `yes` or `no`, `on` or `off`, `y` or `n`; where no
    class has such a name, a stored one is 0 or 1. Where there is a table of values, what it lists
    is all that there is.

    Args:
        classes: names in index order.
        void: names or numbers that mean "not labelled"; may be those of a class.
        values: what stored values mean, or None.
        first_value: the stored number of the first class.
    """

    def __init__(
        self,
        classes: Sequence[str],
        void: Sequence[int | str] = (),
        values: ValueTable | None = None,
        first_value: int = 0,
    ) -> None:
        self.classes = list(classes)
        self.values = values
        self.first_value = first_value
        self._index = {name: index for index, name in enumerate(classes)}
        numbers = {name: whole_number(name) for name in reversed(self.classes)}
        self._numbered = {n: self._index[name] for name, n in numbers.items() if n is not None}
        self._void_text = {str(value) for value in void}
        self._texts = {*(self._index if values is None else values.texts), *self._void_text}
        self._truths = truth_texts(self._texts)
        self._void_values = {n for n in map(whole_number, self._void_text) if n is not None}
        self._void_classes = {
            index for index in map(self._void_class, map(str, void)) if index is not None
        }

    @classmethod
    def of(cls, dataset: DatasetConfig) -> "ClassNames":
        """The classes of a dataset as it is specified.

        Raises:
            SpecificationError: `labels.values` names a class that there is not.
        """
        labels = dataset.labels
        given = labels.values
        if isinstance(given, str):
            given = read_values(given, dataset.classes)
        table = None if given is None else value_table(given, dataset.classes)
        return cls(dataset.classes, dataset.void, table, labels.first_value or 0)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def target_dtype(self) -> np.dtype:
        """The smallest signed type that holds every class index and `IGNORE`."""
        if len(self.classes) <= 127:
            return np.dtype(np.int8)
        return np.dtype(np.int16 if len(self.classes) <= 32767 else np.int32)

    @property
    def has_colours(self) -> bool:
        """Whether colours are values."""
        return self.values is not None and bool(self.values.colours)

    @property
    def are_indices(self) -> bool:
        """Whether stored numbers and truth values are class indices as they stand."""
        is_by_name = bool(self._numbered or self._truths)
        return self.values is None and self.first_value == 0 and not is_by_name

    @property
    def void_numbers(self) -> set[int]:
        """Stored numbers that mean "not labelled"."""
        first = self.first_value
        return self._void_values | {index + first for index in self._void_classes}

    @property
    def void_classes(self) -> list[int]:
        """Indices of the classes that are void as a whole."""
        return sorted(self._void_classes)

    def parse(self, value: object) -> int:
        """Class index of a label value, or `IGNORE` where it is void.

        Raises:
            ValueError: neither a class nor void, or two classes; the message names the nearest.
        """
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str) and value in self._texts:
            return self._parsed(value)
        truth = truth_of(value)
        if truth is None or (isinstance(value, str) and not self._truths):
            return self._parsed(value)
        try:
            return self._parsed(self._truths.get(truth, int(truth)))
        except ValueError as error:
            raise ValueError(f"the truth value {str(truth).lower()}: {error}") from None

    def _parsed(self, value: object) -> int:
        if self.values is not None:
            return self._listed(value, self.values)
        if isinstance(value, str):
            if value in self._index:
                return self._unless_void(self._index[value])
            if value in self._void_text:
                return IGNORE
        number = _number(value)
        found = None if number is None else self.of_number(number)
        if found is None:
            raise ValueError(self._outside(value, number))
        return found

    def of_number(self, number: int) -> int | None:
        """Class index of a stored number, `IGNORE` where it is void; None where it is neither.

        Raises:
            ValueError: it is the index of one class and the name of another.
        """
        if self.values is not None:
            found = self.values.of_number(number)
            if found is None:
                return IGNORE if number in self._void_values else None
            return self._unless_void(found)
        if number in self._void_values:
            return IGNORE
        index = number - self.first_value
        by_index = index if 0 <= index < len(self.classes) else None
        by_name = self._numbered.get(number)
        if by_name is not None and by_index is not None and by_name != by_index:
            raise ValueError(
                f"label {number} is the name of a class (at index {by_name}) and the index of "
                f"class {self.classes[by_index]!r}: say which in dataset.labels.values, such as "
                f"{{{number}: {self.classes[by_name]!r}}}"
            )
        found = by_index if by_name is None else by_name
        return None if found is None else self._unless_void(found)

    def of_colour(self, packed: int) -> int | None:
        """Class index of a stored colour, `IGNORE` where it is void; None where neither."""
        found = None if self.values is None else self.values.of_colour(packed)
        return None if found is None else self._unless_void(found)

    def of_truth(self, truth: bool) -> int | None:
        """Class index of a stored truth value, `IGNORE` where it is void; None where neither."""
        try:
            return self.parse(truth)
        except ValueError:
            return None

    def numbers_table(self, highest: int, unknown: int) -> np.ndarray:
        """What the numbers from 0 to `highest` mean: (highest + 1,) int32.

        `unknown` stands where that is nothing, or two classes.
        """
        table = np.full(highest + 1, unknown, np.int32)
        for number in self._known_numbers(highest):
            with contextlib.suppress(ValueError):
                found = self.of_number(number)
                table[number] = unknown if found is None else found
        return table

    def _known_numbers(self, highest: int) -> set[int]:
        known = {*self._void_values, *self._numbered}
        if self.values is None:
            known.update(range(self.first_value, self.first_value + len(self.classes)))
        else:
            known.update(self.values.numbers)
            for low, high, _ in self.values.ranges:
                known.update(range(max(low, 0), min(high, highest) + 1))
        return {number for number in known if 0 <= number <= highest}

    def numbers_of(self, class_index: int) -> list[int]:
        """Stored numbers that mean a class, the first of them the one to write."""
        if self.values is not None:
            return self.values.numbers_of(class_index)
        number = whole_number(self.classes[class_index])
        named = [] if number is None or not self._numbered else [number]
        return [*named, class_index + self.first_value]

    def colours_of(self, class_index: int) -> list[int]:
        """Packed colours that mean a class, the first of them the one to write."""
        if self.values is None:
            return []
        grey = [packed_colour(n, n, n) for n in self.numbers_of(class_index) if 0 <= n < 2**16]
        return [*self.values.colours_of(class_index), *grey] if self.has_colours else []

    def texts_of(self, class_index: int) -> list[str]:
        """Texts that mean a class, the first of them the one to write."""
        if self.values is not None:
            return self.values.texts_of(class_index)
        return [self.classes[class_index]]

    def _listed(self, value: object, table: ValueTable) -> int:
        text, number = str(value).strip(), _number(value)
        found = table.of_text(text) if isinstance(value, str) else None
        if found is None and number is not None:
            found = table.of_number(number)
        if found is None and (text in self._void_text or number in self._void_values):
            return IGNORE
        if found is None:
            hint = "" if text else '; where that means no label, list {"": void}'
            raise ValueError(f"label {text!r} is not listed in dataset.labels.values{hint}")
        return self._unless_void(found)

    def _unless_void(self, index: int) -> int:
        return IGNORE if index in self._void_classes else index

    def _void_class(self, void: str) -> int | None:
        """The class that a void value takes with it, or None.

        A number takes the class at that index, unless class names are numbers themselves.
        """
        if void in self._index:
            return self._index[void]
        number = whole_number(void)
        if number is None or self._numbered or self.values is not None:
            return None
        index = number - self.first_value
        return index if 0 <= index < len(self.classes) else None

    def _outside(self, value: object, number: int | None) -> str:
        text = str(value)
        if not text:
            return (
                'the label is empty; where that means no label, give dataset.void: [""], or '
                "leave the row out"
            )
        parts = self._several(text)
        if parts:
            return (
                f"label {text!r} names several classes ({', '.join(parts)}), and one label a "
                "sample is audited: write a table of one of them, with a label of yes or no for "
                "each sample, and audit one after another"
            )
        nearest = difflib.get_close_matches(text, self.classes, n=1, cutoff=0.0)
        few = ", ".join(self.classes[:8]) + (", ..." if len(self.classes) > 8 else "")
        hint = f"; did you mean {nearest[0]!r}?" if nearest and number is None else ""
        if number == len(self) and self.first_value == 0:
            hint = "; where numbers count from 1, give labels.first_value: 1"
        elif number is None and _FRACTION.fullmatch(text):
            hint = "; it is a number and no class: write a column with a class for each range of it"
        return f"label {text!r} is none of the {len(self)} classes ({few}) and not void{hint}"

    def _several(self, text: str) -> list[str]:
        """The classes that a label of several names, as tables of findings have them."""
        for mark in "|;,+":
            parts = [part.strip() for part in text.split(mark)]
            known = [part in self._index for part in parts]
            if len(parts) > 1 and (all(known) or (mark == "|" and any(known))):
                return parts
        return []


def with_values(config: AuditConfig) -> AuditConfig:
    """The specification with `labels.values` as a mapping, where it names a file.

    So what a value means is part of a run's name and of its manifest, and is read once.
    """
    labels = config.dataset.labels
    if not isinstance(labels.values, str):
        return config
    values = read_values(labels.values, config.dataset.classes)
    dataset = config.dataset.model_copy(
        update={"labels": labels.model_copy(update={"values": values})}
    )
    return config.model_copy(update={"dataset": dataset})


def _number(value: object) -> int | None:
    """The whole number that a value is, or None."""
    if isinstance(value, str):
        return whole_number(value)
    if isinstance(value, int | float | np.integer | np.floating | np.bool_) and (
        not isinstance(value, float | np.floating) or np.isfinite(value)
    ):
        return int(value) if value == int(value) else None
    return None


def named_otherwise(found: Sequence[str], dataset: DatasetConfig, where: str) -> SampleError | None:
    """What is wrong where a file names the classes of its numbers, and otherwise than is given.

    Args:
        found: names in the file, in index order; empty where it names none.
        dataset: its classes and values.
        where: names the column and the file.

    Returns:
        `class_names`, or None where nothing is wrong.
    """
    classes = dataset.classes
    if not found or dataset.labels.values is not None or list(found[: len(classes)]) == classes:
        return None
    return SampleError(
        "class_names",
        f"{where} names its classes {', '.join(found[:8])}, dataset.classes are "
        f"{', '.join(classes[:8])}: give them in the file's order, or what each number means in "
        "labels.values; audit files of another order by themselves",
    )
