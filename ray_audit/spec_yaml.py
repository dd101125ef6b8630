"""Plain values of a specification: YAML, overrides, and errors that name a key."""

import difflib
import re
from collections import Counter
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ray_audit import storage
from ray_audit.errors import SpecificationError, StorageError, redacted

# A date that is none, a number of thousands of digits, or brackets without end are not YAMLErrors.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
_MAX_VALUES = 200_000
_BRANCH = re.compile(r"[\[\]-]")


def read_mapping(path: str) -> dict[str, Any]:
    """Values of a YAML file, local or in any store.

    Raises:
        SpecificationError: it cannot be read, or is no plain YAML mapping.
    """
    try:
        text = storage.read_bytes(path).decode()
    except (StorageError, UnicodeDecodeError) as error:
        raise SpecificationError(f"cannot read the specification {path}: {error}") from error
    values = plain_values(text, path)
    if not isinstance(values, dict):
        kind = "nothing" if values is None else type(values).__name__
        raise SpecificationError(f"{path}: expected a mapping of keys, got {kind}")
    return values


def plain_values(text: str, path: str) -> Any:
    """Values of a YAML text that runs nothing, repeats no key and stays small.

    Args:
        text: of a file.
        path: names it in errors.

    Raises:
        SpecificationError: it is no plain YAML.
    """
    try:
        values = yaml.load(text, _PlainLoader)
    except _NOT_YAML as error:
        raise SpecificationError(f"{path} is not plain YAML: {_problem(error)}") from error
    _check_expanded(path, values)
    return values


def apply_overrides(values: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Return `values` with each `dotted.key=value` set; values are read as YAML.

    >>> apply_overrides({"vog": {"target": "loss"}}, ["vog.target=logit", "engine.batch_size=8"])
    {'vog': {'target': 'logit'}, 'engine': {'batch_size': 8}}
    """
    for override in overrides:
        dotted, equals, text = override.partition("=")
        keys = dotted.split(".")
        if not equals or not all(keys):
            raise SpecificationError(f"--set {dotted}: expected dotted.key=value")
        try:
            value = yaml.load(text, _PlainLoader)
        except _NOT_YAML as error:
            raise SpecificationError(
                f"--set {dotted}=...: the value is not plain YAML: {_problem(error)}"
            ) from error
        values = _with_value(values, keys, value, dotted)
    return values


def _with_value(values: dict[str, Any], keys: list[str], value: Any, dotted: str) -> dict[str, Any]:
    first, rest = keys[0], keys[1:]
    if not rest:
        return {**values, first: value}
    inner = {} if values.get(first) is None else values[first]
    if not isinstance(inner, dict):
        raise SpecificationError(f"--set {dotted}: {first} holds a value, and no keys below it")
    return {**values, first: _with_value(inner, rest, value, dotted)}


def _check_expanded(path: str, values: Any) -> None:
    """Refuse aliases that stand for very much more than the file holds.

    Raises:
        SpecificationError: they do.
    """
    num, waiting = 0, [values]
    while waiting:
        value = waiting.pop()
        num += 1
        if num > _MAX_VALUES:
            raise SpecificationError(
                f"{path}: its aliases (&, *) stand for more than {_MAX_VALUES} values; write out "
                "what is meant, or put it into a file that model.kwargs names"
            )
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


class _PlainLoader(yaml.SafeLoader):
    """YAML without tags, in which a key that is given twice is an error, not a silent choice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and names[key.value] > 1 and key.value != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is given twice", key.start_mark
                )
        return super().construct_mapping(node, deep)


def _problem(error: Exception) -> str:
    """What is wrong and where, without the line itself: it may hold a secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return type(error).__name__
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"


def explain(model: type[BaseModel], error: ValidationError, source: str) -> str:
    """Every problem of a specification, by its key, without a value that may be a secret."""
    lines = []
    for problem in error.errors():
        # pydantic names the branches of a union in the location: they are no keys of the user's.
        *above, last = (str(part) for part in problem["loc"] or ("specification",))
        is_key = problem["type"] == "extra_forbidden"
        keys = [part for part in above if not _BRANCH.search(part)]
        keys += [last] if is_key or not _BRANCH.search(last) else []
        where = ".".join(keys)
        if is_key:
            lines.append(f"{where}: unknown key{_nearest_key(model, problem['loc'])}")
        elif problem["type"] == "missing":
            lines.append(f"{where}: missing")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            value = problem["input"]
            # The value may be a URI with a secret in it: never repeat those.
            plain = isinstance(value, str | int | float | bool) and "@" not in str(value)
            plain = plain and redacted(str(value)) == str(value)
            lines.append(f"{where}: {message}{f' (got {value!r})' if plain else ''}")
    return f"{source}: " + "; ".join(dict.fromkeys(lines))


def _nearest_key(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    known: type[BaseModel] | None = model
    for part in loc[:-1]:
        field = known.model_fields.get(str(part)) if known else None
        annotation = field.annotation if field else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        known = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
    names = list(known.model_fields) if known else []
    nearest = difflib.get_close_matches(str(loc[-1]), names, n=1, cutoff=0.5)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; known keys: {', '.join(names)}" if names else ""
