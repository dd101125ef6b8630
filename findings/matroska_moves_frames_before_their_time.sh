#!/usr/bin/env bash
# Matroska: at 30000/1001 frames a second half of the frames lie before the time that is their own.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat > "$work/show.py" <<'PYTHON'
import io
import platform
from bisect import bisect_right
from fractions import Fraction

import av
import numpy as np

RATE, NUM_FRAMES = Fraction(30000, 1001), 120


def times(kind):
    """When each frame is shown, exact seconds, as read back from a file of this kind."""
    stored = io.BytesIO()
    with av.open(stored, "w", format=kind) as container:
        stream = container.add_stream("libx264", rate=RATE, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(NUM_FRAMES):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 2 * index, np.uint8), "rgb24")
            frame.pts, frame.time_base = index, 1 / RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(io.BytesIO(stored.getvalue())) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


own = [index / RATE for index in range(NUM_FRAMES)]  # one segment a frame, which begins with it
wrong = {}
for kind in ("mp4", "matroska"):
    shown = times(kind)
    assert len(shown) == NUM_FRAMES
    wrong[kind] = sum(bisect_right(own, time) - 1 != k for k, time in enumerate(shown))
    middle = sum(bisect_right(own, time + 1 / RATE / 2) - 1 != k for k, time in enumerate(shown))
    assert middle == 0, f"{kind}: the middle of a frame lies outside of it"
first = next(k for k, time in enumerate(shown) if time < own[k])

print(f"Python {platform.python_version()}, PyAV {av.__version__}")
print(f"input: {NUM_FRAMES} frames at {RATE} a second, the same stream in mp4 and in Matroska;")
print("       segments that each begin exactly when a frame does: index x 1001 / 30000 s")
print("guess: a frame belongs to the segment with start <= time < end, in any container")
print(f"seen:  mp4: {wrong['mp4']} of {NUM_FRAMES} frames fall into the segment before;")
print(f"       Matroska: {wrong['matroska']} of {NUM_FRAMES}, since times there are whole ms:")
print(f"       frame {first} is shown at {float(shown[first])} s, and {float(own[first]):.6f} is")
print("       its own. By the middle of each frame none is wrong in either")
assert wrong["mp4"] == 0, "mp4 rounds too"
assert NUM_FRAMES // 3 < wrong["matroska"] < NUM_FRAMES * 2 // 3, "Matroska keeps other times now"
print("unchanged: hold the middle of a frame against the segments, not its beginning")
PYTHON
"$work/venv/bin/python" "$work/show.py"
