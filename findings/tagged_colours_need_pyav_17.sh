#!/usr/bin/env bash
# PyAV up to 16 decodes every tagged HD video with the colours of an untagged one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
for version in 16.1.0 18.1.0; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install -q --disable-pip-version-check av=="$version" numpy==2.4.6
done
cat > "$work/show.py" <<'PYTHON'
import io
import platform

import av
import numpy as np

Y, CB, CR, SIDE = 81, 90, 240, 64
BT601, BT709, LIMITED, FULL = 5, 1, 1, 2  # by their numbers in ITU-T H.273; the range is FFmpeg's


def video(matrix, colour_range):
    """One picture of one colour, without loss, with the tags in the stream."""
    frame = av.VideoFrame(SIDE, SIDE, "yuv444p")
    for plane, value in zip(frame.planes, (Y, CB, CR)):
        plane.update(bytes([value]) * plane.buffer_size)
    stream = io.BytesIO()
    with av.open(stream, "w", format="matroska") as file:
        encoder = file.add_stream("ffv1", rate=25)
        encoder.width = encoder.height = SIDE
        encoder.pix_fmt = "yuv444p"
        for tagged in (encoder.codec_context, frame):
            tagged.colorspace, tagged.color_range = matrix, colour_range
        frame.pts = 0
        file.mux([*encoder.encode(frame), *encoder.encode()])
    stream.seek(0)
    return stream


def formula(kr, kb, is_full):
    """H.273, equations for E'R, E'G and E'B."""
    luma = Y / 255 if is_full else (Y - 16) / 219
    cb, cr = ((c - 128) / (255 if is_full else 224) for c in (CB, CR))
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.round(255 * np.clip([red, green, blue], 0, 1)).astype(int)


print(f"Python {platform.python_version()}, PyAV {av.__version__}")
cases = {
    "BT.601, limited": (BT601, LIMITED, formula(0.299, 0.114, False)),
    "BT.709, limited": (BT709, LIMITED, formula(0.2126, 0.0722, False)),
    "BT.709, full": (BT709, FULL, formula(0.2126, 0.0722, True)),
}
off = {}
for name, (matrix, colour_range, expected) in cases.items():
    with av.open(video(matrix, colour_range)) as file:
        frame = next(file.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range)) == (matrix, colour_range)
        rgb = frame.to_ndarray(format="rgb24")[SIDE // 2, SIDE // 2].astype(int)
    off[name] = np.abs(rgb - expected).max()
    print(f"seen:  {name}: {rgb.tolist()}, by the standard {expected.tolist()}")
is_new = int(av.__version__.split(".")[0]) >= 17
assert off["BT.601, limited"] <= 3
assert all((off[name] <= 3) == is_new for name in cases if "709" in name), "it converts otherwise now"
PYTHON
echo "input: one colour (Y 81, Cb 90, Cr 240) without loss, in streams that tag their matrix and range"
echo "guess: to_ndarray(format='rgb24') follows the tags, which the frame shows"
"$work/16.1.0/bin/python" "$work/show.py"
"$work/18.1.0/bin/python" "$work/show.py"
echo "unchanged: ask for PyAV 17 or newer; checkpoints trained through older ones saw other colours"
