"""Checkpoints that lie in a folder, as a pattern, and what they tell of the model."""

import json
import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass

from ray_audit import storage
from ray_audit.discovery.tree import Tree, extension, folder_of, look
from ray_audit.errors import RayAuditError

_ENDS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".model", ".pyth", ".tar", ".th", ".pkl")
_NOT_EPOCHS = re.compile(
    r"(^|[_\-.])(last|best|latest|final|swa|ema|optimizer|scheduler|rng_state)"
)
_BESIDE = ("training_args", "optimizer", "scheduler", "rng_state", "scaler")
_MAX_HEADER = 2**24


@dataclass(frozen=True)
class WeightsFound:
    """Checkpoints of one training.

    Attributes:
        uri: for `checkpoints`.
        assumed: what was found.
        architecture: that a `config.json` beside them names.
    """

    uri: str | list[str]
    assumed: tuple[str, ...]
    architecture: str | None = None


def find_weights(uri: str) -> WeightsFound:
    """The checkpoints of a folder, a pattern or a file.

    Raises:
        SpecificationError: nothing is there.
        StorageError: the store cannot be listed.
    """
    if storage.has_wildcard(uri):
        return WeightsFound(uri, (f"checkpoints are {uri}, as given",))
    tree = look(uri)
    folders = _folders_of_weights(tree)
    if len(folders) > 1:
        return _of_folders(tree, folders)
    files = [path for path in tree.files if _is_weights(path)]
    if not files:
        return WeightsFound(uri, ("no checkpoint was found there",))
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for path in files:
        stem = path.rsplit("/", 1)[-1].removesuffix(extension(path))
        front = re.split(r"\d", stem, maxsplit=1)[0]
        if not _NOT_EPOCHS.search(stem.lower()):
            groups[folder_of(path), front, extension(path)].append(path)
    if not groups:
        return WeightsFound(
            [tree.at(path) for path in files], ("checkpoints are all that is there",)
        )
    (folder, front, end), best = max(groups.items(), key=lambda item: len(item[1]))
    pattern = f"{folder}/{front}*{end}" if folder else f"{front}*{end}"
    others = [path for path in files if path not in best]
    assumed = [f"{len(best)} checkpoints in natural order, {best[0]} to {best[-1]}"]
    assumed += [f"left out: {', '.join(others[:4])}"] if others else []
    fitting = [p for p in files if folder_of(p) == folder and _fits(p, front, end)]
    uri_ = tree.at(pattern) if len(fitting) == len(best) else [tree.at(path) for path in best]
    return WeightsFound(uri_, tuple(assumed), _architecture(tree))


def _fits(path: str, front: str, end: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name.startswith(front) and name.endswith(end)


def _is_weights(path: str) -> bool:
    name = path.rsplit("/", 1)[-1].lower()
    return extension(path).endswith(_ENDS) and not name.startswith(_BESIDE)


def _folders_of_weights(tree: Tree) -> list[str]:
    """Folders as Hugging Face saves them: one checkpoint each."""
    holds = (
        folder_of(path)
        for path in tree.files
        if path.rsplit("/", 1)[-1].startswith(("model.safetensors", "model-0", "pytorch_model"))
    )
    return sorted({folder for folder in holds if folder}, key=storage.natural_key)


def _of_folders(tree: Tree, folders: list[str]) -> WeightsFound:
    fronts = {re.split(r"\d", folder, maxsplit=1)[0] for folder in folders}
    assumed = (f"{len(folders)} checkpoints in natural order, {folders[0]} to {folders[-1]}",)
    uri: str | list[str] = [tree.at(folder) for folder in folders]
    if len(fronts) == 1 and all(folder.count("/") == folders[0].count("/") for folder in folders):
        uri = tree.at(f"{fronts.pop()}*")
    return WeightsFound(uri, assumed, _architecture(tree))


def _architecture(tree: Tree) -> str | None:
    for path in tree.files:
        if path.rsplit("/", 1)[-1] == "config.json" and tree.sizes[path] < _MAX_HEADER:
            with suppress(RayAuditError, ValueError, LookupError, TypeError):
                return str(json.loads(storage.read_bytes(tree.at(path)))["architectures"][0])
    return None
