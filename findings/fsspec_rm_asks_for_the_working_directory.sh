#!/usr/bin/env bash
# fsspec: a local folder is not removed where the working directory is gone, and the error blames the file.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check fsspec==2026.9.0
cat > "$work/show.py" <<'PYTHON'
import os
import platform
import sys

import fsspec

work = sys.argv[1]
fs = fsspec.filesystem("file")


def removed(where):
    """What fs.rm says, and whether a folder is there afterwards, from a working directory."""
    folder = f"{work}/full"
    os.makedirs(folder, exist_ok=True)
    open(f"{folder}/file", "w").close()
    os.makedirs(where, exist_ok=True)
    os.chdir(where)
    if where.endswith("gone"):
        os.rmdir(where)
    try:
        fs.rm(folder, recursive=True)
        said = "nothing"
    except OSError as error:
        said = f"{type(error).__name__}({error})"
    os.chdir("/")
    return said, os.path.exists(folder)


print(f"Python {platform.python_version()}, fsspec {fsspec.__version__}")
print("input: fs.rm of a folder by its absolute path, from a working directory that is there, and")
print("       from one that was removed meanwhile")
print("guess: an absolute path needs no working directory; FileNotFoundError says there is no folder")
seen = {name: removed(f"{work}/{name}") for name in ("there", "gone")}
for name, (said, is_left) in seen.items():
    print(f"seen:  working directory {name}: it raises {said}; the folder is left: {is_left}")
assert seen["there"] == ("nothing", False)
assert seen["gone"][1] and seen["gone"][0].startswith("FileNotFoundError"), "it is removed now"
print("unchanged: who takes FileNotFoundError for 'it is gone already' leaves folders behind;")
print("           remove local ones by shutil")
PYTHON
cd / && "$work/venv/bin/python" "$work/show.py" "$work"
