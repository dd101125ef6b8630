"""The JSON schema of a specification, and its keys as tables for the documentation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ray_audit.config.audit import AuditConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON schema of a specification, with a description on every key."""
    schema = AuditConfig.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for key in model["properties"].values():
            key["description"] = " ".join(key["description"].split())
    title = {"$schema": DIALECT, "title": "Specification of ray_audit"}
    return {**schema, **title, "description": "Read by `ray-audit plan` and `ray-audit run`."}


@dataclass(frozen=True)
class Key:
    """One key of a specification.

    Attributes:
        name: dotted, e.g. `dataset.clip.frames`.
        values: what it may hold, e.g. `integer above 0 or auto`; empty for a section.
        description: a sentence or more.
        default: as in YAML; empty where the key must be given or has none.
        is_required: whether it must be given where its section is.
        section: the schema of the keys below it, or None.
    """

    name: str
    values: str
    description: str
    default: str
    is_required: bool
    section: dict[str, Any] | None


def keys_of(section: str = "") -> list[Key]:
    """The keys of a section, in order; those of the specification itself where none is named.

    Raises:
        KeyError: there is no such section.
    """
    schema = json_schema()
    properties: dict[str, Any] = schema
    for name in section.split(".") if section else ():
        found = next(key for key in _keys(properties, schema["$defs"], "") if key.name == name)
        if found.section is None:
            raise KeyError(section)
        properties = found.section
    return list(_keys(properties, schema["$defs"], f"{section}." if section else ""))


def _keys(model: dict[str, Any], defs: dict[str, Any], above: str) -> Iterator[Key]:
    for name, key in model["properties"].items():
        options = key.get("anyOf", [key])
        named = [option["$ref"].rpartition("/")[2] for option in options if "$ref" in option]
        default = key.get("default")
        yield Key(
            name=f"{above}{name}",
            values="" if named else " or ".join(_values(option) for option in options),
            description=key["description"],
            default="" if named or default is None else _plain(default),
            is_required=name in model.get("required", ()),
            section=defs[named[0]] if named else None,
        )


def _values(option: dict[str, Any]) -> str:
    if "const" in option:
        return str(option["const"])
    if "enum" in option:
        return ", ".join(option["enum"])
    kind = str(option.get("type", "any"))
    if kind == "array":
        return f"list of {_values(option['items'])}" if "items" in option else "two numbers"
    if kind == "object":
        return "mapping"
    bounds = [
        f"{word} {option[name]:g}"
        for name, word in (
            ("exclusiveMinimum", "above"),
            ("minimum", "from"),
            ("exclusiveMaximum", "below"),
            ("maximum", "to"),
        )
        if name in option
    ]
    return " ".join([kind, *bounds])


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_plain(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
