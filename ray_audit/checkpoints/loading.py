"""Factory and weights to a frozen model on a device, without running code from the weights."""

import importlib
import io
import os
import pickle
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ray_audit import storage
from ray_audit.config import ModelConfig
from ray_audit.errors import CheckpointError, SpecificationError

_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model")
_ZIP = b"PK\x03\x04"
Value = TypeVar("Value")
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def build_model(config: ModelConfig) -> nn.Module:
    """Call the user's factory.

    Raises:
        SpecificationError: the factory cannot be imported, raises, or returns no module.
    """
    module_name, _, attribute = config.factory.partition(":")
    if os.getcwd() not in sys.path:  # a console script does not see the folder it is run in
        sys.path.insert(0, os.getcwd())
    try:
        factory: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise SpecificationError(
            f"model.factory {config.factory}: cannot be imported ({type(error).__name__}: {error})"
            "; it must be on the Python path of every worker, as package.module:function"
        ) from error
    try:
        model = factory(**config.kwargs)
    except Exception as error:
        raise SpecificationError(
            f"model.factory {config.factory} with {config.kwargs} raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise SpecificationError(
            f"model.factory {config.factory} returned {type(model).__name__}, "
            "expected a torch.nn.Module"
        )
    return model.eval().requires_grad_(False)


def load_weights(model: nn.Module, uri: str) -> None:
    """Load a checkpoint into `model`, in place.

    Raises:
        CheckpointError: unreadable, unsafe, or of another architecture (the keys are named).
    """
    expected = model.state_dict()
    state = matching_prefix(read_state(uri), expected)
    check_keys(uri, _shapes(state), _shapes(expected))
    model.load_state_dict(state)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def read_state(uri: str) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors`, `.pt`, `.pth`, `.ckpt` or `.bin` file.

    Pickles are read with `weights_only=True`: a file that asks for code to be run is refused.
    """
    content = storage.read_bytes(uri, in_parts=True)
    if not content:
        raise CheckpointError(f"checkpoint {uri} is empty: copy or save it again")
    if uri.endswith(".safetensors"):
        try:
            state: dict[str, Tensor] = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise CheckpointError(
                f"checkpoint {uri} is no safetensors file, or was cut off: {error}"
            ) from error
        return state
    try:
        _check_inflated(uri, content)
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"checkpoint {uri} was refused: {_refused(error)}. Save model.state_dict() alone, "
            "best as .safetensors"
        ) from error
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        raise CheckpointError(
            f"checkpoint {uri} cannot be read: it is damaged or was cut off "
            f"({type(error).__name__}). Copy or save it again"
        ) from error
    return _unwrapped(uri, loaded)


def _check_inflated(uri: str, content: bytes) -> None:
    """Refuse a zip (the form of a `.pt` file) whose members would fill the memory.

    One that cannot be listed raises whatever its bytes happen to mean: it is not given to torch.
    """
    if not content.startswith(_ZIP):
        return  # the older form, which is not compressed
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        inflated_bytes = sum(member.file_size for member in file.infolist())
    if storage.inflates_too_far(len(content), inflated_bytes):
        raise CheckpointError(
            f"checkpoint {uri} was refused: its {len(content)} bytes would inflate to "
            f"{inflated_bytes}. Save it again with torch.save, which does not compress"
        )


def _refused(error: Exception) -> str:
    """Why, in our words: torch's own message recommends to switch the safeguard off."""
    named = _GLOBAL.search(str(error))
    what = f" ({named[1]})" if named else ""
    return f"it is no plain weight file, or holds more than weights{what} and could run code"


def _unwrapped(uri: str, loaded: object) -> dict[str, Tensor]:
    if isinstance(loaded, Mapping):
        for name in _WRAPPERS:
            inner = loaded.get(name)
            if isinstance(inner, Mapping) and any(torch.is_tensor(v) for v in inner.values()):
                loaded = inner
                break
    if not isinstance(loaded, Mapping) or not all(torch.is_tensor(v) for v in loaded.values()):
        kind = type(loaded).__name__
        raise CheckpointError(
            f"checkpoint {uri} holds a {kind}, expected a mapping of names to tensors "
            f"(or one under {', '.join(_WRAPPERS)})"
        )
    return {str(name): tensor for name, tensor in loaded.items()}


def matching_prefix(state: dict[str, Value], expected: Iterable[str]) -> dict[str, Value]:
    """Undo wrappers (DataParallel, compile, Lightning) while they hide the expected names."""
    names = set(expected)
    while not set(state) & names:
        prefix = next((p for p in _PREFIXES if any(k.startswith(p) for k in state)), None)
        if prefix is None:
            break
        # A Lightning file may hold losses and metrics beside the model: only the model counts.
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return state


def check_keys(
    uri: str, shapes: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]
) -> None:
    """Compare names and shapes of tensors.

    Raises:
        CheckpointError: one is missing, superfluous or of another shape; the message names it.
    """
    shapes = matching_prefix(shapes, expected)
    problems = []
    for title, names in (
        ("missing", set(expected) - set(shapes)),
        ("superfluous", set(shapes) - set(expected)),
    ):
        if names:
            shown = ", ".join(sorted(names)[:3])
            problems.append(f"{len(names)} {title} key(s): {shown}")
    differing = [
        f"{name} is {shapes[name]}, the model has {expected[name]}"
        for name in sorted(set(shapes) & set(expected))
        if shapes[name] != expected[name]
    ]
    if differing:
        problems.append(f"{len(differing)} other shape(s): {differing[0]}")
    if problems:
        raise CheckpointError(
            f"checkpoint {uri} does not fit the model of model.factory: {'; '.join(problems)}. "
            "Check model.kwargs and the checkpoints pattern"
        )
