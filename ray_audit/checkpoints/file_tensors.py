"""Tensors in the file of a checkpoint, whatever lies around them."""

import hashlib

import torch
from torch import Tensor

from ray_audit.checkpoints.weight_files import read_file, refusal
from ray_audit.checkpoints.weights import WRAPPERS, mappings_in
from ray_audit.config import WeightsConfig
from ray_audit.errors import CheckpointError, StorageError


def tensors_in(uri: str, config: WeightsConfig) -> dict[str, dict[str, Tensor]]:
    """Every mapping of names to tensors in a file, by its path there.

    Args:
        uri: a file of weights, or the index of a model that is split into several.
        config: says by `key` which one is meant, if any.

    Raises:
        CheckpointError: it cannot be read, or holds none.
    """
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
    found = tensors_in(uri, WeightsConfig())
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
