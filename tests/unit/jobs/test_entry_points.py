"""What `jobs/*.py` start, which do nothing of their own."""

import runpy
import sys
from pathlib import Path

import pytest

import ray_audit.cli

JOBS = Path(__file__).parents[3] / "jobs"


@pytest.mark.parametrize(
    ("file", "given", "started"),
    [
        ("audit.py", ["s.yaml", "--local"], ["run", "--gate-passes", "s.yaml", "--local"]),
        ("nightly.py", ["s.yaml", "--gate-fails"], ["night", "s.yaml", "--gate-fails"]),
        ("train.py", ["s.yaml"], ["train", "s.yaml"]),
        ("correct.py", ["out", "--to", "new"], ["correct", "out", "--to", "new"]),
    ],
)
def test_a_job_file_starts_the_command(file, given, started, monkeypatch):
    seen = []
    monkeypatch.setattr(ray_audit.cli, "main", lambda arguments: seen.append(arguments) or 3)
    monkeypatch.setattr(sys, "argv", [file, *given])
    with pytest.raises(SystemExit, match="3"):
        runpy.run_path(str(JOBS / file), run_name="__main__")
    assert seen == [started]
