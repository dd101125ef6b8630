"""Tables that any reader opens."""

import pyarrow as pa
import pytest

from ray_audit import schemas

TABLES = [
    name
    for name, columns in vars(schemas).items()
    if isinstance(columns, tuple) and all(isinstance(column, schemas.Column) for column in columns)
]


@pytest.mark.parametrize("table", TABLES)
def test_what_may_be_null_is_no_list_of_a_fixed_size(table):
    # findings/null_lists_of_a_fixed_size_cannot_be_read.sh shows why.
    columns = getattr(schemas, table)
    assert columns
    assert [c.name for c in columns if pa.types.is_fixed_size_list(c.type)] == []


def test_findings_are_among_the_tables():
    assert {"FINDINGS", "ERRORS", "FILTERED"} <= set(TABLES)
