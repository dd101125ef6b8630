"""Weights into a model, without running code from their files."""

import hashlib

import torch
from torch import Tensor, nn

from ray_audit.checkpoints.weight_files import read_file, refusal
from ray_audit.checkpoints.weights import WRAPPERS, Expected, fitting, mappings_in, renamed
from ray_audit.config import WeightsConfig
from ray_audit.errors import CheckpointError, StorageError


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
    states = [renamed(config.base, item, expected, plain) for item in found.values()]
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
