"""Tables of keys for the documentation, from the JSON schema.

`python -m ray_audit.config.page docs/specification.md docs/training.md` writes what stands between
`<!-- keys: SECTION -->` and `<!-- end -->` in a page anew; a test holds the pages to it.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_audit.config.schema import json_schema

_TABLE = re.compile(r"(<!-- keys: ([\w.]*) ?-->\n).*?(<!-- end -->)", re.DOTALL)
_BOUNDS = (
    ("exclusiveMinimum", "above"),
    ("minimum", "from"),
    ("exclusiveMaximum", "below"),
    ("maximum", "to"),
)
_KINDS = {"string": "text", "boolean": "true, false", "object": "mapping", "array": "list"}


@dataclass(frozen=True)
class Key:
    """One key of a specification.

    Attributes:
        name: in its section, e.g. `frames`.
        values: what it may hold, e.g. `integer above 0 or auto`.
        description: a sentence or more.
        default: as in YAML; empty where there is none.
        is_required: whether it must be given where its section is.
        section: the schema of the keys below it, or None.
    """

    name: str
    values: str
    description: str
    default: str
    is_required: bool
    section: dict[str, Any] | None


def filled(page: str) -> str:
    """A page with the tables between its marks written anew."""
    return _TABLE.sub(lambda found: f"{found[1]}{table(found[2])}\n{found[3]}", page)


def table(section: str) -> str:
    """The keys of a section as a table in Markdown.

    Args:
        section: dotted, e.g. `dataset.clip`; empty for the specification itself.

    Raises:
        KeyError: there is no such section.
    """
    rows = ["| key | values | meaning | default |", "|---|---|---|---|"]
    for key in keys_of(section):
        default = "**required**" if key.is_required else f"`{key.default}`" if key.default else ""
        cells = (f"`{key.name}`", key.values, key.description, default)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def keys_of(section: str) -> list[Key]:
    """The keys of a section, in order; those of the specification itself where none is named.

    Raises:
        KeyError: there is no such section.
    """
    schema = json_schema()
    model: dict[str, Any] | None = schema
    for name in section.split(".") if section else ():
        sections = {key.name: key.section for key in _keys(model or {}, schema["$defs"])}
        model = sections[name]
    if model is None:
        raise KeyError(section)
    return list(_keys(model, schema["$defs"]))


def _keys(model: dict[str, Any], defs: dict[str, Any]) -> Iterator[Key]:
    required = model.get("required") or model.get("anyOf", [{}])[0].get("required", ())
    for name, key in model["properties"].items():
        options = [
            alternative
            for alternative in key.get("anyOf", [key])
            if alternative.get("type") != "null"
        ]
        named = [option["$ref"].rpartition("/")[2] for option in options if "$ref" in option]
        default = key.get("default")
        yield Key(
            name=name,
            values="keys" if named else " or ".join(_values(option) for option in options),
            description=key["description"],
            default="" if named or default is None else _plain(default),
            is_required=name in required,
            section=defs[named[0]] if named else None,
        )


def _values(option: dict[str, Any]) -> str:
    if "const" in option:
        return str(option["const"])
    if "enum" in option:
        return ", ".join(str(value) for value in option["enum"])
    if "anyOf" in option:
        return " or ".join(_values(alternative) for alternative in option["anyOf"])
    if "prefixItems" in option:
        return f"list of {len(option['prefixItems'])}: {_values(option['prefixItems'][0])}"
    if "items" in option:
        return f"list of {_values(option['items'])}"
    kind = option.get("type", "any")
    bounds = [f"{word} {option[name]:g}" for name, word in _BOUNDS if name in option]
    return " ".join([_KINDS.get(kind, kind), *bounds])


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_plain(item) for item in value)}]"
    return f"{value:g}".replace("e+0", "e") if isinstance(value, float) else str(value)


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
