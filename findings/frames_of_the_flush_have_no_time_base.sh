#!/usr/bin/env bash
# PyAV: the last frames of a video, when taken from the decoder by hand, have no times in seconds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat > "$work/show.py" <<'PYTHON'
import io
import math
import platform
from fractions import Fraction

import av
import numpy as np

RATE, NUM_FRAMES = Fraction(25), 30

stored = io.BytesIO()
with av.open(stored, "w", format="mp4") as container:
    stream = container.add_stream("libx264", rate=RATE, options={"bf": "3"})
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    for index in range(NUM_FRAMES):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 8 * index, np.uint8), "rgb24")
        frame.pts, frame.time_base = index, 1 / RATE
        container.mux(stream.encode(frame))
    container.mux(stream.encode())

with av.open(io.BytesIO(stored.getvalue())) as container:
    stream = container.streams.video[0]
    before = []
    for packet in container.demux(stream):
        if packet.dts is None:  # the mark of the end
            break
        before += stream.codec_context.decode(packet)
    held = stream.codec_context.decode(None)

with av.open(io.BytesIO(stored.getvalue())) as container:
    by_container = list(container.decode(video=0))

nan_times = [frame.time for frame in held if frame.time is None or math.isnan(frame.time)]
found = np.searchsorted([0.0, 0.5, 1.0], [frame.time for frame in held], side="right") - 1
print(f"Python {platform.python_version()}, PyAV {av.__version__}, numpy {np.__version__}")
print(f"input: {NUM_FRAMES} frames of H.264 with B-frames in an mp4, {RATE} a second, whole")
print("guess: every frame knows its time, however the decoder is driven; or reading it raises")
print(f"seen:  {len(before)} frames come while packets are given, the last at {before[-1].time} s;")
print(f"       {len(held)} come out of codec_context.decode(None), the flush, with pts of")
print(f"       {[frame.pts for frame in held]}, time base {held[0].time_base}, and the times")
print(f"       {[frame.time for frame in held]}: no error, and NaN compares as false with all")
print(f"       among segments that begin at 0, 0.5 and 1 s they fall into number {found.tolist()}")
print(f"       container.decode() gives the same frames the times {by_container[-2].time} and")
print(f"       {by_container[-1].time} s")
assert len(before) + len(held) == NUM_FRAMES and held, "the decoder holds no frame back"
assert all(frame.pts is not None for frame in held), "frames of the flush have no pts"
assert len(nan_times) == len(held), "frames of the flush have times now"
assert all(frame.time_base for frame in by_container), "container.decode() lost them too"
print("unchanged: take pts, and multiply by the time base of the stream")
PYTHON
"$work/venv/bin/python" "$work/show.py"
