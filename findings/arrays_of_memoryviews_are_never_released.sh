#!/usr/bin/env bash
# pyarrow: an array made of memoryviews keeps what they look at in memory for good.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pyarrow==26.0.1 numpy==2.4.6
cat > "$work/show.py" <<'PYTHON'
import gc
import platform
import resource
import sys

import numpy as np
import pyarrow as pa

NUM, SIZE = 64, 2**20
offsets = pa.py_buffer(np.array([0, SIZE], np.int64))


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def held(make):
    """References to a buffer that are left once its array is gone, and MiB that rounds of it cost."""
    data = np.zeros(SIZE, np.uint8)
    before = sys.getrefcount(data)
    make(data)
    gc.collect()
    left = sys.getrefcount(data) - before
    begun_mib = peak_mib()
    for _ in range(NUM):
        make(np.ones(SIZE, np.uint8))
    gc.collect()
    return left, peak_mib() - begun_mib


ways = {
    "from_buffers of py_buffer": lambda data: pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)]
    ),
    "pa.array of bytes": lambda data: pa.array([data.tobytes()], pa.large_binary()),
    "pa.array of a memoryview": lambda data: pa.array([memoryview(data)], pa.large_binary()),
}
print(f"Python {platform.python_version()}, pyarrow {pa.__version__}, numpy {np.__version__}")
print(f"input: {NUM} arrays of 1 MiB, each put into a binary array that is dropped at once")
print("guess: what an array was made of is given back with it")
seen = {name: held(make) for name, make in ways.items()}
for name, (left, grown_mib) in seen.items():
    print(f"seen:  {name}: {left} reference(s) stay, the process grew by {grown_mib:.0f} MiB")
*others, (left, grown_mib) = seen.values()
assert all(kept == 0 and grown < NUM / 4 for kept, grown in others), "other ways keep it now"
assert left > 0 and grown_mib > NUM / 2, "memoryviews are given back now"
print("unchanged: lay the bytes out as a buffer, or copy them into bytes")
PYTHON
"$work/venv/bin/python" "$work/show.py"
