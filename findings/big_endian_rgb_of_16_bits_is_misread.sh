#!/usr/bin/env bash
# FFmpeg's converter through PyAV: RGB of 15 and 16 bits in big-endian order is read in the other order.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat > "$work/show.py" <<'PYTHON'
import platform

import av
import numpy as np

SIDE = 32
values = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 31 % 2**15
levels = np.stack([(values >> shift) & 31 for shift in (10, 5, 0)], -1)
expected = (levels << 3) | (levels >> 2)  # 5 bits to 8, by repeating the upper ones


def converted(name, order):
    """The same picture in 15 bits, as the converter makes 24 of it."""
    frame = av.VideoFrame(SIDE, SIDE, name)
    plane = frame.planes[0]
    rows = np.zeros((SIDE, plane.line_size // 2), order)
    rows[:, :SIDE] = values
    plane.update(rows.tobytes())
    return frame.to_ndarray(format="rgb24").astype(int)


little, big = converted("rgb555le", "<u2"), converted("rgb555be", ">u2")
swapped = converted("rgb555be", "<u2")
library = ".".join(map(str, av.library_versions["libswscale"]))
print(f"Python {platform.python_version()}, PyAV {av.__version__} with libswscale {library},")
print(f"       numpy {np.__version__}")
print("input: a picture in rgb555le and in rgb555be, each in the byte order of its name")
print("guess: both become the same 24-bit picture")
print(f"seen:  rgb555le differs from the formula by {np.abs(little - expected).max()} at most,")
print(f"       rgb555be by {np.abs(big - expected).max()}, without an error;")
print(f"       with its bytes in the wrong order it differs by {np.abs(swapped - expected).max()}")
assert np.abs(little - expected).max() <= 1 and np.abs(swapped - expected).max() <= 1
assert np.abs(big - expected).max() > 100, "big-endian order is read otherwise now"
print("unchanged: refuse rgb555be, bgr555be, rgb565be and bgr565be")
PYTHON
"$work/venv/bin/python" "$work/show.py"
