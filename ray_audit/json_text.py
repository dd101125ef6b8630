"""JSON as people write it: what Python's own reader takes without a word is refused."""

from typing import Any


def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are there once each: `object_pairs_hook` of Python's own reader.

    That takes the last value of a key and forgets the others, so that a label would vanish.

    Raises:
        ValueError: a key is there twice.

    >>> unrepeated([("a", 1), ("b", 2)])
    {'a': 1, 'b': 2}
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for at, key in enumerate(keys) if key in keys[:at])
        raise ValueError(f"the key {twice[:80]!r} is twice in one object; keep one of its values")
    return found
