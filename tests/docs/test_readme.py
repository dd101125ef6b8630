"""The landing page: its figures are those that were measured, and its code runs."""

import functools
import json
import re
from pathlib import Path

import pytest

import ray_audit
from tests.support.small_sets import class_folders

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUALITY = json.loads((ROOT / "benchmarks/results/quality-cifar10n.json").read_text())["recipes"]


def shown(value):
    return f"{value:.3f}".removeprefix("0")


@pytest.mark.parametrize(
    ("recipe", "row"), [("cifar10n-C1", "hardly memorised"), ("cifar10n-C2", "memorised them")]
)
def test_the_result_is_the_measured_one_and_the_rival_is_the_best(recipe, row):
    summary = QUALITY[recipe]["summary"]
    auprc = {name: values["all"]["auprc"]["mean"] for name, values in summary.items()}
    rivals = [value for name, value in auprc.items() if name.startswith("cleanlab_")]
    (line,) = re.findall(rf"^\| {row}.*$", README, re.MULTILINE)
    assert f"| **{shown(auprc['suspicion'])}** | {shown(max(rivals))} |" in line


def test_figures_of_speed_stand_on_the_page_that_is_written_from_the_results():
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    (paragraph,) = re.findall(r"Measured on 2 cores.*?first batch\.", README, re.DOTALL)
    figures = re.findall(r"\d+\.\d+", paragraph)
    assert len(figures) > 8
    assert [figure for figure in figures if f" {figure} " not in page] == []


def test_its_python_runs_as_it_stands(tmp_path, monkeypatch):
    small = class_folders(tmp_path)
    small.spec_file()
    local = functools.partial(ray_audit.audit, local=True)
    monkeypatch.setattr(ray_audit, "audit", local)
    for name in ("report", "correct"):
        method = functools.partialmethod(getattr(ray_audit.Run, name), local=True)
        monkeypatch.setattr(ray_audit.Run, name, method)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(import ray_audit\n.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "corrected/spec.yaml").exists()


def test_the_first_screen_has_a_picture_an_install_line_and_five_lines_of_use():
    first = README[: README.index("## Two commands")]
    assert first.count("![") == 1
    assert "pip install ray-audit" in first
    for block in re.findall(r"```\w+\n(.*?)```", first, re.DOTALL):
        assert len(block.strip().splitlines()) <= 7
    assert len(first.splitlines()) < 40
