"""Classes for labels that are text or numbers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ray_audit.discovery.class_names import NamesFile
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


def classes_of(values: Sequence[str], names: NamesFile | None) -> ClassGuess:
    """Classes of labels, by a file of names or by the labels alone."""
    if all(_is_index(value) for value in values):
        return _of_numbers(sorted({int(float(value)) for value in values}), names)
    if names is not None and set(values) <= set(names.names):
        return ClassGuess(names.names, {}, (f"classes are those of {names.path}",), ())
    questions = ["classes in the order of your model's outputs: here they are sorted by name"]
    if any("|" in value for value in values):
        questions.append("labels with | name several classes at once, and an audit is of one")
    return ClassGuess(
        sorted(values), {}, ("classes are the labels that were found",), tuple(questions)
    )


def _of_numbers(numbers: list[int], names: NamesFile | None) -> ClassGuess:
    low, high = numbers[0], numbers[-1]
    seen = f"labels are numbers from {low} to {high}"
    named = None if names is None else _of_named(numbers, names, seen)
    if named is not None:
        return named
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


def _of_named(numbers: list[int], names: NamesFile, seen: str) -> ClassGuess | None:
    """Classes by a file of names; None where the labels are no numbers of them."""
    low, high = numbers[0], numbers[-1]
    if names.numbers is not None:
        if not set(numbers) <= set(names.numbers):
            return None
        assumed = (f"{seen}: those that {names.path} gives its names",)
        return ClassGuess(names.names, {"values": {**names.numbers}}, assumed, ())
    if names.first and names.first <= low and high < names.stop:
        assumed = (f"{seen}: those that {names.path} gives its names, from {names.first}",)
        return ClassGuess(names.names, {"first_value": names.first}, assumed, ())
    num = len(names.names)
    if low >= 1 and high == num and names.first is None:
        assumed = (f"{seen}, and {names.path} has {num} names: the first class is stored as 1",)
        return ClassGuess(names.names, {"first_value": 1}, assumed, ())
    if names.first == 1 and low == 0 and high == num:
        values: dict[int, str] = dict(enumerate([VOID, *names.names]))
        assumed = (f"{seen}, and {names.path} counts from 1: 0 means not labelled",)
        return ClassGuess(names.names, {"values": values}, assumed, ())
    if low < 0 or high >= num:
        return None
    assumed = (f"{seen}: indices of the names in {names.path}",)
    return ClassGuess(names.names, {}, assumed, _asked(low, names))


def _asked(low: int, names: NamesFile) -> tuple[str, ...]:
    """What labels leave open that neither begin where a file of names does, nor end there."""
    if names.first == 1:
        return (f"whether 0 is the first class of {names.path}, which counts from 1",)
    if low > 0 and names.first is None:
        return (
            f"whether labels count from 0 or from 1: no 0 was seen, and {names.path} has no "
            "numbers; give labels.first_value: 1 where they do",
        )
    return ()


def _is_index(value: str) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    return number.is_integer() and abs(number) < 10_000
