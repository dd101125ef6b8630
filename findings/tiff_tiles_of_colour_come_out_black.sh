#!/usr/bin/env bash
# FFmpeg through PyAV: a TIFF of colour in tiles is decoded as black, without an error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
  av==18.1.0 numpy==2.4.6 tifffile==2026.3.3
cat > "$work/show.py" <<'PYTHON'
import io
import platform

import av
import numpy as np
import tifffile

pixels = np.random.default_rng(0).integers(1, 65536, (64, 64, 3), dtype=np.uint16)


def read(layout):
    """One image in strips or in tiles, as FFmpeg and as tifffile decode it."""
    stored = io.BytesIO()
    tifffile.imwrite(stored, pixels, photometric="rgb", **layout)
    content = stored.getvalue()
    with av.open(io.BytesIO(content), format="tiff_pipe") as container:
        (frame,) = container.decode(video=0)
    return frame.to_ndarray(), tifffile.imread(io.BytesIO(content)), frame.is_corrupt


strips, _, _ = read({})
tiles, by_tifffile, is_corrupt = read({"tile": (32, 32)})
library = ".".join(map(str, av.library_versions["libavcodec"]))
print(f"Python {platform.python_version()}, PyAV {av.__version__} with libavcodec {library},")
print(f"       tifffile {tifffile.__version__}, numpy {np.__version__}")
print("input: 64 x 64 pixels, RGB of 16 bits, no value 0, uncompressed; in strips, and in tiles of")
print("       32 x 32, the usual form of aerial and slide images")
print("guess: both decode to the same pixels, or the form that is not known is refused")
print(f"seen:  strips come exact: {np.array_equal(strips, pixels)}")
print(f"       tiles come as {tiles.shape} {tiles.dtype}, the greatest value is {tiles.max()};")
print(f"       there is no error, and the frame is marked as corrupt: {is_corrupt}")
print(f"       tifffile reads the same tiles exact: {np.array_equal(by_tifffile, pixels)}")
assert np.array_equal(strips, pixels) and np.array_equal(by_tifffile, pixels)
assert tiles.shape == pixels.shape and not tiles.any(), "tiles are decoded otherwise now"
print("unchanged: hand FFmpeg the tiles as strips of a narrow image, and put them in place")
PYTHON
"$work/venv/bin/python" "$work/show.py"
