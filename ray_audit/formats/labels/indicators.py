"""Labels as a column for each class, of which one is 1 in each row (ISIC)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from ray_audit.errors import LabelError
from ray_audit.formats.labels.copied_columns import Cells, Edit

_PREFIX = "label:"
_TRUTHS = {"": False, "false": False, "true": True}


def label_cells(column: str | list[str]) -> dict[str, str]:
    """Names to give out of the column or columns of the label, and the columns.

    >>> label_cells("phase"), label_cells(["MEL", "NV"])
    ({'label': 'phase'}, {'label:MEL': 'MEL', 'label:NV': 'NV'})
    """
    if isinstance(column, str):
        return {"label": column}
    return {f"{_PREFIX}{name}": name for name in column}


def label_texts(
    columns: dict[str, pa.Array], column: str | list[str], locate: Callable[[int], str]
) -> pa.Array:
    """The label of each row: (R,) text, the name of the column that is 1; empty where none is.

    Raises:
        LabelError: a row has a 1 in several columns, or a cell is neither 0 nor 1.
    """
    if isinstance(column, str):
        return columns["label"]
    ones = np.stack([_ones(columns[f"{_PREFIX}{name}"], name, locate) for name in column])
    several = np.flatnonzero(ones.sum(axis=0) > 1)
    if len(several):
        row = int(several[0])
        both = ", ".join(np.array(column)[ones[:, row]])
        raise LabelError(
            f"{locate(row)}: {both} are all 1, and one label a sample is audited: name one column "
            "in labels.columns.label, and audit one after another"
        )
    names = np.array(["", *column], object)
    return pa.array(names[np.where(ones.any(axis=0), ones.argmax(axis=0) + 1, 0)], pa.string())


def _ones(column: pa.Array, name: str, locate: Callable[[int], str]) -> np.ndarray:
    encoded = column.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    truths = [_is_one(text) for text in encoded.dictionary.to_pylist()]
    if None in truths:
        row = int(np.flatnonzero(codes == truths.index(None))[0])
        raise LabelError(
            f"{locate(row)}: {name} is {column[row].as_py()!r}, expected 0 or 1 in each column of "
            "labels.columns.label"
        )
    found: np.ndarray = np.array(truths, bool)[codes]
    return found


def _is_one(cell: object) -> bool | None:
    """Whether a cell is 1; None where it is neither 0 nor 1.

    >>> _is_one("1.0"), _is_one(None), _is_one(False), _is_one("-1")
    (True, False, False, None)
    """
    text = "" if cell is None else str(cell).strip().lower()
    if text in _TRUTHS:
        return _TRUTHS[text]
    try:
        return {0.0: False, 1.0: True}.get(float(text))
    except ValueError:
        return None


def edit_of_cells(edit: Edit, column: str | list[str]) -> Edit:
    """An edit of rows with one label, for the cells that the table has."""
    if isinstance(column, str):
        return edit

    def edited(cells: Cells) -> list[Cells] | None:
        old = next((name for name in column if _is_one(cells[_PREFIX + name])), "")
        others = {key: cell for key, cell in cells.items() if not key.startswith(_PREFIX)}
        rows = edit(others | {"label": old})
        return None if rows is None else [_moved(row, cells, old) for row in rows]

    return edited


def _moved(row: Cells, cells: Cells, old: str) -> Cells:
    """The 1 changes places with what stands in the column of the new label."""
    new = str(row.get("label", old))
    stored: Cells = {key: cell for key, cell in row.items() if key != "label"}
    if new == old:
        return stored
    source, target = _PREFIX + old, _PREFIX + new
    if target not in cells:
        raise LabelError(f"class {new!r} has no column in labels.columns.label to be written in")
    zero: Any = type(cells[source])(0) if cells[target] is None else cells[target]
    return stored | {source: zero, target: cells[source]}
