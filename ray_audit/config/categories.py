"""Categories of a COCO document as `labels.values`: what the numbers of drawn masks mean."""

import json
from collections.abc import Collection
from typing import Any

from ray_audit import storage
from ray_audit.errors import StorageError
from ray_audit.json_text import unrepeated

_MAX_BYTES = 2**30
_BACKGROUND = "background"
_VOID = "void"


def is_document(masks: Any) -> bool:
    """Whether `labels.masks` is one JSON document, of which masks are drawn."""
    return isinstance(masks, str) and masks.lower().endswith(".json") and "{" not in masks


def reserved_numbers(categories: Collection[int]) -> tuple[int, int]:
    """What stands for pixels of no object (0 where no category has it), and for those left out.

    >>> reserved_numbers([1, 90]), reserved_numbers([0, 3])
    ((0, 91), (4, 5))
    """
    highest = max(categories)
    background = 0 if 0 not in categories else highest + 1
    return background, max(background, highest) + 1


def categories_of(uri: str, document: Any) -> dict[int, str]:
    """Numbers and names of a document's categories, in its order.

    Raises:
        ValueError: it has none.
    """
    listed = document.get("categories") if isinstance(document, dict) else None
    try:
        found = {int(category["id"]): str(category["name"]) for category in listed or ()}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{uri}: a category without {error} where it is needed") from error
    if not found or min(found) < 0:
        raise ValueError(f"{uri} is no COCO document: it lists no categories from 0")
    if listed is not None and len(found) < len(listed):
        raise ValueError(f"{uri}: two categories have one number; give each its own")
    return found


def document_values(uri: str, given: Any, classes: Any) -> dict[int | str, int | str]:
    """`labels.values` of a document: what the user gives, and the categories' own names.

    Args:
        uri: of the document.
        given: `labels.values`; names of categories are taken for their numbers.
        classes: names; pixels of no object are void where none of them is the background.

    Raises:
        ValueError: it cannot be read, or has categories that are no classes.
    """
    categories = categories_of(uri, _read(uri))
    background = next((n for n in classes if str(n).lower() == _BACKGROUND), _VOID)
    unclaimed, dropped = reserved_numbers(categories)
    values: dict[int | str, int | str] = {unclaimed: background}
    named = {str(key): value for key, value in (given or {}).items()}
    missing = []
    for number, name in categories.items():
        meaning = named.pop(str(number), named.pop(name, name))
        values[number] = meaning
        if meaning not in classes and meaning != _VOID:
            missing.append(name)
    values[dropped] = _VOID
    for key in [key for key in named if key.isdecimal()]:
        values[int(key)] = named.pop(key)
    if missing or named:
        few = ", ".join(map(repr, missing[:6] or list(named)[:6]))
        what = "has categories that are no classes" if missing else "has no such categories"
        raise ValueError(
            f"{uri} {what}: {few}. List them in dataset.classes, or say what they mean in "
            "dataset.labels.values, such as {person: void}; known are "
            f"{', '.join(list(categories.values())[:8])}{', ...' if len(categories) > 8 else ''}"
        )
    return values


def _read(uri: str) -> Any:
    try:
        content = storage.read_bytes(uri)
        if len(content) > _MAX_BYTES:
            raise ValueError("a JSON document of more than 1 GiB; split it")
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=unrepeated)
    except (StorageError, OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{uri!r} cannot be read as a COCO document: {error}") from error
