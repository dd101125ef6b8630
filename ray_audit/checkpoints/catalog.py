"""The ordered list of checkpoints of an audit."""

import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ray_audit import storage
from ray_audit.checkpoints.sharded_weights import INDEX, shards_of
from ray_audit.errors import CheckpointError, StorageError

SUFFIXES = (
    *(".safetensors", ".pt", ".pth", ".ckpt", ".bin"),
    *(".pth.tar", ".model", ".pyth", ".pkl", ".th", INDEX),
)
_TRAINED = ".safetensors"
_IN_FOLDERS = (
    # A model that was saved again in one piece may leave an index of shards that are gone.
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
_ALIAS = re.compile(r"last|best|latest|final", re.IGNORECASE)
_MAX_COMPARED_BYTES = 2**30
_SIZES_DIFFER_BYTES = 2**20


@dataclass(frozen=True)
class Checkpoint:
    """Weights of one training step.

    Attributes:
        index: position in training order, from 0.
        name: shortest path that no other has, for people.
        uri: where it lies; of a model in several files, their index.
        size_bytes: its size.
        digest: of its content (local files) or of the store's etag.
    """

    index: int
    name: str
    uri: str
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class Catalog:
    """Checkpoints in training order, and what was done to the list.

    Attributes:
        checkpoints: those that are audited.
        notes: which have equal weights, and which of them are left out; and where their names
            speak of another order.
    """

    checkpoints: tuple[Checkpoint, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _StoredCheckpoint:
    uri: str
    size_bytes: int
    digest: str
    is_listed: bool  # by its own name, not by a pattern


def list_checkpoints(uri: str | list[str]) -> tuple[Checkpoint, ...]:
    """Checkpoints of `read_catalog`."""
    return read_catalog(uri).checkpoints


def read_catalog(uri: str | list[str]) -> Catalog:
    """List checkpoints: a glob in natural order (`epoch_2` before `epoch_10`), a list as given.

    A glob within a list stands for its files in natural order. A folder stands for the model that
    a Hugging Face trainer saved in it. What a glob matches by the name `last` or `best` and with
    the weights of another is left out.

    Raises:
        CheckpointError: nothing matches, or a file is of a kind that cannot be loaded safely.
        StorageError: the store does not answer, or answers badly.
    """
    try:
        found = _in_training_order(uri)
    except StorageError as error:
        if error.may_pass:
            raise error.named("checkpoints") from error
        raise CheckpointError(f"checkpoints: {error}{_how_made(uri)}") from error
    kept, notes = _without_aliases(found)
    if isinstance(uri, str):
        notes += _other_order([checkpoint.uri for checkpoint in kept])
    names = shortest_names([checkpoint.uri for checkpoint in kept])
    checkpoints = tuple(
        Checkpoint(index, name, checkpoint.uri, checkpoint.size_bytes, checkpoint.digest)
        for index, (name, checkpoint) in enumerate(zip(names, kept, strict=True))
    )
    return Catalog(checkpoints, tuple(notes))


def base_uri(uri: str) -> str:
    """The file of `model.weights.base`: itself, or the model that lies in a folder.

    Raises:
        CheckpointError: it is several, or none.
    """
    return base_checkpoint(uri).uri


def base_checkpoint(uri: str) -> Checkpoint:
    """The one checkpoint that `model.weights.base` names.

    Raises:
        CheckpointError: it is several, or none.
    """
    found = read_catalog(uri).checkpoints
    if len(found) != 1:
        raise CheckpointError(
            f"model.weights.base {uri} names {len(found)} checkpoints; expected one file, or the "
            "folder of one model"
        )
    return found[0]


def shortest_names(uris: Sequence[str]) -> list[str]:
    """The last parts of each path, as few as tell it from all others.

    >>> shortest_names(["a/1/w.pt", "a/2/w.pt", "b/x.pt"])
    ['1/w.pt', '2/w.pt', 'x.pt']
    """
    parts = [uri.split("/") for uri in uris]
    names = [part[-1] for part in parts]
    for depth in range(2, max(map(len, parts), default=0) + 1):
        twice = {name for name in names if names.count(name) > 1}
        if not twice:
            break
        names = [
            "/".join(parts_of_path[-depth:]) if name in twice else name
            for parts_of_path, name in zip(parts, names, strict=True)
        ]
    return names


def _in_training_order(uri: str | list[str]) -> list[_StoredCheckpoint]:
    if isinstance(uri, list):
        found = [item for pattern in uri for item in _in_training_order(pattern)]
        uris = [item.uri for item in found]
        twice = sorted({uri for uri in uris if uris.count(uri) > 1})
        if twice:
            raise StorageError(f"named twice in the list: {', '.join(twice[:5])}")
        return found
    items = sorted(_files(uri), key=lambda item: _place(item.uri))
    for item in items:
        if not item.uri.endswith(SUFFIXES):
            raise CheckpointError(
                f"checkpoint {item.uri}: expected one of {', '.join(SUFFIXES)}, or a folder with "
                "such a model; narrow the pattern to the weight files"
            )
    return [_described(item, not storage.has_wildcard(uri)) for item in items]


def _how_made(uri: str | list[str]) -> str:
    """What helps where a pattern that training fills matches nothing yet."""
    is_pattern = isinstance(uri, str) and storage.has_wildcard(uri) and uri.endswith(_TRAINED)
    return ". Where there are none yet, `ray-audit train` makes them" if is_pattern else ""


def _place(uri: str) -> tuple[Any, ...]:
    """Natural order, in which `epoch=1.ckpt` comes before what was saved again as `epoch=1-v1`."""
    suffix = next((suffix for suffix in SUFFIXES if uri.endswith(suffix)), "")
    return storage.natural_key(uri.removesuffix(suffix)), suffix


def _files(uri: str) -> list[storage.StoredObject]:
    """Files of a pattern; of folders the model in each."""
    try:
        return storage.list_objects(uri)
    except StorageError as error:
        folder = uri.rstrip("/")
        by_folder: dict[str, storage.StoredObject] = {}
        for name in reversed(_IN_FOLDERS):
            with suppress(StorageError):
                inside = storage.list_objects(f"{folder}/{name}")
                by_folder |= {posixpath.dirname(item.uri): item for item in inside}
        if by_folder:
            return list(by_folder.values())
        with suppress(StorageError):
            first = storage.list_objects(f"{folder}/*.distcp")[0]
            raise CheckpointError(
                f"checkpoint {posixpath.dirname(first.uri)} is a distributed checkpoint (.distcp): "
                "convert it with torch.distributed.checkpoint.format_utils.dcp_to_torch_save"
            ) from error
        raise


def _described(item: storage.StoredObject, is_listed: bool) -> _StoredCheckpoint:
    if not item.uri.endswith(INDEX):
        return _StoredCheckpoint(item.uri, item.size_bytes, _digest(item), is_listed)
    shards = [
        storage.list_objects(storage.escape_glob(shard_uri))[0] for shard_uri in shards_of(item.uri)
    ]
    digest = storage.digest(_digest(item), [_digest(shard) for shard in shards])
    return _StoredCheckpoint(item.uri, sum(shard.size_bytes for shard in shards), digest, is_listed)


def _digest(item: storage.StoredObject) -> str:
    # A local file has no etag, and its time of change says nothing of its content: read it.
    if "://" in item.uri:
        return storage.digest(item.size_bytes, item.etag)
    with open(item.uri, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _without_aliases(found: list[_StoredCheckpoint]) -> tuple[list[_StoredCheckpoint], list[str]]:
    """Leave out what a pattern matches by a name such as `last`, and is another's copy."""
    notes: list[str] = []
    left_out: set[str] = set()
    for checkpoint in found:
        if checkpoint.is_listed or not _is_alias(checkpoint.uri):
            continue
        others = [other for other in found if other is not checkpoint and other.uri not in left_out]
        twin = _twin(checkpoint, others)
        if twin is not None:
            left_out.add(checkpoint.uri)
            name, other = shortest_names([checkpoint.uri, twin.uri])
            notes.append(
                f"checkpoint {name} is left out: it has the same weights as {other}; list it by "
                "its own name to audit it as a step of its own"
            )
    kept = [item for item in found if item.uri not in left_out]
    by_digest: dict[str, list[str]] = {}
    for checkpoint in kept:
        by_digest.setdefault(checkpoint.digest, []).append(checkpoint.uri)
    for uris in by_digest.values():
        if len(uris) > 1:
            names = ", ".join(shortest_names(uris)[:5])
            notes.append(f"checkpoints {names} have the same content, and each counts as a step")
    return kept, notes


def _other_order(uris: Sequence[str]) -> Iterator[str]:
    """Where names in one folder count epochs or steps that do not rise in natural order.

    A metric before them in the name comes first there.
    """
    for word in ("epoch", "step", "iter"):
        found = [
            [*re.finditer(rf"{word}[a-z]*[^0-9a-z/]{{0,2}}([0-9]+)", uri, re.I)] for uri in uris
        ]
        if not all(found):
            continue
        steps = [int(matches[-1][1]) for matches in found]
        folders = {posixpath.dirname(m[-1].string[: m[-1].start()]) for m in found}
        if len(folders) == 1 and steps != sorted(steps):
            shown = ", ".join(shortest_names(uris)[:5]) + (", ..." if len(uris) > 5 else "")
            yield (
                f"checkpoints are taken in natural order, {shown}, in which {word} is "
                f"{', '.join(map(str, steps[:5]))}: give `checkpoints` as a list in the order in "
                "which they were trained"
            )
        return


def _is_alias(uri: str) -> bool:
    name = posixpath.basename(uri)
    return bool(_ALIAS.search(name)) or not re.search(r"\d", name)


def _twin(
    checkpoint: _StoredCheckpoint, others: Sequence[_StoredCheckpoint]
) -> _StoredCheckpoint | None:
    """The other checkpoint of the same weights: of the same bytes, or tensor by tensor."""
    for other in others:
        if other.digest == checkpoint.digest:
            return other
    numbered = [other for other in others if not _is_alias(other.uri)]
    near = [o for o in numbered if abs(o.size_bytes - checkpoint.size_bytes) <= _SIZES_DIFFER_BYTES]
    if not near or checkpoint.size_bytes * (1 + len(near)) > _MAX_COMPARED_BYTES:
        return None
    # torch, only where it is needed
    from ray_audit.checkpoints.file_tensors import weights_digest

    mine = weights_digest(checkpoint.uri)
    # The latest first: what is kept last is what `last` is.
    return next((o for o in reversed(near) if mine and weights_digest(o.uri) == mine), None)
