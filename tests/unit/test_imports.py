"""Data flows one way, and so do imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ray_audit"
LEAVES = {"config", "plain_yaml", "errors", "samples", "schemas"}
LEAVES |= {"storage", "parquet", "metrics", "rle", "printable"}
MAY_IMPORT = {
    **dict.fromkeys(LEAVES, LEAVES),
    "scores": set(),
    "sources": LEAVES,
    "cuts": LEAVES | {"sources", "scores"},
    "checkpoints": LEAVES,
    "probes": LEAVES | {"scores"},
    "tables": LEAVES,
    "findings": LEAVES | {"scores", "tables"},
    "engine": LEAVES | {"sources", "cuts", "checkpoints", "probes", "scores", "tables", "findings"},
    "corrections": LEAVES
    | {"scores", "sources", "cuts", "checkpoints", "tables", "findings", "engine", "rle"},
    "evaluation": LEAVES | {"tables"},
    "training": LEAVES
    | {"sources", "cuts", "checkpoints", "probes", "scores", "corrections", "engine"},
    "demo": LEAVES
    | {"sources", "cuts", "checkpoints", "probes", "engine", "tables", "training"}
    | {"evaluation", "screen", "report"},
    "report": LEAVES | {"scores", "sources", "cuts", "tables", "findings", "engine", "evaluation"},
    "exports": LEAVES | {"sources", "cuts", "tables"},
    "nights": LEAVES | {"engine", "tables"},
    "kubernetes": LEAVES,
    "jobs": LEAVES,
    "screen": LEAVES | {"engine", "tables", "evaluation", "training"},
    "cli": LEAVES
    | {"engine", "screen", "demo", "kubernetes", "report", "training", "evaluation"}
    | {"corrections", "tables", "findings", "nights", "exports", "jobs"},
    "__main__": {"cli"},
    "__init__": {"config", "errors"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            raise AssertionError(f"{path}: relative import")


def rooms_imported(path):
    parts = (name.split(".") for name in imported(path) if name.split(".")[0] == "ray_audit")
    return {p[1] for p in parts if len(p) > 1 and p[1] != "__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    room = room_of(path)
    assert room in MAY_IMPORT, f"say in MAY_IMPORT what {room} may import"
    assert rooms_imported(path) - {room} <= MAY_IMPORT[room]


def test_few_modules_import_ray():
    users = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if any(name.startswith("ray.") for name in imported(path))
    }
    assert users <= {"engine/relay.py", "engine/live_metrics.py", "training/distributed.py"} | {
        "jobs/submit.py"
    }


@pytest.mark.parametrize("module", ["ray_audit", "ray_audit.cli", "ray_audit.scores.segmentation"])
def test_importing_starts_nothing_and_needs_neither_ray_nor_torch(module):
    check = f"import sys, {module}; assert not {{'ray', 'torch'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_processes_that_decode_and_commit_do_without_torch():
    check = "import sys, ray_audit.engine.relay; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize("room", ["sources", "cuts"])
def test_decoding_does_without_torch(room):
    names = ["import sys"] + [
        f"import ray_audit.{room}.{path.stem}" for path in (PACKAGE / room).glob("[a-z]*.py")
    ]
    check = "; ".join([*names, "assert 'torch' not in sys.modules"])
    subprocess.run([sys.executable, "-c", check], check=True)
