"""Class names as datasets publish them: a list, a mapping to numbers, or a file of either."""

import json
import re
from typing import Any

from ray_audit import storage
from ray_audit.config.categories import categories_of
from ray_audit.errors import StorageError

_MAX_BYTES = 16 * 2**20
_MAX_JSON_BYTES = 2**30  # a COCO document has its categories among all else
_NUMBERED = re.compile(r"(\d{1,9})[\s,;:]+(\S.*)")
_KEYS = ("id2label", "labels", "label2id")  # of a model's config.json, of a dataset.json


def named_classes(given: Any) -> tuple[Any, int | None]:
    """Class names in index order, and the number of the first where numbers are given.

    Args:
        given: a list of names, a mapping between numbers and names (either way round), or the URI
            of a file: JSON of one of these, or text with a name a line, each with its number
            before it or none.

    Raises:
        ValueError: numbers do not follow each other, or the file holds none of these.
        StorageError: the file cannot be read.
    """
    if isinstance(given, str):
        given = _read(given)
    if isinstance(given, dict):
        return _in_order(given)
    if isinstance(given, list):
        return [_name(value) for value in given], None
    return given, None


def _name(given: Any) -> Any:
    if isinstance(given, bool):
        raise ValueError(
            f"{str(given).lower()} is no name: YAML reads yes, no, on, off, true and false without "
            'quotes as a truth value; write the names in quotes, such as ["no", "yes"]'
        )
    return str(given) if isinstance(given, int | float) else given


def _in_order(given: dict[Any, Any]) -> tuple[list[str], int]:
    by_number: dict[int, str] = {}
    pairs = list(given.items())
    if pairs and all(_number(key) is None for key, _ in pairs):
        pairs = [(value, key) for key, value in pairs]
    for key, value in pairs:
        number, name = _number(key), _name(value)
        if number is None or not isinstance(name, str) or number in by_number:
            raise ValueError(
                "a mapping of classes has a number of its own for each name, such as "
                "{0: background, 1: road}, or the other way round"
            )
        by_number[number] = name
    numbers = sorted(by_number)
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ValueError(
            "numbers of classes must follow each other; list the names, and give labels.values "
            "for numbers with gaps"
        )
    return [by_number[number] for number in numbers], numbers[0]


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _read(uri: str) -> Any:
    try:
        content = storage.read_bytes(uri)
    except (StorageError, OSError, ValueError) as error:
        raise ValueError(f"{uri!r} is no file of class names that can be read: {error}") from error
    if len(content) > (_MAX_BYTES if not uri.lower().endswith(".json") else _MAX_JSON_BYTES):
        raise ValueError(f"{uri} has {len(content)} bytes; expected a file of class names")
    try:
        text = content.decode("utf-8-sig")
        if uri.lower().endswith(".json"):
            return _of_json(uri, json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{uri} cannot be read as class names: {error}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [_NUMBERED.fullmatch(line) for line in lines]
    numbered = [(int(item[1]), item[2].strip()) for item in found if item]
    if not numbered or len(numbered) < len(lines):
        return lines
    if len(dict(numbered)) < len(numbered):
        raise ValueError(f"{uri} gives a number to two names")
    return dict(numbered)


def _of_json(uri: str, loaded: Any) -> Any:
    if isinstance(loaded, dict):
        if isinstance(loaded.get("categories"), list):  # COCO: numbers may have gaps
            return list(categories_of(uri, loaded).values())
        inner = [loaded[key] for key in _KEYS if isinstance(loaded.get(key), dict | list)]
        loaded = inner[0] if inner else loaded
    if isinstance(loaded, dict | list) and loaded:
        return loaded
    raise ValueError(f"{uri}: expected a list of names, or a mapping of numbers and names")
