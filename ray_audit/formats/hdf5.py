"""HDF5 files as arrays, MATLAB's 7.3 too; nothing outside of the file is opened."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ray_audit import storage
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.hdf5_texts import HdfTexts

_MAX_NAMES = 1_000_000
_CLASS_NAMES = ("class_names", "classes", "names", "label_names")
_MATLAB = "MATLAB_class"


def h5py() -> Any:
    """The library, loaded where a file needs it."""
    import h5py as library

    return library


class HdfArrays:
    """The datasets of an HDF5 file, by their paths without the first `/`.

    MATLAB's are turned, so that shapes and axes are those that MATLAB shows. Links, external files
    and virtual datasets are not followed.

    Args:
        stream: of the file, or a path.
        size_bytes: of the file.
        mode: `r`, or `r+` to change labels.

    Raises:
        OSError: it is damaged, or no HDF5.
    """

    def __init__(self, stream: IO[bytes] | Path, size_bytes: int, mode: str = "r") -> None:
        self._size_bytes = size_bytes
        self._stream = stream.open("rb") if isinstance(stream, Path) else None
        served = stream if self._stream is None else self._stream
        self._texts = HdfTexts(served, size_bytes)  # type: ignore[arg-type]
        self._file = h5py().File(stream, mode)
        self.names = list(self._walk())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._texts.close()
        if self._stream is not None:
            self._stream.close()

    def _walk(self) -> Iterator[str]:
        library, seen, num = h5py(), set(), 0
        waiting = [("", self._file)]
        while waiting:
            path, group = waiting.pop()
            found = []
            for key in group:
                num += 1
                if num > _MAX_NAMES:
                    raise SampleError("too_large", f"more than {_MAX_NAMES} arrays and groups")
                is_hard = isinstance(group.get(key, getlink=True), library.HardLink)
                if key.startswith("#") or not is_hard:
                    continue  # `#refs#` holds the cells of MATLAB
                one = group[key]
                if isinstance(one, library.Dataset):
                    yield path + key
                elif isinstance(one, library.Group):
                    place = library.h5o.get_info(one.id).addr
                    if place not in seen:
                        seen.add(place)
                        found.append((f"{path}{key}/", one))
            waiting += reversed(found)

    def shape(self, name: str) -> tuple[int, ...]:
        """See `ArrayFile.shape`."""
        one = self._dataset(name)
        shape: tuple[int, ...] = one.shape[::-1] if _MATLAB in one.attrs else one.shape
        return shape

    def array(self, name: str) -> np.ndarray:
        """See `ArrayFile.array`."""
        one = self._dataset(name)
        kind = self._matlab_class(one)
        if kind == "cell":
            return self._cell_texts(one)
        values = self._values(one, ())
        if kind is None:
            return values
        values = np.asarray(values).T
        return _texts(values) if kind == "char" else values

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """See `ArrayFile.rows`."""
        one = self._dataset(name)
        if _MATLAB not in one.attrs:
            return self._values(one, (slice(start, stop),))
        return self._values(one, (Ellipsis, slice(start, stop))).T

    def class_names(self, name: str) -> list[str]:
        """Names in an attribute of the array or of the file; those of an enumeration are values."""
        for holder in (self._dataset(name), self._file):
            for key in _CLASS_NAMES:
                if key in holder.attrs:
                    return self._attribute(holder, key)
        return []

    def _attribute(self, holder: Any, key: str) -> list[str]:
        """An attribute of text or numbers, flat."""
        library = h5py()
        dtype = holder.attrs.get_id(key).dtype
        text = library.check_string_dtype(dtype)
        if text is not None and text.length is None:
            return self._texts.of_attribute(holder.name, key)
        if dtype.kind not in "fiubS" or dtype.hasobject:
            raise SampleError("array_shape", f"{key} of {holder.name} holds {dtype}; expected text")
        given = np.atleast_1d(holder.attrs[key]).reshape(-1).tolist()
        return [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in given]

    def _matlab_class(self, one: Any) -> str | None:
        return next(iter(self._attribute(one, _MATLAB)), None) if _MATLAB in one.attrs else None

    def replace(self, name: str, labels: list[Any]) -> None:
        """Put new labels into an array; everything else stays.

        Raises:
            LabelError: they do not come back as they were written.
        """
        one = self._dataset(name)
        members = h5py().check_enum_dtype(one.dtype)
        if self._matlab_class(one) in ("cell", "char"):
            raise LabelError(
                f"array {name}: labels that are MATLAB text cannot be changed in place"
            )
        new = [members[label] for label in labels] if members else labels
        try:
            text = h5py().check_string_dtype(one.dtype)
            values = np.array(new, object if text and text.length is None else None)
            one[...] = values.reshape(one.shape)
        except (OverflowError, ValueError, TypeError, OSError) as error:
            raise LabelError(f"array {name} of type {one.dtype}: {error}") from error
        from ray_audit.formats.array_files import flat_labels

        self._file.flush()
        self._texts.close()  # what it has read is from before
        back = flat_labels(self.array(name), name).tolist()
        expected = [label.decode() if isinstance(label, bytes) else label for label in labels]
        if back != expected:
            raise LabelError(
                f"array {name} of type {one.dtype} does not hold the new labels: they come back "
                "otherwise (a filter such as scaleoffset, or text that is too long)"
            )

    def _dataset(self, name: str) -> Any:
        if name not in self._file:
            raise SampleError("array_shape", f"there is no array {name}")
        one = self._file[name]
        if one.is_virtual or one.external:
            raise SampleError("array_shape", f"{name} lies in other files, which are not opened")
        if one.shape is None:
            raise SampleError("array_shape", f"{name} is empty")
        return one

    def _values(self, one: Any, at: tuple[Any, ...]) -> np.ndarray:
        self._check_size(one)
        library = h5py()
        members = library.check_enum_dtype(one.dtype)
        text = library.check_string_dtype(one.dtype)
        if text is not None and text.length is None:
            return self._long_texts(one, at)
        if one.dtype.kind not in "fiubS" or one.dtype.hasobject:
            raise SampleError(
                "array_shape", f"{one.name} holds {one.dtype}; expected numbers or text"
            )
        values: np.ndarray = one[at] if at else one[()]
        if members:
            names = {value: key for key, value in members.items()}
            values = np.array([names.get(v, str(v)) for v in values.reshape(-1).tolist()])
            values = values.reshape(one.shape if not at else (-1, *one.shape[1:]))
        return np.asarray(values)

    def _check_size(self, one: Any) -> None:
        """Refuse what would fill the memory, by the stored size of the array and of its chunks."""
        itemsize = max(one.dtype.itemsize, 1)
        inflated = math.prod(one.shape) * itemsize
        stored = min(one.id.get_storage_size(), self._size_bytes)
        for claimed in (inflated, math.prod(one.chunks or ()) * itemsize):
            if storage.inflates_too_far(stored, claimed):
                raise SampleError(
                    "too_large",
                    f"{one.name} would inflate from {stored} to {claimed} bytes",
                )

    def _long_texts(self, one: Any, at: tuple[Any, ...]) -> np.ndarray:
        """Text of any length, some at a time: many elements may share one long text."""
        if len(one.shape) != 1:
            raise SampleError("array_shape", f"{one.name} has shape {one.shape}; expected (T,)")
        start, stop, _ = (at[0] if at else slice(None)).indices(one.shape[0])
        found: list[str] = []
        num_chars = 0
        for texts in self._texts.of_array(one.name, start, stop):
            found += texts
            num_chars += sum(map(len, texts))
            if storage.inflates_too_far(self._size_bytes, num_chars):
                raise SampleError("too_large", f"{one.name} holds {num_chars} bytes of text")
        return np.array(found, dtype=str)

    def _cell_texts(self, one: Any) -> np.ndarray:
        """A cell array of text: each cell refers to an array of characters."""
        self._check_size(one)
        if h5py().check_ref_dtype(one.dtype) is None:
            raise SampleError("array_shape", f"{one.name} is a cell array without references")
        found = []
        for reference in one[()].T.reshape(-1):
            cell = self._file[reference]
            if self._matlab_class(cell) != "char":
                raise SampleError("array_shape", f"{one.name} has cells that are no text")
            self._check_size(cell)
            found.append("".join(_texts(np.asarray(cell[()]).T).tolist()))
        return np.array(found, dtype=str)


def _texts(values: np.ndarray) -> np.ndarray:
    """Rows of character codes as text, without the blanks that fill them up."""
    if values.ndim != 2 or values.dtype.kind != "u":
        raise SampleError("array_shape", f"text of shape {values.shape}; expected rows")
    return np.array(["".join(map(chr, row)).rstrip() for row in values.tolist()], dtype=str)
