from decimal import Decimal

import numpy as np
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
        (["a", "b", None], pa.string_view(), "c", "c"),
        (["a", "b", None], pa.large_string(), "c", "c"),
        ([b"a", b"b", None], pa.binary(), "c", b"c"),
        ([b"a", b"b", None], pa.binary(1), "c", b"c"),
        ([b"a", b"b", None], pa.large_binary(), b"c", b"c"),
        ([Decimal("1.00"), Decimal("2.00"), None], pa.decimal128(5, 2), "0.00", Decimal("0.00")),
        (list(np.float16([1, np.inf, 0.5])), pa.float16(), "2.0", 2.0),
    ],
)
def test_a_new_label_has_the_type_of_the_column(values, kind, new, expected):
    assert edited(values, kind, new) == [values[0], expected, values[2]]


@pytest.mark.parametrize(
    ("values", "kind", "new"),
    [
        ([True] * 3, pa.bool_(), "cat"),
        ([1] * 3, pa.int8(), "1.5"),
        ([1] * 3, pa.int8(), "999"),
        ([b"a"] * 3, pa.binary(1), "cat"),
        ([Decimal("1.00")] * 3, pa.decimal128(5, 2), "cat"),
    ],
)
def test_what_a_column_cannot_hold_is_refused(values, kind, new):
    with pytest.raises(LabelError, match=r"'y' of type .* cannot hold a new label"):
        edited(values, kind, new)


def test_a_column_of_categories_keeps_their_order_and_those_that_no_row_has():
    # findings/an_ordered_dictionary_forgets_its_order.sh
    kind = pa.dictionary(pa.int8(), pa.string(), ordered=True)
    column = pa.DictionaryArray.from_arrays(
        pa.array([2, 0, None], pa.int8()), ["z", "never", "a"], ordered=True
    )
    table = pa.table({"y": column})
    rows = iter([None, [{"label": "a"}], None])
    result = edited_table(table, {"label": "y"}, lambda cells: next(rows))["y"].combine_chunks()
    assert result.type == kind
    assert result.dictionary.to_pylist() == ["z", "never", "a"]
    assert result.to_pylist() == ["a", "a", None]


def test_rows_that_are_cut_keep_columns_of_every_type():
    columns = {"y": pa.array(["a", "b"]), "v": pa.array(["x", None], pa.string_view())}
    columns |= {"d": pa.array(["k", "l"]).dictionary_encode(), "l": pa.array([[1], []])}
    table = pa.table(columns)
    rows = iter([[{"label": "c"}, {}], None])
    result = edited_table(table, {"label": "y"}, lambda cells: next(rows))
    assert result.schema == table.schema
    assert result.to_pylist() == [
        {"y": "c", "v": "x", "d": "k", "l": [1]},
        {"y": "a", "v": "x", "d": "k", "l": [1]},
        {"y": "b", "v": None, "d": "l", "l": []},
    ]
