"""What of the scores is public, and that its page runs."""

import ast
import functools
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/library.md").read_text(encoding="utf-8")
SCORES = sorted((ROOT / "ray_audit/scores").glob("[a-z]*.py"))


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_run(example, capsys):
    exec(compile(example, "library.md", "exec"), {})
    assert capsys.readouterr().out


@functools.cache
def num_uses():
    """How often each word stands in the product."""
    files = (ROOT / "ray_audit").rglob("*.py")
    return Counter(re.findall(r"\w+", "\n".join(p.read_text(encoding="utf-8") for p in files)))


@pytest.mark.parametrize("path", SCORES, ids=lambda path: path.stem)
def test_what_the_product_does_not_call_is_on_the_page_or_gone(path):
    assert f"`{path.stem}`" in PAGE
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        is_public = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
        if is_public and num_uses()[node.name] < 2:
            assert f"`{node.name}`" in PAGE, f"{path.stem}.{node.name} has no caller"
