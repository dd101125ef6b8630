#!/usr/bin/env bash
# torch.set_num_threads: in another thread a first convolution does not heed it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$work/show.py" <<'PYTHON'
import os
import platform
import subprocess
import sys
import threading

import torch


def num_threads():
    return len(os.listdir("/proc/self/task"))


def convolve(seen):
    """How many threads the first convolution of this thread starts."""
    num_before = num_threads()
    with torch.inference_mode():
        layer(images)
    seen.append(num_threads() - num_before)


def convolve_told(seen):
    torch.set_num_threads(1)
    convolve(seen)


def in_a_thread(work):
    def run(seen):
        thread = threading.Thread(target=work, args=(seen,))
        thread.start()
        thread.join()

    return run


ways = {"here": convolve, "untold": in_a_thread(convolve), "told": in_a_thread(convolve_told)}
torch.set_num_threads(1)
layer, images = torch.nn.Conv2d(16, 32, 3), torch.rand(8, 16, 128, 128)
if len(sys.argv) == 2:  # a process for each: what a convolution once found out is remembered
    found = []
    ways[sys.argv[1]](found)
    print(found[0])
    sys.exit()

started = {
    way: int(subprocess.check_output([sys.executable, __file__, way], text=True)) for way in ways
}
print(f"Python {platform.python_version()}, torch {torch.__version__}")
print("input: torch.set_num_threads(1), OMP_NUM_THREADS=2, one convolution of 8 images of 128 px")
print("guess: the number holds for the process")
print(f"seen:  the convolution starts {started['here']} threads in the thread that set the number,")
print(f"       {started['untold']} in another one, which so computes with 2,")
print(f"       {started['told']} in another one that sets the number itself")
assert started["here"] == 0, "the number does not even hold where it was set"
assert started["untold"] == 1, "another thread heeds it now"
assert started["told"] == 0, "setting it in the other thread no longer helps"
print("unchanged: set the number in each thread that runs a model")
PYTHON
OMP_NUM_THREADS=2 "$work/venv/bin/python" "$work/show.py"
