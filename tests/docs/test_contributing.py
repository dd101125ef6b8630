"""The examples of CONTRIBUTING.md do what it says."""

import json
import re
import subprocess
import sys

import pytest

from ray_audit.config import DatasetConfig
from ray_audit.exports.content import EVIDENCE, Content, Media
from ray_audit.layouts import catalogue
from tests.support.contributing import indented, section
from tests.support.published import masks, same_labels

KINDS = ("yaml", "python")


def defined(code, namespace):
    exec(compile(code, "CONTRIBUTING.md", "exec"), namespace)
    return namespace


def test_the_layout_recipe_is_listed_and_reads_what_its_builder_built(tmp_path, monkeypatch):
    text = section("Add a layout recipe")
    (recipe,), (builder,) = (re.findall(f"```{kind}\n(.*?)```", text, re.DOTALL) for kind in KINDS)
    file = tmp_path / "leaf-spots.yaml"
    file.write_text(recipe)
    ours = catalogue._places()
    monkeypatch.setattr(catalogue, "_places", lambda: ours | {"leaf-spots": file})
    assert "leaf-spots" in catalogue.recipe_names()
    built = defined(builder, dict(vars(masks)))["leaf_spots"](tmp_path / "set")
    same_labels(DatasetConfig.model_validate(built.section(tmp_path / "set")), built.expected)


def test_the_export_writes_a_line_for_each_finding():
    functions = defined(indented(section("Add an export")), {})
    media = Media("a.png", "s3://set/a.png", "a.png")
    rows = [dict.fromkeys(EVIDENCE, 1) | {"shard": "a.png"} for _ in range(2)]
    content = Content("run", "set", "masks", ("no", "yes"), rows, {"a.png": media})
    (document,) = functions["jsonl_documents"](content).values()
    lines = [json.loads(line) for line in document.splitlines()]
    assert [line["media"] for line in lines] == ["s3://set/a.png"] * 2
    assert set(lines[0]) == {*EVIDENCE, "media"}


@pytest.mark.parametrize(
    ("title", "file"),
    [
        ("Add an export", "ray_audit/exports/jsonl.py"),
        ("Add a format", "ray_audit/formats/hex_lines.py"),
    ],
)
def test_the_examples_pass_the_linters_as_they_stand(title, file):
    pytest.importorskip("ruff")
    code = indented(section(title)).rstrip("\n") + "\n"
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", file, "-"]
        done = subprocess.run(ruff, input=code, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
