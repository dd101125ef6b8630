"""Class names as datasets publish them: a list, a mapping to numbers, or a file of either."""

import json
import re
from typing import Any, NamedTuple

from ray_audit import storage
from ray_audit.config.categories import categories_of
from ray_audit.errors import SpecificationError, StorageError
from ray_audit.json_text import unrepeated
from ray_audit.spec_yaml import plain_values

_MAX_BYTES = 16 * 2**20
_MAX_JSON_BYTES = 2**30  # a COCO document has its categories among all else
_NUMBERED = re.compile(r"(\d{1,9})[\s,;:]+(\S.*)")
_HEADERS = ("name", "names", "class", "classes", "class_name", "class_names", "label", "labels")
_BY_NUMBER, _BY_NAME, _CATEGORIES = "id2label", "label2id", "categories"
# Of a model's config.json, of a dataset.json, of a detector's data.yaml.
_KEYS = (_BY_NUMBER, "labels", _BY_NAME, "names")
_YAML = (".yaml", ".yml")


class GivenClasses(NamedTuple):
    """Classes as a specification names them.

    Attributes:
        names: in index order.
        first: the number of the first, where numbers are given and follow each other.
        values: what each number and name means, where a document's numbers do not.
    """

    names: Any
    first: int | None = None
    values: dict[int | str, str] | None = None


def named_classes(given: Any) -> GivenClasses:
    """Class names in index order, and what is said of their numbers.

    Args:
        given: a list of names, a mapping between numbers and names (either way round), or the URI
            of a file: JSON or YAML of one of these, or text with a name a line, each with its
            number before it or none.

    Raises:
        ValueError: numbers do not follow each other, or the file holds none of these.
        StorageError: the file cannot be read.
    """
    key = ""
    if isinstance(given, str):
        given, key = _read(given)
    if isinstance(given, dict):
        return _in_order(_by_number(given, key), key)
    if isinstance(given, list):
        return GivenClasses([_name(value) for value in given])
    return GivenClasses(given)


def _name(given: Any) -> Any:
    if isinstance(given, bool):
        raise ValueError(
            f"{str(given).lower()} is no name: YAML reads yes, no, on, off, true and false without "
            'quotes as a truth value; write the names in quotes, such as ["no", "yes"]'
        )
    return str(given) if isinstance(given, int | float) else given


def _by_number(given: dict[Any, Any], key: str) -> dict[int, str]:
    pairs = list(given.items())
    if _is_by_name(given, key):
        pairs = [(value, name) for name, value in pairs]
    by_number: dict[int, str] = {}
    for stored, value in pairs:
        number, name = _number(stored), _name(value)
        if number is None or not isinstance(name, str) or number in by_number:
            raise ValueError(
                "a mapping of classes has a number of its own for each name, such as "
                "{0: background, 1: road}, or the other way round"
            )
        by_number[number] = name
    return by_number


def _is_by_name(given: dict[Any, Any], key: str) -> bool:
    """Whether a mapping goes from names to numbers; its key in a file says so, or its types.

    Raises:
        ValueError: both sides are numbers, and it could go either way.
    """
    if key in (_BY_NUMBER, _BY_NAME, _CATEGORIES):
        return key == _BY_NAME
    sides = (list(given), list(given.values()))
    keys, values = ([_number(value) for value in side] for side in sides)
    if None in keys or None in values:
        return None in keys and None not in values
    are_keys, are_values = (all(isinstance(v, int) for v in side) for side in sides)
    if are_keys != are_values:  # what is text is the name
        return are_values
    if dict(zip(keys, values, strict=True)) != dict(zip(values, keys, strict=True)):
        raise ValueError(
            f"a mapping of classes whose names are digits, such as {sides[0][0]!r}: "
            f"{sides[1][0]!r}, could go either way; list the names in order, or write the names "
            "as text and the numbers without quotes"
        )
    return False


def _in_order(by_number: dict[int, str], key: str) -> GivenClasses:
    numbers = sorted(by_number)
    is_whole = bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    if key == _CATEGORIES and (not is_whole or numbers != list(by_number)):
        # Labels are the document's numbers, or names; its order is that of the classes.
        names = list(by_number.values())
        values: dict[int | str, str] = {name: name for name in names}
        return GivenClasses(names, values=values | dict(by_number.items()))
    if not is_whole:
        raise ValueError(
            "numbers of classes must follow each other; list the names, and give labels.values "
            "for numbers with gaps"
        )
    return GivenClasses([by_number[number] for number in numbers], numbers[0])


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _read(uri: str) -> tuple[Any, str]:
    """What a file says, and under which key it says so (or none)."""
    try:
        content = storage.read_bytes(uri)
    except (StorageError, OSError, ValueError) as error:
        raise ValueError(f"{uri!r} is no file of class names that can be read: {error}") from error
    if len(content) > (_MAX_BYTES if not uri.lower().endswith(".json") else _MAX_JSON_BYTES):
        raise ValueError(f"{uri} has {len(content)} bytes; expected a file of class names")
    try:
        text = content.decode("utf-8-sig")
        if uri.lower().endswith(".json"):
            return _of_document(uri, json.loads(text, object_pairs_hook=unrepeated))
        if uri.lower().endswith(_YAML):
            return _of_document(uri, plain_values(text, uri))
    except (ValueError, RecursionError, SpecificationError) as error:
        raise ValueError(f"{uri} cannot be read as class names: {error}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [_NUMBERED.fullmatch(line) for line in lines]
    numbered = [(int(item[1]), item[2].strip()) for item in found if item]
    if (
        lines
        and not found[0]
        and (lines[0].lower() in _HEADERS or 0 < len(numbered) == len(lines) - 1)
    ):
        raise ValueError(
            f"{uri}: its first line, {lines[0]!r}, seems to be a header, and no class: take it "
            "out, or list the classes in the specification"
        )
    if not numbered or len(numbered) < len(lines):
        return lines, ""
    if len(dict(numbered)) < len(numbered):
        raise ValueError(f"{uri} gives a number to two names")
    return dict(numbered), _BY_NUMBER


def _of_document(uri: str, loaded: Any) -> tuple[Any, str]:
    key = ""
    if isinstance(loaded, dict):
        if isinstance(loaded.get(_CATEGORIES), list):
            return categories_of(uri, loaded), _CATEGORIES
        key = next((key for key in _KEYS if isinstance(loaded.get(key), dict | list)), "")
        loaded = loaded[key] if key else loaded
    if isinstance(loaded, dict | list) and loaded:
        return loaded, key
    raise ValueError(f"{uri}: expected a list of names, or a mapping of numbers and names")
