import pyarrow as pa
import pytest

from ray_audit.errors import LabelError
from ray_audit.formats.labels.copied_columns import edited_table


def edited(values, kind, new):
    """The column with its second label changed, and one beside it that nobody asked for."""
    table = pa.table({"y": pa.array(values, kind), "kept": list(range(len(values)))})
    rows = iter([None, [{"label": new}], None])
    result = edited_table(table, {"label": "y"}, lambda cells: next(rows))
    assert result.schema == table.schema
    assert result["kept"].to_pylist() == list(range(len(values)))
    return result["y"].to_pylist()


@pytest.mark.parametrize(
    ("values", "kind", "new", "expected"),
    [
        ([True, True, False], pa.bool_(), "false", False),
        ([True, True, False], pa.bool_(), "0", False),
        ([1, 1, None], pa.int8(), "2", 2),
        ([1.0, 1.0, 0.5], pa.float32(), "2", 2.0),
        (["a", "b", "b"], pa.dictionary(pa.int8(), pa.string()), "c", "c"),
    ],
)
def test_a_new_label_has_the_type_of_the_column(values, kind, new, expected):
    assert edited(values, kind, new) == [values[0], expected, values[2]]


@pytest.mark.parametrize(
    ("values", "kind", "new"),
    [([True] * 3, pa.bool_(), "cat"), ([1] * 3, pa.int8(), "1.5"), ([1] * 3, pa.int8(), "999")],
)
def test_what_a_column_cannot_hold_is_refused(values, kind, new):
    with pytest.raises(LabelError, match=r"'y' of type .* cannot hold a new label"):
        edited(values, kind, new)
