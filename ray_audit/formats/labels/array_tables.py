"""Labels alone, in an array of a file: by the order of frames, files or samples."""

from collections.abc import Callable
from typing import IO, Any

import numpy as np
import pyarrow as pa

from ray_audit.errors import LabelError
from ray_audit.formats.array_files import only_array, read_npy
from ray_audit.formats.array_labels import flat_labels, text_values
from ray_audit.formats.damage import is_damage, readable
from ray_audit.formats.idx import is_idx, opened_idx
from ray_audit.formats.labels.cells import label_of

NPY = ".npy"
ENDINGS = (NPY, ".npz", ".h5", ".hdf5", ".mat")
_MAX_BYTES = 2**30


def is_array_table(uri: str) -> bool:
    """Whether a file of labels is an array, which has no columns and no names.

    >>> is_array_table("labels/v1.npy"), is_array_table("t10k-labels-idx1-ubyte.gz")
    (True, True)
    """
    return uri.lower().endswith(ENDINGS) or is_idx(uri)


def array_batch(
    uri: str, stream: IO[bytes], size_bytes: int, variable: str | None, required: dict[str, str]
) -> pa.RecordBatch:
    """Labels as a table: each is named by its place, from 0.

    Args:
        uri: for messages.
        stream: of the file.
        size_bytes: of the file.
        variable: which array it is; None where there is one.
        required: name to give out -> name of the column.

    Raises:
        LabelError: something else than names and labels is asked for, or the file is too large.
        SampleError: it holds no such array.
        ValueError: a label is no text.
    """
    values = label_array(uri, stream, size_bytes, variable)
    columns = {"name": _texts([*range(len(values))]), "label": _label_column(values)}
    missing = sorted(required[key] for key in required.keys() - columns.keys())
    if missing:
        raise LabelError(
            f"{uri}: an array has labels alone, in order, and no {', '.join(missing)}; write a "
            "table, or a file of labels for each video (labels/{stem}.npy)"
        )
    arrays = [columns[key] for key in required]
    return pa.RecordBatch.from_arrays(arrays, names=list(required.values()))


def _label_column(values: np.ndarray) -> pa.Array:
    if values.dtype.kind == "b":
        return pa.array(values)
    # NaN is an empty label, as in tables of every form.
    return _texts(["" if label is None else label for label in map(label_of, values.tolist())])


def _texts(values: list[Any]) -> pa.Array:
    texts = [str(value) for value in values]
    "".join(texts).encode().decode()  # numpy gives code points that there are not, too
    return pa.array(texts, pa.string())


def label_array(uri: str, stream: IO[bytes], size_bytes: int, variable: str | None) -> np.ndarray:
    """The labels of a file, (N,)."""
    if is_idx(uri):
        with opened_idx(uri, stream, size_bytes) as file:
            return flat_labels(file.array("image"), "labels")
    if size_bytes > _MAX_BYTES:
        raise LabelError(f"{uri}: {size_bytes} bytes of labels; expected at most {_MAX_BYTES}")
    try:
        values = only_array(stream.read(), variable)
    except Exception as error:
        if not is_damage(error):
            raise
        raise LabelError(f"{uri}: the array cannot be read: {readable(error)}") from error
    if values.size == max(values.shape, default=0):  # (N, 1, 1, 1), as PatchCamelyon has them
        values = values.reshape(-1)
    return flat_labels(values, "labels")


def copy_array(
    uri: str, source: IO[bytes], size_bytes: int, sink: IO[bytes], edit: Callable[[Any], Any]
) -> None:
    """Copy an npy file with some labels changed; shape and type stay.

    Raises:
        LabelError: it is another kind of file, or a new label does not fit its type.
    """
    if not uri.lower().endswith(NPY):
        raise LabelError(f"{uri}: new labels are written into arrays in .npy files only")
    values = read_npy(source, size_bytes)
    new = text_values(values).reshape(-1).tolist()
    for at, old in enumerate(new):
        rows = edit({"label": old if isinstance(old, bool) else str(old)})
        if rows is not None:
            new[at] = type(old)(rows[0]["label"])
    dtype = None if values.dtype.kind in "US" else values.dtype
    if values.dtype.kind == "S":
        new = [text.encode() for text in new]
    try:
        np.save(sink, np.array(new, dtype).reshape(values.shape), allow_pickle=False)
    except (OverflowError, ValueError) as error:
        raise LabelError(f"{uri}: an array of type {values.dtype}: {error}") from error
