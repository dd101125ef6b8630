"""Checks that cost little and spare a failed run: the model is built, checkpoints are compared."""

import json
import struct
from collections.abc import Mapping, Sequence

from torch import nn

from ray_audit import storage
from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.checkpoints.factory import build_model
from ray_audit.checkpoints.loading import base_of, load_weights
from ray_audit.checkpoints.own_names import is_renamed_by_class, of_adapters
from ray_audit.checkpoints.sharded_weights import INDEX, shards_of
from ray_audit.checkpoints.weights import Expected, fitting
from ray_audit.config import AuditConfig, WeightsConfig
from ray_audit.errors import CheckpointError

_MAX_READ_BYTES = 2**30


def check_model(config: AuditConfig, checkpoints: Sequence[Checkpoint]) -> nn.Module:
    """Build the model and hold the checkpoints against it, by name and shape of each tensor.

    Of safetensors only the header is read. Other formats have no header: they are read whole, as
    many as 1 GiB holds; an actor that meets a bad one later stops the run.

    Returns:
        The model.

    Raises:
        SpecificationError: the factory does not give a model.
        CheckpointError: a checkpoint is of another architecture, unreadable or unsafe.
    """
    model = build_model(config.model, config.engine.start_timeout_s)
    weights, expected = config.model.weights, Expected.of(model)
    base = base_of(model, expected, weights) or {}
    shapes = {name: tuple(tensor.shape) for name, tensor in base.items()}
    read_bytes = 0
    for checkpoint in checkpoints:
        parts = _safetensors_of(checkpoint)
        if parts and _header_fits(checkpoint.uri, parts, model, weights, shapes):
            continue
        if read_bytes + checkpoint.size_bytes <= _MAX_READ_BYTES:
            load_weights(model, checkpoint.uri, weights)
            read_bytes += checkpoint.size_bytes
    return model


def _header_fits(
    uri: str,
    parts: Sequence[tuple[str, int]],
    model: nn.Module,
    weights: WeightsConfig,
    base: Mapping[str, tuple[int, ...]],
) -> bool:
    """Whether headers tell that a checkpoint fits; False where only loading it could.

    Raises:
        CheckpointError: it does not fit.
    """
    shapes = {k: v for part in parts for k, v in _header_shapes(*part).items()}
    found = {"": of_adapters(model, shapes)}
    try:
        fitting(uri, found, Expected.of(model), weights, base)
    except CheckpointError:
        if not is_renamed_by_class(model):
            raise
        return False
    return True


def _safetensors_of(checkpoint: Checkpoint) -> list[tuple[str, int]]:
    """The files that a checkpoint has, and their sizes, where all of them are safetensors."""
    uris = [(checkpoint.uri, checkpoint.size_bytes)]
    if checkpoint.uri.endswith(INDEX):
        shards = [storage.list_objects(storage.escape_glob(o)) for o in shards_of(checkpoint.uri)]
        uris = [(shard.uri, shard.size_bytes) for (shard,) in shards]
    return uris if all(uri.endswith(".safetensors") for uri, _ in uris) else []


def _header_shapes(uri: str, size_bytes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes from the header of a safetensors file."""
    if not size_bytes:
        raise CheckpointError(f"checkpoint {uri} is empty: copy or save it again")
    try:
        (length,) = struct.unpack("<Q", storage.read_range(uri, 0, 8))
        if length > size_bytes - 8:
            raise ValueError(f"its header claims {length} bytes, the file has {size_bytes}")
        header = json.loads(storage.read_range(uri, 8, 8 + length))
        tensors = {k: v for k, v in header.items() if k != "__metadata__"}
        end = 8 + length + max((v["data_offsets"][1] for v in tensors.values()), default=0)
        if end != size_bytes:
            raise ValueError(f"its tensors end at byte {end}, the file at byte {size_bytes}")
        return {k: tuple(v["shape"]) for k, v in tensors.items()}
    except (struct.error, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"checkpoint {uri} is no safetensors file, or was cut off: {error}"
        ) from error
