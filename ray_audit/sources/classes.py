"""Label values to class indices."""

import difflib
from collections.abc import Sequence

import numpy as np

from ray_audit.samples import IGNORE


class ClassNames:
    """The classes of a dataset, and the values that mean "not labelled".

    Text is read as a class name first, then as an index; numbers are indices.

    Args:
        classes: names in index order.
        void: names or numbers that mean "not labelled"; may be those of a class.
    """

    def __init__(self, classes: Sequence[str], void: Sequence[int | str] = ()) -> None:
        self.classes = list(classes)
        self._index = {name: index for index, name in enumerate(classes)}
        self._void_text = {str(value) for value in void}
        numbers = (self._number(value) for value in void)
        self.void_numbers = {number for number in numbers if number is not None}

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def target_dtype(self) -> np.dtype:
        """The smallest signed type that holds every class index and `IGNORE`."""
        if len(self.classes) <= 127:
            return np.dtype(np.int8)
        return np.dtype(np.int16 if len(self.classes) <= 32767 else np.int32)

    def parse(self, value: object) -> int:
        """Class index of a label value, or `IGNORE` where it is void.

        Raises:
            ValueError: neither a class nor void; the message names the nearest class.
        """
        number = self._number(value)
        if str(value) in self._void_text or number in self.void_numbers:
            return IGNORE
        if number is not None and 0 <= number < len(self.classes):
            return number
        raise ValueError(self._outside(value))

    def _number(self, value: object) -> int | None:
        if isinstance(value, str):
            if value in self._index:
                return self._index[value]
            try:
                value = float(value)
            except ValueError:
                return None
        if isinstance(value, int | float | np.integer | np.floating) and value == value // 1:
            return int(value)
        return None

    def _outside(self, value: object) -> str:
        text = str(value)
        if not text:
            return "the label is empty; leave the row out where there is no label"
        nearest = difflib.get_close_matches(text, self.classes, n=1, cutoff=0.0)
        few = ", ".join(self.classes[:8]) + (", ..." if len(self.classes) > 8 else "")
        hint = f"; did you mean {nearest[0]!r}?" if nearest and self._number(value) is None else ""
        return f"label {text!r} is none of the {len(self)} classes ({few}) and not void{hint}"
