#!/usr/bin/env bash
# x264: the same frames, with one thread, are encoded to other bytes now and then.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat > "$work/show.py" <<'PYTHON'
import collections
import hashlib
import io
import os
import platform

import av
import numpy as np

SIDE, NUM_FRAMES, TIMES = 48, 40, 800
noise = np.random.default_rng(0).normal(scale=7, size=(NUM_FRAMES, SIDE, SIDE, 1))
rows, columns = np.mgrid[:SIDE, :SIDE]
pixels = [
    np.clip(np.stack([4 * rows, 5 * columns, 3 * (rows + index)], -1) % 256 + noise[index], 0, 255)
    for index in range(NUM_FRAMES)
]
frames = [
    av.VideoFrame.from_ndarray(each.astype(np.uint8), "rgb24").reformat(format="yuv420p")
    for each in pixels
]


def encoded(**options):
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": "20", "preset": "veryfast", **options}
        for index, frame in enumerate(frames):
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return hashlib.sha256(sink.getvalue()).hexdigest()[:8]


def outcomes(**options):
    found, kept = collections.Counter(), []
    for index in range(TIMES):  # what the process took and gave back before differs each time
        kept = [*kept[-20:], os.urandom(1 + 7919 * index % 200_000)]
        found[encoded(**options)] += 1
    return dict(found.most_common())


usual, plain = outcomes(), outcomes(**{"x264-params": "asm=0"})
tree = outcomes(**{"x264-params": "mbtree=0"})
print(f"Python {platform.python_version()}, PyAV {av.__version__}, numpy {np.__version__}")
print(f"input: the same {NUM_FRAMES} frames of {SIDE} x {SIDE}, {TIMES} times, one thread")
print("guess: one thread and the same frames give the same file")
print(f"seen:  veryfast, crf 20: {usual}")
print(f"       without assembly: {plain}")
print(f"       without the macroblock tree of the look-ahead: {tree}")
assert len(usual) > 1, "all files are the same now"
assert len(plain) == 1 and len(tree) == 1, "one of the two is no remedy any more"
print("unchanged: leave the assembly (or the tree) out where bytes must be the same")
PYTHON
"$work/venv/bin/python" "$work/show.py"
