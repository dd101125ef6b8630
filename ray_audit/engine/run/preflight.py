"""Checks that cost little and spare a failed run: the model is built, checkpoints are compared."""

import json
import struct
from collections.abc import Sequence

from ray_audit import storage
from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.checkpoints.loading import build_model, check_keys, load_weights
from ray_audit.config import AuditConfig
from ray_audit.errors import CheckpointError

_MAX_READ_BYTES = 2**30


def check_model(config: AuditConfig, checkpoints: Sequence[Checkpoint]) -> None:
    """Build the model and hold the checkpoints against it, by name and shape of each tensor.

    Of safetensors only the header is read. Other formats have no header: they are read whole, as
    many as 1 GiB holds; an actor that meets a bad one later stops the run.

    Raises:
        SpecificationError: the factory does not give a model.
        CheckpointError: a checkpoint is of another architecture, unreadable or unsafe.
    """
    model = build_model(config.model)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    read_bytes = 0
    for checkpoint in checkpoints:
        if checkpoint.uri.endswith(".safetensors"):
            check_keys(checkpoint.uri, _header_shapes(checkpoint), expected)
        elif read_bytes + checkpoint.size_bytes <= _MAX_READ_BYTES:
            load_weights(model, checkpoint.uri)
            read_bytes += checkpoint.size_bytes


def _header_shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Names and shapes from the header of a safetensors file."""
    uri, size_bytes = checkpoint.uri, checkpoint.size_bytes
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
