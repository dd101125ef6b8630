"""Standard output that takes nothing, and a working directory with files of strangers."""

import os
import subprocess
import sys

import pytest

FULL = "/dev/full"
# As `python -m ray_audit --version` does it, and one more import at its end.
AS_A_MODULE = """
import os, runpy, sys
sys.path.insert(0, os.getcwd())
sys.argv = ["ray-audit", "--version"]
try:
    runpy.run_module("ray_audit", run_name="__main__")
except SystemExit as end:
    assert not end.code
import colorsys, only_here
"""


@pytest.mark.skipif(not os.path.exists(FULL), reason="there is no device that is always full")
def test_what_cannot_be_printed_is_a_sentence_and_a_failure():
    with open(FULL, "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ray_audit", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert "cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_of_the_working_directory_never_stands_for_a_standard_module(tmp_path):
    (tmp_path / "colorsys.py").write_text("raise SystemExit('run in place of the standard one')\n")
    (tmp_path / "only_here.py").write_text("print('found behind all others')\n")
    done = subprocess.run(
        [sys.executable, "-P", "-c", AS_A_MODULE], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "found behind all others" in done.stdout
