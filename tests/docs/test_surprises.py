"""A script of `findings/` is named in the code that it explains and in the test that holds it."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))
ROWS = re.findall(
    r"^\| `(\w+\.sh)` \| (.+) \| `([^|]+)` \| `([^|]+)` \|$",
    (ROOT / "findings/README.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_every_script_has_a_row_and_every_row_a_script():
    assert sorted(name for name, *_ in ROWS) == [path.name for path in SCRIPTS]


@pytest.mark.parametrize(("name", "shown", "code", "test"), ROWS, ids=[row[0] for row in ROWS])
def test_the_code_that_it_explains_and_the_test_that_holds_it_name_it(name, shown, code, test):
    folder = ROOT / "ray_audit"
    for file in code.split("`, `"):
        path = folder / file
        folder = path.parent  # a second one without a folder lies beside the first
        path = path if path.exists() else ROOT / "ray_audit" / file
        assert f"findings/{name}" in path.read_text(encoding="utf-8"), file
    assert f"findings/{name}" in (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_installs_pins_by_name_alone_and_says_what_it_saw(path):
    text = path.read_text(encoding="utf-8")
    assert os.access(path, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n# ")
    needed = ("mktemp -d", "trap", "unset PYTHONPATH", "guess:", "seen:", "assert")
    assert [word for word in needed if word not in text] == []
    assert [word for word in ("ray_audit", "index-url") if word in text] == []
    installed = re.findall(r'pip" install(.*?)(?<!\\)\n', text, re.DOTALL)
    assert installed
    assert [command for command in installed if "==" not in command] == []
