"""Models whose weights are split into several files: the index that names them."""

import json
import posixpath

from ray_audit import storage
from ray_audit.errors import CheckpointError

INDEX = ".index.json"
"""Ends the name of a file that says in which of several files each tensor lies."""

_MAX_INDEX_BYTES = 64 * 2**20


def shards_of(uri: str) -> list[str]:
    """Files that an index names, in order, each once.

    Raises:
        CheckpointError: it is no index.
    """
    content = storage.read_bytes(uri)
    try:
        if len(content) > _MAX_INDEX_BYTES:
            raise ValueError(f"{len(content)} bytes")
        names = list(dict.fromkeys(json.loads(content)["weight_map"].values()))
        if not names or any(posixpath.basename(str(name)) != name for name in names):
            raise ValueError("its weight_map names no files beside it")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"checkpoint {uri} is no index of weights: {error}") from error
    return [posixpath.join(posixpath.dirname(uri), name) for name in names]
