#!/usr/bin/env bash
# pydicom 3.0.0: `import pydicom` asks the network for five example files, and warns where there is none.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
cat > "$work/show.py" <<'PYTHON'
import platform
import socket
import sys
import warnings

expected = int(sys.argv[1])
asked = []


def unreachable(*address, **options):
    raise OSError("this script stays offline")


socket.socket.connect = unreachable
sys.addaudithook(lambda event, args: asked.append(1) if event == "socket.getaddrinfo" else None)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import pydicom

print(f"Python {platform.python_version()}, pydicom {pydicom.__version__}")
print("input: none, only `import pydicom`, as every program that reads DICOM begins")
print("guess: nothing is looked up, no warning")
print(f"seen:  {len(asked)} look-ups of a host, {len(caught)} warnings")
for warning in caught[:1]:
    print(f"       {str(warning.message)[:90]}")
assert (len(asked) > 0) == (len(caught) > 0) == bool(expected), "it has changed"
PYTHON
mkdir "$work/home"
for version in old new; do python3 -m venv "$work/$version"; done
"$work/old/bin/pip" install -q --disable-pip-version-check pydicom==3.0.0
"$work/new/bin/pip" install -q --disable-pip-version-check pydicom==3.0.1
HOME="$work/home" "$work/old/bin/python" "$work/show.py" 1
HOME="$work/home" "$work/new/bin/python" "$work/show.py" 0
echo "unchanged: where warnings are errors the import is left half done, so ask for 3.0.1"
