"""From what a file holds to the weights of a model: where they lie, and under which names."""

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ray_audit.config import WeightsConfig
from ray_audit.errors import CheckpointError

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model")
_MAX_DEPTH = 3
_NUM_TRIED = 8
_NUM_SHOWN = 3
_COUNTER = "num_batches_tracked"

Value = TypeVar("Value")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Expected:
    """The tensors of a model.

    Attributes:
        shapes: by name.
        tied: names that are one tensor, by each of them.
    """

    shapes: dict[str, Shape]
    tied: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, model: nn.Module) -> "Expected":
        """Look at a model."""
        groups: dict[tuple[Any, ...], list[str]] = {}
        state = model.state_dict()
        for name, tensor in state.items():
            key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            groups.setdefault(key if tensor.numel() else (name,), []).append(name)
        tied = {name: tuple(group) for group in groups.values() for name in group}
        return cls({name: tuple(tensor.shape) for name, tensor in state.items()}, tied)


def mappings_in(loaded: object, key: str | None) -> dict[str, dict[str, Tensor]]:
    """Mappings of names to tensors in what a file holds, by dotted path; the file itself is "".

    Args:
        loaded: the file.
        key: dotted path of the one that is wanted; None for all.
    """
    found: dict[str, dict[str, Tensor]] = {}
    if key is not None:
        inner: Any = loaded
        for part in key.split("."):
            inner = inner.get(part) if isinstance(inner, Mapping) else None
        _collect(inner, key, 0, found)
        return {key: found[key]} if key in found else {}
    _collect(loaded, "", _MAX_DEPTH, found)
    return found


def _collect(value: object, path: str, depth: int, found: dict[str, dict[str, Tensor]]) -> None:
    if not isinstance(value, Mapping):
        return
    tensors = {name: tensor for name, tensor in value.items() if torch.is_tensor(tensor)}
    if tensors and all(isinstance(name, str) for name in tensors):
        found[path] = tensors
    if depth:
        for name, inner in value.items():
            if isinstance(name, str):
                _collect(inner, f"{path}.{name}" if path else name, depth - 1, found)


def fitting(
    uri: str,
    found: Mapping[str, Mapping[str, Value]],
    expected: Expected,
    config: WeightsConfig,
    base: Mapping[str, Value] | None = None,
) -> dict[str, Value]:
    """The one mapping that holds a model's weights, under the model's names.

    Args:
        uri: of the file, for messages.
        found: mappings in it, by path; of tensors, or of their shapes.
        expected: the model's tensors.
        config: `model.weights`.
        base: what the file leaves out, under the model's names.

    Raises:
        CheckpointError: none fits (the nearest is explained), or several do.
    """
    whole = dict(base or {})
    tried = {
        path: whole | renamed(uri, tensors, expected, config) for path, tensors in found.items()
    }
    fits = {path: tensors for path, tensors in tried.items() if not _problems(tensors, expected)}
    paths = list(fits)
    if len(paths) > 1:
        raise CheckpointError(
            f"checkpoint {uri} holds weights that fit under {' and '.join(map(repr, paths))}: say "
            "which in model.weights.key"
        )
    if paths:
        return _complete(fits[paths[0]], expected)
    best = max(tried, key=lambda path: len(set(tried[path]) & set(expected.shapes)))
    raise CheckpointError(_explained(uri, best, found[best], tried[best], expected))


def renamed(
    uri: str, state: Mapping[str, Value], expected: Expected, config: WeightsConfig
) -> dict[str, Value]:
    """Names of a file as the model has them.

    `strip` and `add` are done as they stand; without them the one prefix is taken off behind which
    the model's names lie.

    Raises:
        CheckpointError: they lie behind two prefixes.
    """
    kept = as_configured(state, config)
    if config.strip or config.add:
        return kept
    names = _required(expected)
    if not names or names <= set(kept):
        return kept
    prefixes = [prefix for prefix in _prefixes(kept, names) if prefix]
    whole = [prefix for prefix in prefixes if all(prefix + name in kept for name in names)]
    if len(whole) > 1:
        raise CheckpointError(
            f"checkpoint {uri} holds weights that fit behind {' and '.join(map(repr, whole))}: "
            f"say which in model.weights.strip, and leave out others, such as strip: {whole[0]!r} "
            f"with ignore: [{whole[1] + '*'!r}]"
        )
    counts = {p: sum(p + name in kept for name in names) for p in prefixes}
    best = whole[0] if whole else max(counts, key=counts.__getitem__, default="")
    if not whole and sum(name in kept for name in names) >= counts.get(best, 0):
        return kept
    # A Lightning file may hold losses and metrics beside the model: only the model counts.
    return {n.removeprefix(best): value for n, value in kept.items() if n.startswith(best)}


def as_configured(state: Mapping[str, Value], config: WeightsConfig) -> dict[str, Value]:
    """Names of a file as `ignore`, `strip` and `add` leave them."""
    return {
        f"{config.add}{name.removeprefix(config.strip)}": value
        for name, value in state.items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in config.ignore)
    }


