"""Files of weights, told apart by their content, to the objects in them."""

import io
import pickle
import posixpath
import zipfile
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ray_audit import storage
from ray_audit.checkpoints.pickles import Placeholder, TensorUnpickler, is_pickle
from ray_audit.checkpoints.sharded_weights import INDEX, shards_of
from ray_audit.errors import CheckpointError

_ZIP = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_TAR_AT, _TAR = 257, b"ustar"
_ADVICE = "Save model.state_dict() alone, best as .safetensors"


_HEAD_BYTES = 512
_FOREIGN = {  # what a pattern of checkpoints finds by mistake, by a mark in its first bytes
    b"git-lfs.github.com/spec": "a pointer of Git LFS and not the file: run `git lfs pull`",
    b"<html": "an HTML page: what was downloaded is no file; look at its text",
    b"\x89HDF\r\n": f"an HDF5 file, as Keras writes. {_ADVICE}",
    b"GGUF": f"a GGUF file, whose weights are quantised. {_ADVICE}",
    b"TFL3": f"a TensorFlow Lite model. {_ADVICE}",
}
_ZIPPED = {  # the same of zip archives, by the ending of a member
    ".npy": "an npz file of arrays without names of torch",
    ".weights.h5": "a model of Keras",
    "serialized_exported_program.json": "a program of torch.export, which holds code",
    "models/model.json": "a program of torch.export, which holds code",
}


def read_file(uri: str) -> Any:
    """Read a file of weights: what it holds, with placeholders for all that is no tensor.

    Args:
        uri: a safetensors file, a file of `torch.save` (of any age), or the index of a model that
            is split into several files.

    Raises:
        CheckpointError: it is damaged, would fill the memory, or is of a kind that is not read.
    """
    if uri.endswith(INDEX):
        return _read_split(uri)
    content = storage.read_bytes(uri, in_parts=True)
    if not content:
        raise CheckpointError(f"checkpoint {uri} is empty: copy or save it again")
    if uri.endswith(".safetensors"):
        return _read_safetensors(uri, content)
    if content[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        raise CheckpointError(
            f"checkpoint {uri} was refused: it is a tar archive, as torch wrote before 2018 or "
            f"another tool did. {_ADVICE}"
        )
    try:
        if content.startswith(_ZIP):
            return _read_zip(uri, content)
        if is_pickle(content):
            return _read_legacy(content)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file raises whatever its bytes happen to mean
        raise CheckpointError(
            f"checkpoint {uri} cannot be read: it is damaged or was cut off "
            f"({type(error).__name__}). Copy or save it again"
        ) from error
    for mark, kind in _FOREIGN.items():
        if mark in content[:_HEAD_BYTES]:
            raise CheckpointError(f"checkpoint {uri} was refused: it is {kind}")
    raise CheckpointError(f"checkpoint {uri} is no file of weights: {content[:12]!r}... {_ADVICE}")


def _read_split(uri: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for shard in shards_of(uri):
        state |= read_file(shard)
    return state


def _read_safetensors(uri: str, content: bytes) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"checkpoint {uri} is no safetensors file, or was cut off: {error}"
        ) from error
    return state


def _has(names: list[str], ending: str) -> bool:
    return any(name.endswith(ending) for name in names)


def _read_zip(uri: str, content: bytes) -> Any:
    """The form of `torch.save` since 2020: a pickle and a member for each storage."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        inflated_bytes = sum(member.file_size for member in file.infolist())
        if storage.inflates_too_far(len(content), inflated_bytes):
            raise CheckpointError(
                f"checkpoint {uri} was refused: its {len(content)} bytes would inflate to "
                f"{inflated_bytes}. Save it again with torch.save, which does not compress"
            )
        names = file.namelist()
        foreign = next((kind for mark, kind in _ZIPPED.items() if _has(names, mark)), None)
        if foreign is not None:
            raise CheckpointError(f"checkpoint {uri} was refused: it is {foreign}. {_ADVICE}")
        (pickled,) = (name for name in names if name.count("/") == 1 and name.endswith("/data.pkl"))
        folder = posixpath.dirname(pickled)
        if f"{folder}/constants.pkl" in names:
            raise CheckpointError(
                f"checkpoint {uri} was refused: it is a TorchScript archive, which holds code. "
                f"{_ADVICE}"
            )
        if f"{folder}/byteorder" in names and file.read(f"{folder}/byteorder") != b"little":
            raise CheckpointError(f"checkpoint {uri} was refused: its bytes are big-endian")
        kept: dict[str, bytearray] = {}

        def elements(key: str, dtype: torch.dtype, num: int) -> Tensor:
            if key not in kept:
                kept[key] = bytearray(file.read(f"{folder}/data/{key}"))
            return _elements(kept[key], dtype, num)

        return TensorUnpickler(io.BytesIO(file.read(pickled)), elements).load()


def _read_legacy(content: bytes) -> Any:
    """The form of `torch.save` before 2020: pickles, and then the storages; or one pickle."""
    stream = io.BytesIO(content)
    kept: dict[str, bytearray] = {}

    def elements(key: str, dtype: torch.dtype, num: int) -> Tensor:
        num_bytes = num * dtype.itemsize
        if key not in kept:
            if num_bytes + sum(map(len, kept.values())) > len(content):
                raise pickle.UnpicklingError("its storages claim more than the file holds")
            kept[key] = bytearray(num_bytes)
        return _elements(kept[key], dtype, num)

    def load() -> Any:
        return TensorUnpickler(stream, elements).load()

    first = load()
    if first != _LEGACY_MAGIC:
        return first
    load(), load()  # the protocol, and the sizes of numbers on the machine
    loaded, keys = load(), load()
    for key in keys:
        num = int.from_bytes(stream.read(8), "little")
        values = kept.get(key)
        if values is None:
            raise pickle.UnpicklingError(f"storage {key!r} belongs to no tensor")
        read = stream.read(len(values))
        if len(read) != len(values) or (num and len(values) % num):
            raise pickle.UnpicklingError("a storage was cut off")
        values[:] = read
    return loaded


def _elements(stored: bytearray, dtype: torch.dtype, num: int) -> Tensor:
    if num * dtype.itemsize > len(stored):
        raise pickle.UnpicklingError("a storage is shorter than its tensors")
    if num == 0:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(stored, dtype=dtype, count=num)


def refusal(uri: str, loaded: object) -> CheckpointError:
    """The error of a file in which there are no weights."""
    named = _named(loaded)
    if named:
        return CheckpointError(
            f"checkpoint {uri} was refused: it holds objects ({', '.join(named)}) that could run "
            f"code, which are not loaded, and no mapping of names to tensors. {_ADVICE}"
        )
    return CheckpointError(
        f"checkpoint {uri} holds a {type(loaded).__name__}, expected a mapping of names to "
        f"tensors (or one within it). {_ADVICE}"
    )


def _named(loaded: object) -> list[str]:
    """Names of the placeholders in what was loaded, near its top."""
    values = [loaded, *(loaded.values() if isinstance(loaded, dict) else ())]
    names = [value.name for value in values if isinstance(value, Placeholder)]
    return list(dict.fromkeys(names))[:3]
