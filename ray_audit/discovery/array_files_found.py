"""Arrays in files that hold labels or masks alone: npy, npz, HDF5 and MATLAB."""

import io
import math

import numpy as np

from ray_audit import storage
from ray_audit.discovery.tree import Tree, extension
from ray_audit.formats.array_files import (
    NPY_MARK,
    ArrayFile,
    NpzArrays,
    opened_mat,
    read_npy,
)
from ray_audit.formats.damage import is_damage

ENDINGS = (".npy", ".npz", ".mat", ".h5", ".hdf5")
_MAX_BYTES = 64 * 2**20
_MAX_ELEMENTS = 10_000_000


def is_array_file(path: str) -> bool:
    """Whether a file holds arrays, by its extension."""
    return extension(path) in ENDINGS


def arrays_in(tree: Tree, path: str) -> dict[str, np.ndarray]:
    """The arrays of a file by name, that of an npy under the empty name; none of what is large."""
    found: dict[str, np.ndarray] = {}
    if tree.sizes.get(path, 0) > _MAX_BYTES:
        return found
    content = storage.read_bytes(tree.at(path))
    try:
        if content.startswith(NPY_MARK):
            return {"": read_npy(io.BytesIO(content), len(content))}
        file = _opened(content)
        for name in file.names:
            if math.prod(file.shape(name)) <= _MAX_ELEMENTS:
                found[name] = file.array(name)
    except Exception as error:  # each library raises its own of what is damaged
        if not is_damage(error):
            raise
    return found


def _opened(content: bytes) -> ArrayFile:
    stream = io.BytesIO(content)
    return NpzArrays(stream) if content.startswith(b"PK") else opened_mat(stream, len(content))
