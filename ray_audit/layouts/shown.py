"""A section `dataset` as lines of YAML, for people: long lists are cut short."""

from collections.abc import Mapping
from typing import Any

import yaml

_NUM_SHOWN = 6
_WIDTH = 100


def yaml_lines(dataset: Mapping[str, Any], num_shown: int | None = _NUM_SHOWN) -> list[str]:
    """The section as YAML.

    Args:
        dataset: its plain values.
        num_shown: entries of a long list or mapping; None for all of them.

    >>> yaml_lines({"classes": list("abcdefgh"), "void": [255]})
    ['classes: [a, b, c, d, e, ..., h]', 'void: [255]']
    """
    return [
        line
        for key, value in dataset.items()
        for line in _lines(key, value if num_shown is None else cut(value, num_shown))
    ]


def _lines(key: str, value: Any) -> list[str]:
    named = f"{flow(key)}: "
    in_one_line = f"{named}{flow(value)}"
    if len(in_one_line) <= _WIDTH:
        return [in_one_line]
    if _is_section(value):
        inner = [line for name, below in value.items() for line in _lines(name, below)]
        return [named.rstrip(), *(f"  {line}" for line in inner)]
    if isinstance(value, list | dict):
        # On lines of their own, as YAML may break a list between its brackets.
        return [named.rstrip(), *(f"  {line}" for line in flow(value, _WIDTH - 4).split("\n"))]
    return [in_one_line]


def flow(value: Any, width: int = 10**9) -> str:
    """A value as YAML in one line, or in lines of a width.

    >>> flow({"frames": "{stem}.csv", "values": {0: "void"}})
    "{frames: '{stem}.csv', values: {0: void}}"
    """
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=width
    )
    return (
        text.removesuffix("\n")
        .removesuffix("\n...")
        .replace("'...': '...'", "...")
        .replace("'...'", "...")
    )


def cut(value: Any, num: int) -> Any:
    """Plain values with no more than so many entries of a list, and `...` for the others."""
    if isinstance(value, list) and len(value) > num:
        return [*value[: num - 1], "...", value[-1]]
    if _is_section(value):
        return {key: cut(item, num) for key, item in value.items()}
    if isinstance(value, dict) and len(value) > num:
        items = list(value.items())
        return {**dict(items[: num - 1]), "...": "...", items[-1][0]: items[-1][1]}
    return value


def _is_section(value: Any) -> bool:
    """Whether keys are the specification's own, and not values that a dataset stores."""
    return isinstance(value, dict) and all(str(name).isidentifier() for name in value)
