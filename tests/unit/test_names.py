"""A name of a file or of a class means one thing in the whole package."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "ray_audit"
FILES = sorted(PACKAGE.rglob("*.py"))

# The same part in each of these folders: its protocol, what registers there, its page of the docs.
ROLES = {"__init__", "base", "registry", "page"}
# One family of quantities: observed on the device, declared, and its formula.
FAMILIES = {"probes", "measures", "scores"}
# A section of the specification, a command, or a display goes by the name of its subject.
SURFACES = {"config", "cli", "console"}


def _folders(stem):
    return {path.parent for path in FILES if path.stem == stem}


def test_a_file_name_means_one_thing():
    shared = defaultdict(list)
    for path in FILES:
        folder = path.relative_to(PACKAGE).parts[0]
        if path.stem in ROLES or folder in SURFACES:
            continue
        subject = "family" if folder in FAMILIES else str(path.parent)
        if subject not in shared[path.stem]:
            shared[path.stem].append(subject)
    assert {stem: folders for stem, folders in shared.items() if len(folders) > 1} == {}


def test_each_shared_name_is_still_shared():
    assert [stem for stem in ROLES if len(_folders(stem)) < 2] == []


def test_a_class_name_means_one_thing():
    modules = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: places for name, places in modules.items() if len(places) > 1} == {}
