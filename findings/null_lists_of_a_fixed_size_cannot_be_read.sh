#!/usr/bin/env bash
# pyarrow before 26: a Parquet file with a null in a list of a fixed size is written and not read.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
for version in 25.0.1 26.0.1; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install -q --disable-pip-version-check pyarrow=="$version" numpy==2.4.6
done
cat > "$work/show.py" <<'PYTHON'
import platform
import sys

import numpy
import pyarrow as pa
import pyarrow.parquet as pq

path = sys.argv[1]
boxes = [[1, 2, 3, 4], None, [5, 6, 7, 8]]
tables = {
    "any size": pa.table({"box": pa.array(boxes, pa.list_(pa.int32()))}),
    "size 4": pa.table({"box": pa.array(boxes, pa.list_(pa.int32(), 4))}),
}
print(f"Python {platform.python_version()}, pyarrow {pa.__version__}, numpy {numpy.__version__}")
found = {}
for name, table in tables.items():
    pq.write_table(table, path)
    try:
        found[name] = "comes back equal" if pq.read_table(path).equals(table) else "is another table"
    except pa.ArrowInvalid as error:
        found[name] = f"ArrowInvalid: {error}"
    print(f"seen:  lists of {name}: {found[name]}")
assert found["any size"] == "comes back equal"
is_read = found["size 4"] == "comes back equal"
assert is_read == (int(pa.__version__.split(".")[0]) >= 26), "it behaves otherwise now"
PYTHON
echo "input: three boxes, the second of them null, as lists of any size and of size 4"
echo "guess: what pyarrow writes, it reads"
"$work/25.0.1/bin/python" "$work/show.py" "$work/boxes.parquet"
"$work/26.0.1/bin/python" "$work/show.py" "$work/boxes.parquet"
echo "unchanged: a column that may be null is a list of any size, which every version reads"
