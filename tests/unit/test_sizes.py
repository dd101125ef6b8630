"""What is read as a whole stays short enough for that; what nobody calls is on a page, or gone."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80


def parsed(folder):
    """Path below the root, text and syntax tree of each file."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        yield path.relative_to(ROOT), text, ast.parse(text)


def functions(node):
    """Functions at any depth; none lies in an expression, which are most of a tree."""
    for part in ("body", "orelse", "handlers", "finalbody", "cases"):
        for child in getattr(node, part, ()):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield child
            yield from functions(child)


@pytest.mark.parametrize("folder", ["ray_audit", "tests", "benchmarks"])
def test_no_file_and_no_function_is_too_long_to_read(folder):
    long = []
    for path, text, tree in parsed(folder):
        num_lines = len(text.splitlines())
        if num_lines > MAX_FILE_LINES:
            long.append(f"{path}: {num_lines} lines")
        for node in functions(tree):
            num_lines = node.end_lineno - node.lineno + 1
            if num_lines > MAX_FUNCTION_LINES:
                long.append(f"{path}:{node.lineno} {node.name}: {num_lines} lines")
    assert long == []


def mentions(tree):
    """Names that are read, and words of strings that name an object, such as entry points."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\w+", node.value) if re.fullmatch(r"\S+", node.value) else ()


def test_what_nobody_calls_stands_on_a_page_for_its_users():
    trees = list(parsed("ray_audit"))
    called = Counter(name for _, _, tree in trees for name in mentions(tree))
    pages = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs").glob("*.md"))
    words = set(re.findall(r"\w+", pages))
    uncalled = [
        f"{path}: {node.name}"
        for path, _, tree in trees
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("__")  # Python calls those
        and not called[node.name]
        and not node.decorator_list
        and node.name not in words
    ]
    assert uncalled == []
