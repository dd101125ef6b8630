"""Classes for labels that are text or numbers."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from ray_audit.discovery.class_names import NamesFound
from ray_audit.formats.labels.values import VOID

_SPARSE = 3  # numbers that lie so many times farther apart than there are of them have gaps


class ClassGuess(NamedTuple):
    """Classes, and keys that say what stored labels mean.

    Attributes:
        classes: names in index order.
        labels: further keys of `dataset.labels`.
        assumed: what was assumed.
        questions: what could not be known.
    """

    classes: list[str]
    labels: dict[str, Any]
    assumed: tuple[str, ...]
    questions: tuple[str, ...]


def classes_of(values: Sequence[str], names: NamesFound | None) -> ClassGuess:
    """Classes of labels, by a file of names or by the labels alone."""
    if all(_is_index(value) for value in values):
        return _of_numbers(sorted({int(float(value)) for value in values}), names)
    if names is not None and set(values) <= set(names.names):
        return ClassGuess(names.names, {}, (f"classes are those of {names.where}",), ())
    questions = ["classes in the order of your model's outputs: here they are sorted by name"]
    if any("|" in value for value in values):
        questions.append("labels with | name several classes at once, and an audit is of one")
    alike = _alike(values)
    if alike:
        questions.append(
            f"whether {' and '.join(map(repr, alike))} are one class: labels.values makes them one"
        )
    joint = next((value for value in values if _is_of_several(value, set(values))), None)
    if joint is not None:
        questions.append(
            f"whether a label such as {joint!r} is several at once, since each of its words is a "
            "label too: an audit is of one label a sample"
        )
    return ClassGuess(
        sorted(values), {}, ("classes are the labels that were found",), tuple(questions)
    )


def _alike(values: Sequence[str]) -> list[str]:
    """The first labels that differ in capitals, or in how accents are composed, alone."""
    found: dict[str, list[str]] = {}
    for value in values:
        found.setdefault(unicodedata.normalize("NFC", value).casefold(), []).append(value)
    return next((same for same in found.values() if len(same) > 1), [])


def _is_of_several(value: str, values: set[str]) -> bool:
    """Whether a label is made of others, as tags are: `cat dog` beside `cat` and `dog`."""
    words = [word for word in re.split(r"[\s,;/+&]+", value) if word]
    return len(words) > 1 and set(words) <= values


def _of_numbers(numbers: list[int], names: NamesFound | None) -> ClassGuess:
    low, high = numbers[0], numbers[-1]
    seen = f"labels are numbers from {low} to {high}"
    if names is not None and _are_all(numbers, names):
        more: dict[str, Any] = {"first_value": names.first} if names.first else {}
        more |= {"values": names.values} if names.values else {}
        return ClassGuess(names.names, more, (f"{seen}, which {names.where} names",), ())
    by_place = None if names is None else _by_place(low, high, names, seen)
    if by_place is not None:
        return by_place
    questions = ("names of the classes",)
    if low == 1 and len(numbers) == high:
        classes = [f"class_{number}" for number in numbers]
        assumed = (f"{seen}: the first class is stored as 1",)
        return ClassGuess(classes, {"first_value": 1}, assumed, questions)
    if numbers == [-1, 1]:
        values: dict[int | str, str] = {-1: "no", 1: "yes"}
        assumed = ("labels are -1 and 1: no and yes",)
        return ClassGuess(["no", "yes"], {"values": values}, assumed, ())
    if low < 0:
        classes = [f"class_{number}" for number in range(high + 1)]
        void: dict[str, Any] = {"values": {n: f"class_{n}" if n >= 0 else VOID for n in numbers}}
        asked = (*questions, "whether numbers below 0 mean not labelled, or a class")
        return ClassGuess(classes, void, (f"{seen}: those below 0 mean not labelled",), asked)
    if high > _SPARSE * len(numbers):
        classes = [f"class_{number}" for number in numbers]
        values = dict(zip(numbers, classes, strict=True))
        return ClassGuess(
            classes, {"values": values}, (f"{seen}, and lie apart: each is listed",), questions
        )
    classes = [f"class_{number}" for number in range(high + 1)]
    return ClassGuess(classes, {}, (f"{seen}: indices of classes",), questions)


def _are_all(numbers: Sequence[int], names: NamesFound) -> bool:
    """Whether a file names all numbers."""
    if names.values is not None:
        return set(numbers) <= set(names.values)
    first = names.first
    return first is not None and first <= numbers[0] and numbers[-1] < first + len(names.names)


def _by_place(low: int, high: int, names: NamesFound, seen: str) -> ClassGuess | None:
    """Classes by the order of names that have no numbers, or others than the labels."""
    num = len(names.names)
    if low >= 1 and high == num and names.first is None:
        assumed = (f"{seen}, and {names.where} has {high} names: the first class is stored as 1",)
        return ClassGuess(names.names, {"first_value": 1}, assumed, ())
    if names.first == 1 and low == 0 and high == num:
        values: dict[int, str] = dict(enumerate([VOID, *names.names]))
        assumed = (f"{seen}, and {names.where} counts from 1: 0 means not labelled",)
        return ClassGuess(names.names, {"values": values}, assumed, ())
    if low < 0 or high >= num:
        return None
    questions: tuple[str, ...] = ()
    if names.first == 1:
        questions = (f"whether 0 is the first class of {names.where}, which counts from 1",)
    elif low > 0 and names.first is None:
        questions = (
            f"whether labels count from 0 or from 1: no 0 was seen, and {names.where} has no "
            "numbers; give labels.first_value: 1 where they do",
        )
    assumed = (f"{seen}: indices of the names in {names.where}",)
    return ClassGuess(names.names, {}, assumed, questions)


def _is_index(value: str) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    return number.is_integer() and abs(number) < 10_000
