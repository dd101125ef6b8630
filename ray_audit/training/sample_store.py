"""Arrays by sample id, in memory or in a folder: labels and moments that change while training."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ray_audit.storage import digest

_SHARD_DIGITS = 2


class SampleStore:
    """One array a sample.

    Args:
        folder: where arrays are kept, a file each, spread over 256 folders; in memory where
            absent. An existing folder is read on: training may be resumed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._in_memory: dict[str, npt.NDArray[Any]] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def get(self, sample_id: str) -> npt.NDArray[Any] | None:
        """The sample's array, or None."""
        if self._folder is None:
            return self._in_memory.get(sample_id)
        try:
            content = self._path(sample_id).read_bytes()
        except FileNotFoundError:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            array: npt.NDArray[Any] = arrays["array"]
            return array

    def put(self, sample_id: str, array: npt.NDArray[Any]) -> None:
        """Keep an array in place of the sample's earlier one; a killed process leaves either."""
        if self._folder is None:
            self._in_memory[sample_id] = array.copy()
            return
        path = self._path(sample_id)
        path.parent.mkdir(exist_ok=True)
        sink = io.BytesIO()
        np.savez_compressed(sink, allow_pickle=False, array=array, sample_id=np.array(sample_id))
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(sink.getvalue())
        os.replace(temporary, path)

    def sample_ids(self) -> Iterator[str]:
        """Samples that have an array, sorted."""
        if self._folder is None:
            yield from sorted(self._in_memory)
            return
        found = []
        for path in self._folder.glob("*/*.npz"):
            with np.load(path, allow_pickle=False) as arrays:
                found.append(str(arrays["sample_id"]))
        yield from sorted(found)

    def clear(self) -> None:
        """Forget all arrays."""
        self._in_memory.clear()
        if self._folder is not None:
            for path in self._folder.glob("*/*.npz"):
                path.unlink()

    def _path(self, sample_id: str) -> Path:
        # A digest: a sample's id may hold anything a path must not.
        name = digest(sample_id)
        assert self._folder is not None
        return self._folder / name[:_SHARD_DIGITS] / f"{name}.npz"
