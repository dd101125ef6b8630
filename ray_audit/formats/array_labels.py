"""Labels in arrays, as text or numbers, one for each element."""

import numpy as np

from ray_audit.errors import SampleError


def text_values(values: np.ndarray) -> np.ndarray:
    """Labels of type bytes as text; others as they are.

    >>> text_values(np.array([b"k0"])).tolist()
    ['k0']
    """
    if values.dtype.kind != "S":
        return values
    decoded: np.ndarray = np.char.decode(values, "utf-8", "backslashreplace")
    return decoded


def flat_labels(values: np.ndarray, name: str) -> np.ndarray:
    """Labels (T,), also where they are stored as a column or a row of a matrix.

    Raises:
        SampleError: they have another shape.

    >>> flat_labels(np.array([[1], [2]]), "y").tolist()
    [1, 2]
    """
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.ndim != 1:
        raise SampleError("array_shape", f"{name} has shape {values.shape}; expected (T,)")
    return text_values(values)
