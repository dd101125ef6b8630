"""Names that classes of transformers and peft give to tensors in their files, not in the model.

transformers 5 renames and splits tensors as it loads (`vit.encoder.layer.0` of every file is
`vit.layers.0` of the model); only the class itself knows how. It is asked with the tensors in
memory: nothing is looked up, opened or downloaded. peft leaves the adapter's name out of its files,
and wraps layers whose names in a base checkpoint are the plain ones.
"""

import copy
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ray_audit.errors import CheckpointError

_MAX_PREFIXES = 3
_NUM_SHOWN = 3
_PEFT_PREFIX = "base_model.model."
_WRAPPED = re.compile(r"\.(base_layer|original_module)(?=\.)")

Value = TypeVar("Value")


def of_adapters(
    model: nn.Module, state: Mapping[str, Value], is_base: bool = False
) -> dict[str, Value]:
    """Names of a peft file as the model has them; those of other models stay.

    Args:
        model: as the factory gives it.
        state: of a file, by name.
        is_base: whether the file holds what adapters are put upon.
    """
    if not hasattr(model, "peft_config"):
        return dict(state)
    adapter = str(getattr(model, "active_adapter", "default"))
    trained = re.compile(rf"(\.modules_to_save)?\.{re.escape(adapter)}(?=\.|$)")
    names: dict[str, str] = {}
    for name in model.state_dict():
        plain = name.removeprefix(_PEFT_PREFIX)
        is_trained = trained.search(plain) is not None
        if is_trained != is_base:
            names[(trained if is_trained else _WRAPPED).sub("", plain)] = name
    own = set(model.state_dict())
    return {
        name if name in own else names.get(name.removeprefix(_PEFT_PREFIX), name): value
        for name, value in state.items()
    }


def is_renamed_by_class(model: nn.Module) -> bool:
    """Whether a model, or a part of it, may have other names in its files than in memory.

    Files of adapters hold the names of `of_adapters`, not those of the class.
    """
    return not hasattr(model, "peft_config") and _pretrained_part(model) is not None


def by_its_class(
    model: nn.Module, uri: str, state: Mapping[str, Tensor], is_part: bool = False
) -> dict[str, Tensor] | None:
    """A file's tensors under the model's names, as the class of transformers loads them.

    Args:
        model: it, or one part of it, is a `PreTrainedModel`.
        uri: of the file, for messages.
        state: of the file; a prefix that all names share may stand before those of the class.
        is_part: whether the file may leave tensors out, which then are not among those returned.

    Returns:
        None where no part is of such a class.

    Raises:
        CheckpointError: the class leaves tensors out, or finds none for some of its own.
    """
    found = _pretrained_part(model)
    if found is None:
        return None
    path, part = found
    within = {n.removeprefix(path): v for n, v in state.items() if n.startswith(path)}
    outside = {n: v for n, v in state.items() if path and within and not n.startswith(path)}
    said = ""
    for prefix in _shared_prefixes(within or state):
        inner = {name.removeprefix(prefix): value for name, value in (within or state).items()}
        loaded, why = _loaded_by_class(part, inner, is_part)
        if loaded is not None:
            return outside | {path + name: value for name, value in loaded.items()}
        said = said or why
    raise CheckpointError(
        f"checkpoint {uri} does not fit {type(part).__name__} of model.factory, as that class "
        f"loads it: {said}. Check model.kwargs and the checkpoints pattern; model.weights.strip "
        "takes a prefix off the names, model.weights.base gives what the file leaves out"
    )


def _pretrained_part(model: nn.Module) -> tuple[str, Any] | None:
    """The outermost module of such a class, and its path with a dot behind; None if not one."""
    outermost = list[tuple[str, nn.Module]]()
    for name, module in model.named_modules():
        if any(name.startswith(f"{above}." if above else "") for above, _ in outermost):
            continue
        kinds = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(module).mro()]
        if ("transformers", "PreTrainedModel") in kinds:
            outermost.append((name, module))
    if len(outermost) != 1:
        return None
    ((name, module),) = outermost
    return (f"{name}." if name else ""), module


def _shared_prefixes(state: Mapping[str, Tensor]) -> list[str]:
    """Nothing, and then what stands before all names of a file, part by part."""
    prefixes, names = [""], list(state)
    while len(prefixes) <= _MAX_PREFIXES and names:
        first = names[0].partition(".")[0] + "."
        if not all(name.startswith(first) for name in names):
            break
        prefixes.append(prefixes[-1] + first)
        names = [name.removeprefix(first) for name in names]
    return prefixes


def _loaded_by_class(
    part: Any, state: Mapping[str, Tensor], is_part: bool
) -> tuple[dict[str, Tensor] | None, str]:
    """The class's own tensors by its own names; or None, and what it misses."""
    kind, first = type(part), next(part.parameters(), None)
    try:
        with _quiet():
            loaded, info = kind.from_pretrained(
                None,
                config=copy.deepcopy(part.config),
                state_dict=dict(state),
                output_loading_info=True,
                dtype=torch.float32 if first is None else first.dtype,
            )
    except Exception as error:  # whatever a class raises at what does not fit it
        return None, f"{type(error).__name__}: {error}"
    if is_part and not info["unexpected_keys"]:
        found = loaded.state_dict().items()
        return {name: value for name, value in found if name not in info["missing_keys"]}, ""
    problems = []
    for what, key in (("missing", "missing_keys"), ("superfluous", "unexpected_keys")):
        names = [n for n in sorted(info[key]) if not n.endswith("num_batches_tracked")]
        if names:
            problems.append(f"{len(names)} {what} key(s): {', '.join(names[:_NUM_SHOWN])}")
    if problems:
        return None, "; ".join(problems)
    return dict(loaded.state_dict()), ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep bars and tables of the library from standing among the audit's own lines."""
    logging = getattr(sys.modules.get("transformers"), "logging", None)
    if logging is None:
        yield
        return
    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()
