"""Each source file with logic has a test file of its name, or is held through a front.

Whole audits, commands and conformance tests hold what lies behind them: their tests outlive any
rearrangement there. A line of the list goes as soon as its files have tests of their own, and
MAX_UNNAMED_SHARE only ever falls.
"""

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("test_*.py")}
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.BoolOp, ast.comprehension)
MAX_UNNAMED_SHARE = 0.54  # of the files with logic

# Source files, and the tests that run them from the front; the first line that fits counts.
FRONTS = [
    ("api/*", "functional/api/test_verbs.py"),
    ("cli/*", "functional/test_cli.py"),
    ("console/*", "functional/test_cli.py"),
    ("demo/*", "functional/demo/test_demo.py"),
    ("config/*", "unit/test_config.py"),
    ("layouts/*", "unit/config/test_catalogue.py"),
    ("discovery/*", "functional/test_init.py"),
    ("sources/*", "unit/sources/test_listing.py"),
    ("checkpoints/*", "unit/checkpoints/test_weights.py"),
    # Label forms and containers, by published and drawn sets of each.
    ("formats/labels/*", "functional/layouts/test_label_tables.py"),
    ("formats/pixels/*", "unit/formats/test_encoding.py"),
    ("formats/stacks/*", "unit/formats/test_mask_stacks.py"),
    ("formats/video/*", "unit/formats/test_stream.py"),
    ("formats/volumes/*", "unit/formats/test_volumes.py"),
    ("formats/*", "unit/formats/test_conformance.py"),
    # Whole audits of each kind of labels, held to their tables bit for bit.
    ("engine/backends/ray/*", "integration/test_crashes.py"),
    ("engine/*", "golden/test_golden.py"),
    ("cuts/*", "golden/test_golden.py"),
    ("probes/*", "golden/test_golden.py"),
    ("measures/*", "golden/test_golden.py"),
    ("findings/*", "golden/test_golden.py"),
    ("tables/*", "golden/test_golden.py"),
    ("scores/*", "golden/test_golden.py"),
    ("samples.py", "golden/test_golden.py"),
    ("corrections/*", "functional/corrections/test_correct.py"),
    ("exports/*", "functional/exports/test_export.py"),
    ("report/*", "functional/report/test_write_report.py"),
    ("training/noise/*", "unit/training/test_mask_noise.py"),
    ("training/distributed.py", "integration/test_train.py"),
    ("training/*", "functional/training/test_loop.py"),
    # Leaves, by what stands on them.
    ("errors.py", "unit/test_hostile_text.py"),
    ("folds.py", "unit/sources/test_fold_shards.py"),
    ("interrupts.py", "unit/test_cli_options.py"),
    ("stored_objects.py", "unit/test_storage.py"),
    ("wrapped_stream.py", "unit/test_store_errors.py"),
]


def has_logic(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, BRANCHES) for node in ast.walk(tree))


def files_with_logic():
    package = ROOT / "ray_audit"
    for path in sorted(package.rglob("*.py")):
        if not path.stem.startswith("__") and has_logic(path):
            yield path.relative_to(package)


FILES = list(files_with_logic())
UNNAMED = [path.as_posix() for path in FILES if path.stem not in TESTS]


def front_of(path):
    return next((front for front in FRONTS if fnmatch(path, front[0])), None)


def test_each_file_with_logic_has_tests_of_its_name_or_behind_a_front():
    assert [path for path in UNNAMED if front_of(path) is None] == []


def test_files_without_tests_of_their_name_get_no_commoner():
    share = len(UNNAMED) / len(FILES)
    assert share <= MAX_UNNAMED_SHARE, "name a test file after a new source file"


@pytest.mark.parametrize("front", FRONTS, ids=lambda front: front[0])
def test_each_front_is_there_and_still_needed(front):
    assert (ROOT / "tests" / front[1]).is_file()
    assert any(front_of(path) == front for path in UNNAMED), "all of its files have tests: drop it"
