"""The examples of CONTRIBUTING.md do what it says."""

import json
import re
import textwrap
from pathlib import Path

from ray_audit.config import DatasetConfig
from ray_audit.exports.content import EVIDENCE, Content, Media
from ray_audit.formats.base import Format
from ray_audit.layouts import catalogue
from tests.support.published import masks, same_labels

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
KINDS = ("yaml", "python")


def section(title):
    """What stands below a heading."""
    return re.split(r"^## ", PAGE.split(f"## {title}\n")[1], flags=re.MULTILINE)[0]


def indented(text):
    """The first block of code by indentation."""
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.MULTILINE)
    return textwrap.dedent(next(block for block in blocks if block.strip()))


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


def test_the_format_stands_where_the_registry_takes_it():
    made = defined(indented(section("Add a format")), {"__name__": "hexes"})["HexLines"]
    assert issubclass(made, Format)
    assert made().name == "hex lines"
