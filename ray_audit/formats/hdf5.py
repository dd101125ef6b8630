"""HDF5 files as arrays, MATLAB's 7.3 too; nothing outside of the file is opened."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ray_audit import storage
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.array_labels import flat_labels
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
                member = group[key]
                if isinstance(member, library.Dataset):
                    yield path + key
                elif isinstance(member, library.Group):
                    # Not by `h5o.get_info`, which walks the header, and a damaged one for ever.
                    place = group.id.links.get_info(key.encode()).u
                    if place not in seen:
                        seen.add(place)
                        found.append((f"{path}{key}/", member))
            waiting += reversed(found)

    def shape(self, name: str) -> tuple[int, ...]:
        """See `ArrayFile.shape`."""
        dataset = self._dataset(name)
        shape: tuple[int, ...] = dataset.shape[::-1] if _MATLAB in dataset.attrs else dataset.shape
        return shape

    def array(self, name: str) -> np.ndarray:
        """See `ArrayFile.array`."""
        dataset = self._dataset(name)
        kind = self._matlab_class(dataset)
        if kind == "cell":
            return self._cell_texts(dataset)
        values = self._values(dataset, ())
        if kind is None:
            return values
        values = np.asarray(values).T
        return _texts(values) if kind == "char" else _typed(values, kind)

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """See `ArrayFile.rows`."""
        dataset = self._dataset(name)
        if _MATLAB not in dataset.attrs:
            return self._values(dataset, (slice(start, stop),))
        values = self._values(dataset, (Ellipsis, slice(start, stop))).T
        return _typed(values, self._matlab_class(dataset))

    def last_axis(self, name: str, start: int, stop: int) -> np.ndarray:
        """See `ArrayFile.last_axis`: in MATLAB's order it is the first one that is stored."""
        dataset = self._dataset(name)
        if _MATLAB not in dataset.attrs:
            return self._values(dataset, (Ellipsis, slice(start, stop)))
        values = self._values(dataset, (slice(start, stop),)).T
        return _typed(values, self._matlab_class(dataset))

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

    def _matlab_class(self, dataset: Any) -> str | None:
        return (
            next(iter(self._attribute(dataset, _MATLAB)), None)
            if _MATLAB in dataset.attrs
            else None
        )

    def replace(self, name: str, labels: list[Any]) -> None:
        """Put new labels into an array; everything else stays.

        Raises:
            LabelError: they do not come back as they were written.
        """
        dataset = self._dataset(name)
        members = h5py().check_enum_dtype(dataset.dtype)
        if self._matlab_class(dataset) in ("cell", "char"):
            raise LabelError(
                f"array {name}: labels that are MATLAB text cannot be changed in place"
            )
        new = [_member(name, members, label) for label in labels] if members else labels
        try:
            text = h5py().check_string_dtype(dataset.dtype)
            values = np.array(new, object if text and text.length is None else None)
            if values.dtype.kind == "U":  # the file's text is UTF-8, of a fixed number of bytes
                values = np.char.encode(values, "utf-8")
            dataset[...] = _in_bytes(values, dataset).reshape(dataset.shape)
        except (OverflowError, ValueError, TypeError, OSError) as error:
            raise LabelError(f"array {name} of type {dataset.dtype}: {error}") from error
        self._file.flush()
        self._texts.close()  # what it has read is from before
        back = flat_labels(self.array(name), name).tolist()
        expected = [label.decode() if isinstance(label, bytes) else label for label in labels]
        if back != expected:
            raise LabelError(
                f"array {name} of type {dataset.dtype} does not hold the new labels: they come "
                "back otherwise (a filter such as scaleoffset, or text that is too long)"
            )

    def replace_numbers(self, name: str, values: np.ndarray) -> None:
        """Put new numbers into an array, all of them.

        Raises:
            LabelError: they do not come back as they were written.
        """
        dataset = self._dataset(name)
        try:
            stored = _in_bytes(values, dataset)
            dataset[...] = stored.T if _MATLAB in dataset.attrs else stored
        except (OverflowError, ValueError, TypeError, OSError) as error:
            raise LabelError(f"array {name} of type {dataset.dtype}: {error}") from error
        if not np.array_equal(self.array(name), values):
            raise LabelError(
                f"array {name} of type {dataset.dtype} does not hold the new masks: they come back "
                "otherwise (a filter such as scaleoffset)"
            )

    def _dataset(self, name: str) -> Any:
        if name not in self._file:
            raise SampleError("array_shape", f"there is no array {name}")
        dataset = self._file[name]
        if dataset.is_virtual or dataset.external:
            raise SampleError("array_shape", f"{name} lies in other files, which are not opened")
        if dataset.shape is None:
            raise SampleError("array_shape", f"{name} is empty")
        return dataset

    def _values(self, dataset: Any, at: tuple[Any, ...]) -> np.ndarray:
        self._check_size(dataset)
        library = h5py()
        members = library.check_enum_dtype(dataset.dtype)
        text = library.check_string_dtype(dataset.dtype)
        if text is not None and text.length is None:
            return self._long_texts(dataset, at)
        if dataset.dtype.kind not in "fiubS" or dataset.dtype.hasobject:
            raise SampleError(
                "array_shape", f"{dataset.name} holds {dataset.dtype}; expected numbers or text"
            )
        values: np.ndarray = dataset[at] if at else dataset[()]
        if members:
            names = {value: key for key, value in members.items()}
            values = np.array([names.get(v, str(v)) for v in values.reshape(-1).tolist()])
            values = values.reshape(dataset.shape if not at else (-1, *dataset.shape[1:]))
        return np.asarray(values)

    def _check_size(self, dataset: Any) -> None:
        """Refuse what would fill the memory, by the stored size of the array and of its chunks."""
        itemsize = max(dataset.dtype.itemsize, 1)
        inflated = math.prod(dataset.shape) * itemsize
        stored = min(dataset.id.get_storage_size(), self._size_bytes)
        for claimed in (inflated, math.prod(dataset.chunks or ()) * itemsize):
            if storage.inflates_too_far(stored, claimed):
                raise SampleError(
                    "too_large",
                    f"{dataset.name} would inflate from {stored} to {claimed} bytes",
                )

    def _long_texts(self, dataset: Any, at: tuple[Any, ...]) -> np.ndarray:
        """Text of any length, some at a time: many elements may share one long text."""
        if len(dataset.shape) != 1:
            raise SampleError(
                "array_shape", f"{dataset.name} has shape {dataset.shape}; expected (T,)"
            )
        start, stop, _ = (at[0] if at else slice(None)).indices(dataset.shape[0])
        found: list[str] = []
        num_chars = 0
        for texts in self._texts.of_array(dataset.name, start, stop):
            found += texts
            num_chars += sum(map(len, texts))
            if storage.inflates_too_far(self._size_bytes, num_chars):
                raise SampleError("too_large", f"{dataset.name} holds {num_chars} bytes of text")
        return np.array(found, dtype=str)

    def _cell_texts(self, dataset: Any) -> np.ndarray:
        """A cell array of text: each cell refers to an array of characters."""
        self._check_size(dataset)
        if h5py().check_ref_dtype(dataset.dtype) is None:
            raise SampleError("array_shape", f"{dataset.name} is a cell array without references")
        found = []
        for reference in dataset[()].T.reshape(-1):
            cell = self._file[reference]
            if self._matlab_class(cell) != "char":
                raise SampleError("array_shape", f"{dataset.name} has cells that are no text")
            self._check_size(cell)
            found.append("".join(_texts(np.asarray(cell[()]).T).tolist()))
        return np.array(found, dtype=str)


