#!/usr/bin/env bash
# Pillow: grey values of a file change with its depth and photometric tag, in three ways.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
  pillow==13.0.0 numpy==2.4.6 tifffile==2026.3.3
cat > "$work/show.py" <<'PYTHON'
import io
import platform
import struct
import zlib

import numpy as np
import PIL
import tifffile
from PIL import Image

CLASSES = [0, 1, 2, 3]


def tiff(dtype, photometric):
    stored = io.BytesIO()
    tifffile.imwrite(stored, np.array([CLASSES], dtype), photometric=photometric)
    return stored.getvalue()


def png_of_two_bits():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", len(CLASSES), 1, 2, 0, 0, 0, 0)
    rows = bytes([0, 0b00_01_10_11])  # no filter, then the four values
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + b"".join(
        chunk(*part)
        for part in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


files = {
    "TIFF, 8 bits, 0 is black": (tiff(np.uint8, "minisblack"), [0, 1, 2, 3]),
    "TIFF, 8 bits, 0 is white": (tiff(np.uint8, "miniswhite"), [255, 254, 253, 252]),
    "TIFF, 16 bits, 0 is white": (tiff(np.uint16, "miniswhite"), [0, 1, 2, 3]),
    "PNG, 2 bits": (png_of_two_bits(), [0, 85, 170, 255]),
    "PGM, greatest value 3": (b"P5 4 1 3\n" + bytes(CLASSES), [0, 85, 170, 255]),
}
print(f"Python {platform.python_version()}, Pillow {PIL.__version__}, ", end="")
print(f"tifffile {tifffile.__version__}, numpy {np.__version__}")
print(f"input: masks that store the class numbers {CLASSES}, in five forms of grey")
print(f"guess: np.asarray(Image.open(path)) gives {CLASSES} for each")
changed = []
for name, (content, expected) in files.items():
    with Image.open(io.BytesIO(content)) as image:
        got = np.asarray(image).ravel().tolist()
    print(f"seen:  {name:26} {image.mode:5} {got}")
    changed += [name] if got != expected else []
print("       0 that is white is inverted at 8 bits and is not at 16; low depths are stretched to 8.")
print("       For a picture that is fine; a mask has other classes, and 255 is often 'not labelled'")
assert not changed, f"other values now: {changed}"
print("unchanged: undo both for masks, and invert what is deeper for pictures")
PYTHON
"$work/venv/bin/python" "$work/show.py"