def _required(expected: Expected) -> set[str]:
    """One name of each tensor that a file must have: tied ones count once."""
    firsts = {group[0] for group in expected.tied.values()}
    return {name for name in expected.shapes if name in firsts and not name.endswith(_COUNTER)}


def _prefixes(state: Iterable[str], names: set[str]) -> list[str]:
    """What stands before a few of the model's names, in names of the file."""
    some = sorted(names, key=len, reverse=True)[:_NUM_TRIED]
    found = {key[: -len(name)] for name in some for key in state if key.endswith(name)}
    return sorted(prefix for prefix in found if not prefix or prefix.endswith("."))


def _shape(value: object) -> Shape:
    return tuple(value.shape) if isinstance(value, Tensor) else tuple(value)  # type: ignore[arg-type]


def _given(state: Mapping[str, Value], name: str, expected: Expected) -> Value | None:
    """A tensor of the file, by its name or by that of one that it is tied to."""
    if name in state:
        return state[name]
    return next((state[other] for other in expected.tied[name] if other in state), None)


def _missing(state: Mapping[str, Value], expected: Expected) -> list[str]:
    # Batch norms counted no batches before torch 0.4.1: torch takes such files, too.
    return [
        name
        for name in expected.shapes
        if not name.endswith(_COUNTER) and _given(state, name, expected) is None
    ]


def _problems(state: Mapping[str, Value], expected: Expected) -> list[str]:
    problems = []
    missing = _missing(state, expected)
    superfluous = sorted(set(state) - set(expected.shapes))
    for title, names in (("missing", sorted(missing)), ("superfluous", superfluous)):
        if names:
            problems.append(f"{len(names)} {title} key(s): {', '.join(names[:_NUM_SHOWN])}")
    differing = [
        f"{name} is {_shape(state[name])}, the model has {expected.shapes[name]}"
        for name in sorted(set(state) & set(expected.shapes))
        if _shape(state[name]) != expected.shapes[name]
    ]
    if differing:
        problems.append(f"{len(differing)} other shape(s): {differing[0]}")
    return problems


def _complete(state: Mapping[str, Value], expected: Expected) -> dict[str, Value]:
    given = {name: _given(state, name, expected) for name in expected.shapes}
    return {name: value for name, value in given.items() if value is not None}


def _explained(
    uri: str,
    path: str,
    stored: Mapping[str, Value],
    state: Mapping[str, Value],
    expected: Expected,
) -> str:
    where = f" (under {path!r})" if path else ""
    return (
        f"checkpoint {uri}{where} does not fit the model of model.factory: "
        f"{'; '.join(_problems(state, expected))}. {_hint(list(stored), state, expected)}"
        "Check model.kwargs and the checkpoints pattern"
    )


def _hint(stored: Sequence[str], state: Mapping[str, Value], expected: Expected) -> str:
    """What would help: the nearest name in the file, or keys to leave out."""
    missing = sorted(_missing(state, expected))
    superfluous = sorted(set(state) - set(expected.shapes))
    if superfluous and not missing:
        # `ignore` goes by the names of the file, before `strip` and `add`.
        names = [_stored_as(name, stored) for name in superfluous]
        patterns = _patterns(names, set(stored) - set(names))
        return f"To leave out what is none of the model's: model.weights.ignore: {patterns}. "
    if missing and not superfluous:
        return "What the file leaves out may lie in another: model.weights.base. "
    if not missing:
        return ""
    name = missing[0]
    ends = [key for key in stored if key.endswith(f".{name}")]
    starts = [key for key in stored if name.endswith(f".{key}")]
    if ends:
        prefix = ends[0].removesuffix(name)
        return f"{ends[0]} would be {name} with model.weights.strip: {prefix!r}. "
    if starts:
        prefix = name.removesuffix(starts[0])
        return f"{starts[0]} would be {name} with model.weights.add: {prefix!r}. "
    # A name that the model has is taken already: `c.bias` is no help where `h.bias` is missing.
    free = [key for key in stored if key not in expected.shapes]
    nearest = difflib.get_close_matches(name, free, n=1, cutoff=0.5)
    return f"The nearest to {name} in the file is {nearest[0]}. " if nearest else ""


def _stored_as(name: str, stored: Sequence[str]) -> str:
    """What a file calls a tensor that has been renamed."""
    if name in stored:
        return name
    return next((key for key in stored if key.endswith(name) or name.endswith(f".{key}")), name)


def _patterns(names: Sequence[str], kept: set[str]) -> list[str]:
    """Patterns that leave out some names and none that is kept: as few as their ends allow."""
    chosen: list[str] = []
    for name in names:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in chosen):
            continue
        ways = [f"{name.split('.')[0]}.*", f"*.{name.rsplit('.', 1)[-1]}"] if "." in name else []
        counts = {way: len(fnmatch.filter(names, way)) for way in ways}
        fine = [way for way in ways if counts[way] > 1 and not fnmatch.filter(kept, way)]
        chosen.append(max(fine, key=counts.__getitem__, default=name))
    return chosen[:_NUM_SHOWN]