def _typed(values: np.ndarray, kind: str | None) -> np.ndarray:
    """Numbers of MATLAB; of its truth values, which lie in bytes, truth values."""
    return values.astype(np.bool_) if kind == "logical" else values


def _member(name: str, members: dict[str, int], label: str) -> int:
    """The number of an enumeration's member; a number of none is one that was there."""
    if label not in members and not label.removeprefix("-").isdecimal():
        raise LabelError(
            f"array {name}: its enumeration has no {label!r}, only {', '.join(list(members)[:8])}; "
            "save the labels as text, or with all classes in the enumeration"
        )
    return members[label] if label in members else int(label)


def _in_bytes(values: np.ndarray, dataset: Any) -> np.ndarray:
    """Values as a file holds them: those of MATLAB are bytes where they are truth values."""
    is_truth = values.dtype.kind == "b" and _MATLAB in dataset.attrs
    return values.astype(dataset.dtype) if is_truth else values


def _texts(values: np.ndarray) -> np.ndarray:
    """Rows of character codes as text, without the blanks that fill them up."""
    if values.ndim != 2 or values.dtype.kind != "u":
        raise SampleError("array_shape", f"text of shape {values.shape}; expected rows")
    return np.array(["".join(map(chr, row)).rstrip() for row in values.tolist()], dtype=str)
