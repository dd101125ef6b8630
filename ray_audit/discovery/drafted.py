"""A drafted specification, with what was assumed and what is asked as comments."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray_audit.layouts.shown import yaml_lines

_WIDTH = 98
FACTORY = "your_package.your_module:your_function"
"""Stands where no model is known: nothing can be imported by it."""


@dataclass(frozen=True)
class Drafted:
    """What `init` has written.

    Attributes:
        what: that was recognised.
        layout: the published layout, where it is one.
        specification: plain values.
        assumed: what was assumed, and by what evidence.
        asked: what could not be known.
        also: other readings that fit.
        text: the specification as YAML, with comments.
        uri: where it was written; None where nowhere.
    """

    what: str
    layout: str | None
    specification: dict[str, Any]
    assumed: tuple[str, ...]
    asked: tuple[str, ...]
    also: tuple[str, ...]
    text: str
    uri: str | None = None


def written(
    specification: Mapping[str, Any],
    heading: str,
    assumed: Sequence[str],
    questions: Sequence[str],
    also: Sequence[str],
    remarks: Mapping[str, str],
) -> str:
    """The specification as YAML.

    Args:
        specification: plain values, in the order in which they are written.
        heading: what this is.
        assumed: what was assumed.
        questions: what could not be known.
        also: other readings that fit.
        remarks: comments of single keys, `model` or `model.factory`.
    """
    lines = [*_comment(heading), "#"]
    for title, items in (
        ("Assumed:", assumed),
        ("Not known, please say:", questions),
        ("Would fit, too:", also),
    ):
        if items:
            lines.append(f"# {title}")
            lines += [line for item in items for line in _comment(item, "  - ")]
    for key, value in specification.items():
        lines += _comment(remarks[key]) if key in remarks else []
        lines += _section(key, value, remarks)
    return "\n".join(lines) + "\n"


def _section(key: str, value: Any, remarks: Mapping[str, str]) -> list[str]:
    if not isinstance(value, dict):
        return yaml_lines({key: value}, None)
    lines = [f"{key}:"]
    for name, inner in value.items():
        remark = remarks.get(f"{key}.{name}")
        lines += [f"  {line}" for line in (_comment(remark) if remark else [])]
        lines += [f"  {line}" for line in yaml_lines({name: inner}, None)]
    return lines


def _comment(text: str, bullet: str = "") -> list[str]:
    lines = textwrap.wrap(
        text,
        _WIDTH - 4,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [f"# {line}" for line in lines]
