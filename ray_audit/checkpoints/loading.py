"""Factory and weights to a frozen model on a device, without running code from the weights."""

import hashlib
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ray_audit.checkpoints.files import read_file, refusal
from ray_audit.checkpoints.weights import WRAPPERS, Expected, fitting, mappings_in, renamed
from ray_audit.config import ModelConfig, WeightsConfig
from ray_audit.errors import CheckpointError, SpecificationError, StorageError


def build_model(config: ModelConfig) -> nn.Module:
    """Call the user's factory; the model comes frozen and in eval mode.

    Raises:
        SpecificationError: the factory cannot be imported, raises, or returns no module.
    """
    return new_model(config).eval().requires_grad_(False)


def new_model(config: ModelConfig) -> nn.Module:
    """Call the user's factory, and leave the model as it gives it: for training.

    Raises:
        SpecificationError: the factory cannot be imported, raises, or returns no module.
    """
    model = call_factory("model.factory", config.factory, config.kwargs)
    if not isinstance(model, nn.Module):
        raise SpecificationError(
            f"model.factory {config.factory} returned {type(model).__name__}, "
            "expected a torch.nn.Module"
        )
    return model


def call_factory(key: str, path: str, kwargs: Mapping[str, Any]) -> Any:
    """Import a user's function and call it.

    Args:
        key: of the specification, for messages.
        path: `package.module:function`.
        kwargs: its arguments.

    Raises:
        SpecificationError: it cannot be imported, or raises.
    """
    module_name, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:  # a console script does not see the folder it is run in
        sys.path.insert(0, os.getcwd())
    try:
        factory: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise SpecificationError(
            f"{key} {path}: cannot be imported ({type(error).__name__}: {error})"
            "; it must be on the Python path of every worker, as package.module:function"
        ) from error
    try:
        return factory(**kwargs)
    except Exception as error:
        raise SpecificationError(
            f"{key} {path} with {dict(kwargs)} raised {type(error).__name__}: {error}"
        ) from error


def load_weights(model: nn.Module, uri: str, config: WeightsConfig | None = None) -> None:
    """Load a checkpoint into `model`, in place.

    Args:
        model: as the factory gives it.
        uri: a file of weights, or the index of a model that is split into several.
        config: `model.weights`: where in the file they lie, and under which names.

    Raises:
        CheckpointError: unreadable, unsafe, or of another architecture (the keys are named).
    """
    config = config or WeightsConfig()
    expected = Expected.of(model)
    state = fitting(uri, _found(uri, config), expected, config, base_of(expected, config))
    missing, superfluous = model.load_state_dict(state, strict=False)
    left = [name for name in (*missing, *superfluous) if not name.endswith("num_batches_tracked")]
    if left:
        raise CheckpointError(f"checkpoint {uri} leaves out {', '.join(sorted(left)[:3])}")


def base_of(expected: Expected, config: WeightsConfig) -> dict[str, Tensor] | None:
    """Weights of `model.weights.base`, under the model's names: what it has of them."""
    if config.base is None:
        return None
    plain = WeightsConfig(ignore=config.ignore)
    found = _found(config.base, plain)
    states = [renamed(config.base, one, expected, plain) for one in found.values()]
    best = max(states, key=lambda state: len(set(state) & set(expected.shapes)))
    return {name: tensor for name, tensor in best.items() if name in expected.shapes}


def _found(uri: str, config: WeightsConfig) -> dict[str, dict[str, Tensor]]:
    loaded = read_file(uri)
    found = mappings_in(loaded, config.key)
    if found:
        return found
    if config.key is not None and isinstance(loaded, dict):
        raise CheckpointError(
            f"checkpoint {uri} holds no tensors under model.weights.key {config.key!r}; it holds "
            f"{', '.join(map(str, list(loaded)[:8]))}"
        )
    raise refusal(uri, loaded)


def read_state(uri: str) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint: those under a usual key, or at the top of the file.

    Nothing in it is run: see `ray_audit.checkpoints.pickles`.

    Raises:
        CheckpointError: it cannot be read, or holds no tensors.
    """
    found = _found(uri, WeightsConfig())
    for path in (*WRAPPERS, ""):
        if path in found:
            return found[path]
    return next(iter(found.values()))


def weights_digest(uri: str) -> str:
    """Of names and values of the tensors in a checkpoint; empty where it cannot be read."""
    try:
        state = read_state(uri)
    except (CheckpointError, StorageError):
        return ""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
