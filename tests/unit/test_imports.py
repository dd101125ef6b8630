"""Data flows one way, and so do imports; a name of a file or of a class means one thing."""

import ast
import functools
import subprocess
import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from ray_audit.formats.registry import formats

PACKAGE = Path(__file__).parents[2] / "ray_audit"
LEAVES = {"config", "spec_yaml", "errors", "samples", "schemas"}
LEAVES |= {
    "storage",
    "archives",
    "store_errors",
    "stored_objects",
    "store_writes",
    "wrapped_stream",
    "interrupts",
    "supervisor",
    "ahead",
    "processes",
    "parquet_io",
    "metrics",
    "rle",
    "printable",
    "json_text",
}
LEAVES |= {"task", "sample_ids", "folds"}
LEAVES |= {"claims", "trust", "layouts"}
MAY_IMPORT = {
    **dict.fromkeys(LEAVES, LEAVES),
    "scores": set(),
    "measures": LEAVES | {"scores"},
    "formats": LEAVES,
    "sources": LEAVES | {"formats"},
    "cuts": LEAVES | {"formats", "sources", "scores"},
    "checkpoints": LEAVES,
    "probes": LEAVES | {"scores", "measures"},
    "tables": LEAVES | {"measures"},
    "findings": LEAVES | {"scores", "tables"},
    "discovery": LEAVES | {"formats", "sources"},
    "engine": LEAVES
    | {"formats", "sources", "cuts", "checkpoints", "probes", "scores", "tables", "findings"}
    | {"measures"},
    "corrections": LEAVES
    | {
        "scores",
        "formats",
        "sources",
        "cuts",
        "checkpoints",
        "tables",
        "findings",
        "engine",
        "rle",
    },
    "evaluation": LEAVES | {"scores", "tables"},
    "training": LEAVES
    | {"formats", "sources", "cuts", "checkpoints", "probes", "scores", "corrections", "engine"}
    | {"evaluation"},
    "demo": LEAVES
    | {"formats", "sources", "cuts", "checkpoints", "probes", "engine", "tables", "training"}
    | {"evaluation", "console", "report"},
    "report": LEAVES
    | {"scores", "formats", "sources", "cuts", "tables", "findings", "engine", "evaluation"},
    "exports": LEAVES | {"formats", "sources", "cuts", "tables"},
    "nightly": LEAVES | {"engine", "tables"},
    "kubernetes": LEAVES,
    "jobs": LEAVES,
    "console": LEAVES | {"api", "discovery", "engine", "tables", "evaluation", "training"},
    # The command line calls the verbs of `import ray_audit`, and shows their answers.
    "cli": LEAVES | {"console", "demo", "kubernetes", "nightly", "jobs"},
    "__main__": {"cli", "processes"},
    "api": LEAVES
    | {"engine", "training", "tables", "findings", "corrections", "exports", "report"}
    | {"evaluation", "discovery"},
    "__init__": {"api", "config", "errors"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imported(path):
    return list(_imported(path))


def _imported(path):
    for node in ast.walk(tree_of(path)):
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


def files_imported(path):
    """Files of the package that a file imports from, wherever in it that is."""
    for name in imported(path):
        parts = name.split(".")[1:] if name.startswith("ray_audit.") else []
        for length in range(len(parts), 0, -1):
            file = PACKAGE.joinpath(*parts[:length]).with_suffix(".py")
            if file.exists():
                yield file
                break


def test_no_files_import_each_other_not_even_within_functions():
    sorter = TopologicalSorter({path: set(files_imported(path)) - {path} for path in FILES})
    sorter.prepare()  # a CycleError names the files
    assert sorter.is_active()


def test_opening_a_run_does_without_scipy_and_torch():
    unwanted = "{'scipy', 'torch'} & set(sys.modules)"
    check = f"import sys, ray_audit.tables.run_tables; assert not {unwanted}"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_few_modules_import_ray():
    users = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if any(name.startswith("ray.") for name in imported(path))
    }
    on_ray = {path for path in users if path.startswith("engine/backends/ray/")}
    assert users - on_ray <= {"training/distributed.py", "jobs/submit.py"}


def test_inside_the_engine_imports_go_one_way_too():
    floors = ("ledger", "planning", "backends", "reduce", "run")
    for path in FILES:
        parts = path.relative_to(PACKAGE).parts
        if parts[0] != "engine" or len(parts) < 3:
            continue
        above = floors[floors.index(parts[1]) + 1 :]
        names = [name.split(".") for name in imported(path)]
        rooms = {n[2] for n in names if n[:2] == ["ray_audit", "engine"] and len(n) > 2}
        assert not rooms & set(above), f"{path}: {parts[1]} stands below {rooms & set(above)}"


def test_cuts_know_clips_tiles_and_batches_and_no_format():
    by_format = {type(format_).__module__ for format_ in formats()} | {"ray_audit.formats.video"}
    for path in (PACKAGE / "cuts").glob("*.py"):
        names = [name for name in imported(path) if name.startswith(tuple(by_format))]
        assert names == [], f"{path}: ask the format in the registry instead"


def test_each_folder_leaf_and_file_of_the_engine_stands_in_the_page_on_architecture():
    page = (PACKAGE.parent / "docs/architecture.md").read_text(encoding="utf-8")
    folders = {room_of(path) for path in FILES if path.parent != PACKAGE}
    assert [name for name in sorted(folders) if f"`{name}/`" not in page] == []
    leaves = [p for p in FILES if p.parent == PACKAGE]
    engine = [p for p in FILES if room_of(p) == "engine"]
    named = [p.name for p in leaves + engine if not p.stem.startswith("__")]
    assert [name for name in named if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    "module",
    ["ray_audit", "ray_audit.cli", "ray_audit.scores.segmentation", "ray_audit.scores.confident"],
)
def test_importing_starts_nothing_and_needs_no_ray_no_torch_and_no_numba(module):
    check = f"import sys, {module}; assert not {{'ray', 'torch', 'numba'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_processes_that_decode_and_commit_do_without_torch():
    check = "import sys, ray_audit.engine.backends.ray.pipeline; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_processes_that_hold_models_do_without_what_decodes():
    rooms = ("engine.backends.ray.actor", "engine.backends.ray.watchdog", "engine.backends.worker")
    check = ["import sys", *(f"import ray_audit.{room}" for room in rooms)]
    check.append("assert not {'av', 'PIL', 'ray_audit.formats'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", "; ".join(check)], check=True)


def test_decoding_does_without_torch():
    check = ["import sys"]
    for room in ("formats", "sources", "cuts"):
        check += [
            f"import ray_audit.{room}.{path.stem}" for path in (PACKAGE / room).glob("[a-z]*.py")
        ]
        check.append(f"assert 'torch' not in sys.modules, '{room}'")
    subprocess.run([sys.executable, "-c", "; ".join(check)], check=True)


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
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: places for name, places in modules.items() if len(places) > 1} == {}
