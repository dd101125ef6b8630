"""A working directory with files of strangers, on Ray."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.small_sets import class_folders

pytestmark = pytest.mark.integration
MINE = """
import colorsys
from tests.support.tiny_models import ImageModel
assert colorsys.rgb_to_hsv
"""


@pytest.mark.slow
def test_workers_find_the_users_module_there_and_no_standard_one(tmp_path):
    small = class_folders(tmp_path / "set")
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "colorsys.py").write_text("open('ran', 'w').close()\n")
    spec = small.spec_file(model={"factory": "mine:ImageModel", "kwargs": {"num_classes": 3}})
    done = subprocess.run(
        [sys.executable, "-m", "ray_audit", "run", str(spec)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
