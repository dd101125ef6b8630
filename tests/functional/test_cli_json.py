"""One JSON object on standard output, whatever a model prints there."""

import json
import os
import subprocess
import sys

from tests.support.small_sets import class_folders

TALKATIVE = """
import os, subprocess, sys
from tests.support.tiny_models import ImageModel

def build(num_classes):
    print("from Python")
    os.write(1, b"from a C library\\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"])
    return ImageModel(num_classes)
"""


def test_what_a_factory_prints_does_not_mix_with_the_one_object(tmp_path):
    small = class_folders(tmp_path / "set")
    (tmp_path / "talkative.py").write_text(TALKATIVE)
    model = {"factory": "talkative:build", "kwargs": {"num_classes": 3}}
    spec = small.spec_file(model=model)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), os.getcwd()])
    for command in (["plan"], ["run"], ["report"]):
        subject = small.out if command == ["report"] else spec
        done = subprocess.run(
            [sys.executable, "-m", "ray_audit", *command, str(subject), "--local", "--json"],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        assert isinstance(json.loads(done.stdout), dict)
        if command == ["run"]:
            for said in ("from Python", "from a C library", "from a child"):
                assert said in done.stderr
