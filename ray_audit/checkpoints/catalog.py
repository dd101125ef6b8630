"""The ordered list of checkpoints of an audit."""

import hashlib
import posixpath
from dataclasses import dataclass

from ray_audit import storage
from ray_audit.errors import CheckpointError, StorageError

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")


@dataclass(frozen=True)
class Checkpoint:
    """Weights of one training step.

    Attributes:
        index: position in training order, from 0.
        name: file name, for people.
        uri: where it lies.
        size_bytes: its size.
        digest: of its content (local files) or of the store's etag.
    """

    index: int
    name: str
    uri: str
    size_bytes: int
    digest: str


def list_checkpoints(uri: str | list[str]) -> tuple[Checkpoint, ...]:
    """List checkpoints: a glob in natural order (`epoch_2` before `epoch_10`), a list as given.

    A glob within a list stands for its files in natural order.

    Raises:
        CheckpointError: nothing matches, or a file is of a kind that cannot be loaded safely.
    """
    try:
        found = _in_training_order(uri)
    except StorageError as error:
        raise CheckpointError(f"checkpoints: {error}") from error
    for item in found:
        if not item.uri.endswith(SUFFIXES):
            raise CheckpointError(
                f"checkpoint {item.uri}: expected one of {', '.join(SUFFIXES)}; "
                "narrow the pattern to the weight files"
            )
    return tuple(
        Checkpoint(index, posixpath.basename(item.uri), item.uri, item.size_bytes, _digest(item))
        for index, item in enumerate(found)
    )


def _in_training_order(uri: str | list[str]) -> list[storage.StoredObject]:
    found = storage.list_objects(uri)  # of a list: refuses a file that is named twice
    if isinstance(uri, list):
        return [item for one in uri for item in _in_training_order(one)]
    return sorted(found, key=lambda item: storage.natural_key(item.uri))


def _digest(item: storage.StoredObject) -> str:
    # A local file has no etag, and its time of change says nothing of its content: read it.
    if "://" in item.uri:
        return storage.digest(item.size_bytes, item.etag)
    with open(item.uri, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]
