"""Reading Parquet from bytes, and ending right afterwards."""

import io
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_audit import parquet_io

READ_AND_END = (
    "import sys\nfrom ray_audit import parquet_io\n"
    "t = parquet_io.parse(open(sys.argv[1], 'rb').read())\n"
)


def _written(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def test_a_table_comes_back_with_its_metadata():
    columns = {"a": [1, 2, None], "b": ["x", "", None]}
    table = pa.table(columns).replace_schema_metadata({"k": "v"})
    assert parquet_io.parse(_written(table)).equals(table, check_metadata=True)
    assert parquet_io.parse(_written(table), ["b"]).column_names == ["b"]


def test_other_bytes_are_refused():
    with pytest.raises(pa.ArrowInvalid):
        parquet_io.parse(b"not a table")


def test_a_process_may_end_right_after_a_read(tmp_path):
    """A dataset scan in place of it aborts two of five such processes."""
    noise = np.random.default_rng(0).random(200_000)
    path = tmp_path / "wide.parquet"
    path.write_bytes(_written(pa.table({f"c{i}": noise for i in range(20)}), row_group_size=20_000))
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", READ_AND_END, str(path)], capture_output=True)
        assert ended.returncode == 0, ended.stderr.decode()
