#!/usr/bin/env bash
# pyarrow before 25: `pa.array` with the type of an ordered dictionary gives an array of an unordered one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
cat > "$work/show.py" <<'PYTHON'
import platform

import pyarrow as pa

asked = pa.dictionary(pa.int8(), pa.string(), ordered=True)
made = pa.array(["low", "high"], asked)
parts = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), ["low", "high"], ordered=True)
print(f"Python {platform.python_version()}, pyarrow {pa.__version__}")
print("input: two words, and the type of a dictionary whose values are in order")
print("guess: an array of that type, which goes into one column with others of it")
print(f"seen:  pa.array: of that type: {made.type.equals(asked)}")
try:
    pa.chunked_array([parts, made], asked)
    goes_together = True
except pa.ArrowTypeError as error:
    goes_together = False
    print(f"       pa.chunked_array: {error}")
assert parts.type.equals(asked)
assert goes_together == made.type.equals(asked)
assert goes_together == (int(pa.__version__.split(".")[0]) >= 25), "it behaves otherwise now"
PYTHON
for version in 24.0.0 25.0.1; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install -q --disable-pip-version-check pyarrow=="$version"
  "$work/$version/bin/python" "$work/show.py"
done
echo "unchanged: made of its parts, indices and values, an ordered dictionary is one in every version"
